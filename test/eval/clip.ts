/** One clip through a whole server, as a client would send it. */
import { WebSocket } from 'ws';
import { StreamClient } from '../../client/stream_client.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { encodeMessages, readPcm } from '../../server/commands/audio_file.ts';
import type { FileEncoding } from '../../server/commands/file_encoding.ts';
import { streamMessages } from '../../server/commands/file_stream.ts';
import { concat, silence } from '../support/sound.ts';

export interface ClipOptions {
  /** `ws://host:port/v1/stream`. */
  readonly url: string;
  readonly path: string;
  readonly encoding: FileEncoding;
  readonly speed: number;
  readonly leadSilenceMs: number;
}

export interface ClipTranscript {
  /** The texts of all finals. */
  readonly text: string;
  /** From the last `speechEnd` to its final, both as received, in ms; undefined if nobody was heard. */
  readonly finalLatencyMs: number | undefined;
}

/** Silence after the clip, in which the last utterance ends as it would in a conversation. */
const TRAIL_SILENCE_MS = 1_000;

export async function transcribeClip(options: ClipOptions): Promise<ClipTranscript> {
  const { url, path, encoding, speed, leadSilenceMs } = options;
  const pcm = concat(silence(leadSilenceMs), await readPcm(path), silence(TRAIL_SILENCE_MS));
  const client = new StreamClient({
    url,
    audio: { encoding },
    createSocket: (address) => new WebSocket(address, { perMessageDeflate: false }),
  });
  const texts: string[] = [];
  let endedAtMs: number | undefined;
  let finalLatencyMs: number | undefined;
  client.on('speechEnd', () => {
    endedAtMs = systemClock.nowMs();
  });
  client.on('final', ({ text }) => {
    if (text !== '') texts.push(text);
    if (endedAtMs !== undefined) finalLatencyMs = systemClock.nowMs() - endedAtMs;
  });
  try {
    await client.start();
    await streamMessages(client, encodeMessages(pcm, encoding), { speed, clock: systemClock });
    await client.stop();
  } finally {
    client.close();
  }
  return { text: texts.join(' '), finalLatencyMs };
}
