/** Where audio comes from, whatever that is: a microphone in a browser, a stream or a file in Node. */
import type { BareAudio } from './audio_duration.ts';
import type { StreamClient } from './stream_client.ts';

/** One message of audio. */
export interface AudioPacket {
  /** Whoever receives it owns it. */
  readonly bytes: Uint8Array;
  readonly durationMs: number;
}

/**
 * Audio as messages that each stand for themselves: a lost connection goes on with any of them. Containers, whose
 * middle means nothing without their beginning, are taken apart by their source.
 */
export interface AudioSource {
  /** What the messages are, for the `StreamClient` that they go to. */
  readonly audio: BareAudio;
  /** Whether the audio is made now and cannot wait, as that of a microphone. */
  readonly isLive: boolean;
  /** The messages in order, once. Ends after the last one; throws what ended the source early. */
  packets(): AsyncIterable<AudioPacket>;
  /** No more audio: `packets` ends after what there is. Idempotent. */
  close(): Promise<void>;
}

/** Audio that can wait stays in its source while this much waits in the client. */
const UNSENT_MAX_MS = 1_000;

/**
 * Sends a source to its end, or until the client is closed; then the source is closed too. Rejects with what ended the
 * source early. The client goes on: `stop()` it for the last finals. `onSent` hears of each message.
 */
export async function sendSource(
  client: Pick<StreamClient, 'send' | 'drained' | 'unsentMs'>,
  source: AudioSource,
  onSent: (packet: AudioPacket) => void = () => undefined,
): Promise<void> {
  try {
    for await (const packet of source.packets()) {
      // Without a connection the client forgets its oldest audio, and what can wait need not be forgotten.
      if (!source.isLive && client.unsentMs > UNSENT_MAX_MS) await client.drained();
      let verdict = client.send(packet.bytes, packet);
      while (verdict === 'full') {
        await client.drained();
        verdict = client.send(packet.bytes, packet);
      }
      if (verdict === 'closed') return;
      onSent(packet);
    }
  } finally {
    await source.close();
  }
}
