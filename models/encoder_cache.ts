/** What the streaming encoder left of utterances that grow, bounded in size and in time. */
import { Tensor } from 'onnxruntime-node';
import { samplesToMs } from '../pipeline/audio.ts';
import { ENCODER_CACHE_IDLE_MS, ENCODER_CACHE_MAX_MS } from '../pipeline/limits.ts';

/** Rows of one width that grow at their end, in memory that a graph reads without a copy. */
export class KeptRows {
  #elements = new Float32Array();

  /** The rows up to `end`, as `[1, rows, width]`. */
  before(end: number, width: number): Tensor {
    return new Tensor('float32', this.#elements.subarray(0, end * width), [1, end, width]);
  }

  /** Puts rows `[1, rows, width]` at `start`; what was there and behind is forgotten. */
  put(start: number, { data, dims }: Tensor): void {
    const [, , width = 0] = dims;
    const end = start * width + data.length;
    if (this.#elements.length < end) {
      const grown = new Float32Array(Math.ceil(end * 1.5));
      grown.set(this.#elements.subarray(0, start * width));
      this.#elements = grown;
    }
    this.#elements.set(data as Float32Array, start * width);
  }
}

/** Of one utterance: what the encoder kept, and the audio that it was made of. */
export interface KeptEncoding {
  readonly pcm: Int16Array;
  /** Frames that are kept. */
  readonly frames: number;
  /** Of each layer keys and values, and what left the encoder, by name; a row for each frame. */
  readonly rows: ReadonlyMap<string, KeptRows>;
  /** The second convolution's sums for the latest frames, `[1, rows, width]`, and how many rows came before these. */
  readonly front: Tensor;
  readonly frontStart: number;
  /** Sum and sum of squares of what the first convolution made of the audio up to the end of `front`. */
  readonly sums: readonly [number, number];
}

function isBeginning(some: Int16Array, whole: Int16Array): boolean {
  if (some.length > whole.length) return false;
  const bytes = (pcm: Int16Array) => Buffer.from(pcm.buffer, pcm.byteOffset, 2 * some.length);
  return bytes(some).equals(bytes(whole));
}

/**
 * Encodings by utterance. One is handed out only for audio that begins with the very samples it was made of, whatever
 * the keys say: nobody gets what another said. The longest unused goes first when there is too much, and all of what
 * was not used for a while.
 */
export class EncoderCache {
  readonly #encodings = new Map<number, KeptEncoding>();
  /** Utterances that were used since the last look. */
  readonly #used = new Set<number>();
  #timer: NodeJS.Timeout | undefined;

  /** Takes out what is kept of an utterance that now sounds so. */
  take(key: number, pcm: Int16Array): KeptEncoding | undefined {
    const encoding = this.#encodings.get(key);
    this.#encodings.delete(key);
    return encoding !== undefined && isBeginning(encoding.pcm, pcm) ? encoding : undefined;
  }

  put(key: number, encoding: KeptEncoding): void {
    this.#encodings.set(key, encoding);
    this.#used.add(key);
    let keptMs = 0;
    for (const { pcm } of this.#encodings.values()) keptMs += samplesToMs(pcm.length);
    for (const [oldest, { pcm }] of this.#encodings) {
      if (keptMs <= ENCODER_CACHE_MAX_MS) break;
      this.#encodings.delete(oldest);
      keptMs -= samplesToMs(pcm.length);
    }
    this.#timer ??= setInterval(() => {
      this.#forgetUnused();
    }, ENCODER_CACHE_IDLE_MS).unref();
  }

  get size(): number {
    return this.#encodings.size;
  }

  clear(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#encodings.clear();
  }

  #forgetUnused(): void {
    for (const key of this.#encodings.keys()) if (!this.#used.has(key)) this.#encodings.delete(key);
    this.#used.clear();
    if (this.#encodings.size === 0) this.clear();
  }
}
