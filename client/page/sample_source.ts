/** The recording that comes with the page: it is heard, and sent as it is heard. */
import type { AudioPacket, AudioSource } from '../audio_source.ts';
import { audioDurationMs, type BareAudio } from '../audio_duration.ts';
import { WebmPackets } from '../webm_packets.ts';

const SAMPLE_URL = './sample.webm';
const AUDIO = { encoding: 'opus' } as const;

export class SampleSource implements AudioSource {
  readonly audio: BareAudio = AUDIO;
  readonly isLive = true;
  readonly #packets: readonly Uint8Array[];
  readonly #player = new Audio(SAMPLE_URL);
  #isClosed = false;
  #wake: () => void = () => undefined;

  private constructor(packets: readonly Uint8Array[]) {
    this.#packets = packets;
  }

  /** Fetches it. Rejects if it is not there. */
  static async open(): Promise<SampleSource> {
    const answer = await fetch(SAMPLE_URL);
    if (!answer.ok) throw new Error(`the sample is not there: ${answer.status}`);
    return new SampleSource(new WebmPackets().push(new Uint8Array(await answer.arrayBuffer())));
  }

  async *packets(): AsyncGenerator<AudioPacket, void, void> {
    // Without sound, where there is no loudspeaker or the browser does not play it, its text comes all the same.
    this.#player.play().catch(() => undefined);
    const startedAtMs = performance.now();
    let audioMs = 0;
    for (const bytes of this.#packets) {
      await this.#until(startedAtMs + audioMs);
      if (this.#isClosed) return;
      const durationMs = audioDurationMs(AUDIO, bytes);
      audioMs += durationMs;
      yield { bytes, durationMs };
    }
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#wake();
    this.#player.pause();
    return Promise.resolve();
  }

  #until(atMs: number): Promise<void> {
    const waitMs = atMs - performance.now();
    if (waitMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
