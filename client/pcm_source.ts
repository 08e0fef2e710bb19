/** PCM from a file or a stream: anything that gives bytes, such as a Node `Readable`. */
import type { BareAudio } from './audio_duration.ts';
import type { AudioPacket, AudioSource } from './audio_source.ts';

const PACKETS_PER_SECOND = 50;
const SAMPLE_BYTES = 2;

export interface PcmSourceOptions {
  /** Signed 16-bit little-endian samples, interleaved, in pieces of any size. */
  readonly bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** 8,000–48,000; default 16,000. */
  readonly sampleRateHz?: number;
  /** 1 or 2; default 1. */
  readonly channels?: number;
  /** Whether it comes from a microphone and cannot wait; default false. */
  readonly isLive?: boolean;
}

/** Cuts it into messages of 20 ms. */
export class PcmSource implements AudioSource {
  readonly audio: BareAudio;
  readonly isLive: boolean;
  readonly #bytes: PcmSourceOptions['bytes'];
  readonly #bytesPerSecond: number;
  readonly #packetBytes: number;
  #isClosed = false;

  constructor({ bytes, sampleRateHz = 16_000, channels = 1, isLive = false }: PcmSourceOptions) {
    this.audio = { encoding: 'pcm_s16le', sampleRateHz, channels };
    this.isLive = isLive;
    this.#bytes = bytes;
    this.#bytesPerSecond = sampleRateHz * channels * SAMPLE_BYTES;
    this.#packetBytes = Math.floor(sampleRateHz / PACKETS_PER_SECOND) * channels * SAMPLE_BYTES;
  }

  async *packets(): AsyncGenerator<AudioPacket, void, void> {
    let rest = new Uint8Array(0);
    for await (const piece of this.#bytes) {
      const held = new Uint8Array(rest.length + piece.length);
      held.set(rest);
      held.set(piece, rest.length);
      let start = 0;
      for (; held.length - start >= this.#packetBytes; start += this.#packetBytes) {
        if (this.#isClosed) return;
        yield this.#packet(held.slice(start, start + this.#packetBytes));
      }
      if (this.#isClosed) return;
      rest = held.slice(start);
    }
    if (rest.length > 0) yield this.#packet(rest);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #packet(bytes: Uint8Array): AudioPacket {
    return { bytes, durationMs: (bytes.length * 1_000) / this.#bytesPerSecond };
  }
}
