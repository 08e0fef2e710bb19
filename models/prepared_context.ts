/** One utterance in the prepared decoder. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { TokenContext } from './greedy_decoder.ts';
import { type MoonshineArchitecture, paddedHeadSize } from './moonshine_facts.ts';

/** The forms of the prepared decoder. `together` reads several tokens at once; without it drafts are not used. */
export interface PreparedSessions {
  readonly step: InferenceSession;
  readonly together: InferenceSession | undefined;
}

/** Of one utterance: what the encoder returned, and the most tokens that will be read. */
export interface PreparedUtterance {
  readonly architecture: MoonshineArchitecture;
  readonly crossProjections: InferenceSession.ReturnType;
  readonly maxTokens: number;
}

/** A step leaves a row behind its own that the next step overwrites. */
const SPARE_ROWS = 1;
/** Rows that a cache begins with. The binding copies all of it in each run, and speech needs half of its budget. */
const START_ROWS = 16;

/** The part of a tensor that is each layer's; they lie one behind the other along the first axis. */
function layersOf(tensor: Tensor | undefined, layerCount: number): Tensor[] {
  assert(tensor?.data instanceof Float32Array, 'this is no prepared encoder of a Moonshine model');
  const { data, dims } = tensor;
  const shape = [(dims[0] ?? 0) / layerCount, ...dims.slice(1)];
  const size = data.length / layerCount;
  return Array.from(
    { length: layerCount },
    (_, layer) => new Tensor('float32', data.subarray(layer * size, (layer + 1) * size), shape),
  );
}

/** A cache of that many more rows for each head, with what is in `cache` at its place. */
function withRows(cache: Tensor, capacity: number): Tensor {
  const [, headCount = 0, before = 0, width = 0] = cache.dims;
  const data = new Float32Array(headCount * capacity * width);
  assert(cache.data instanceof Float32Array, 'a cache holds floats');
  for (let head = 0; head < headCount; head++) {
    const from = head * before * width;
    data.set(cache.data.subarray(from, from + before * width), head * capacity * width);
  }
  return new Tensor('float32', data, [1, headCount, capacity, width]);
}

/**
 * Keeps the attention cache of one utterance in memory that both decoder graphs read and write in place. Forgetting
 * tokens costs nothing: what is read next overwrites them.
 */
export class PreparedContext implements TokenContext {
  readonly extendMaxTokens: number;
  readonly #sessions: PreparedSessions;
  /** The cross projections, and the caches as they go in. */
  readonly #feeds: Record<string, Tensor> = {};
  /** The caches as they come out, in the same memory. */
  readonly #fetches: Record<string, Tensor | null> = { next: null };
  readonly #caches = new Map<string, Tensor>();
  readonly #maxRows: number;
  #capacity: number;
  #length = 0;

  constructor(sessions: PreparedSessions, utterance: PreparedUtterance) {
    const { architecture, crossProjections, maxTokens } = utterance;
    const { layerCount, headCount } = architecture;
    this.#sessions = sessions;
    this.#maxRows = maxTokens + SPARE_ROWS;
    this.#capacity = Math.min(START_ROWS, this.#maxRows);
    this.extendMaxTokens = sessions.together ? maxTokens : 1;
    const keys = layersOf(crossProjections['cross_keys'], layerCount);
    const values = layersOf(crossProjections['cross_values'], layerCount);
    for (const [layer, key] of keys.entries()) this.#feeds[`cross_key_${layer}`] = key;
    for (const [layer, value] of values.entries()) this.#feeds[`cross_value_${layer}`] = value;
    const shape = [1, headCount, this.#capacity, paddedHeadSize(architecture)];
    const size = shape.reduce((product, length) => product * length);
    for (let layer = 0; layer < layerCount; layer++) {
      for (const part of ['key', 'value'])
        this.#setCache(`${part}_${layer}`, new Tensor('float32', new Float32Array(size), shape));
    }
  }

  truncate(length: number): void {
    assert(length <= this.#length, 'a context forgets only what it has read');
    this.#length = length;
  }

  /** A copy of the keys and values of the tokens read, of all layers: equal if all was computed equally. */
  keptRows(): Float32Array {
    const kept: number[] = [];
    for (const cache of this.#caches.values()) {
      if (!(cache.data instanceof Float32Array)) continue;
      const headElements = cache.size / (cache.dims[1] ?? 1);
      const readElements = this.#length * (cache.dims[3] ?? 0);
      for (let start = 0; start < cache.size; start += headElements) {
        kept.push(...cache.data.subarray(start, start + readElements));
      }
    }
    return Float32Array.from(kept);
  }

  async extend(tokens: readonly number[]): Promise<readonly number[]> {
    const session = tokens.length === 1 ? this.#sessions.step : this.#sessions.together;
    assert(session, 'the prepared decoder reads one token at a time without its verifier');
    const rows = tokens.length === 1 ? tokens.length + SPARE_ROWS : tokens.length;
    const length = this.#length + rows;
    assert(tokens.length > 0 && length <= this.#maxRows, 'tokens exceed the capacity of the cache');
    this.#makeRoom(length);
    const { next } = await session.run(
      {
        ...this.#feeds,
        tokens: new Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]),
        last_position: new Tensor('int32', Int32Array.of(length - 1), [1]),
        sequence_length: new Tensor('int32', Int32Array.of(length), []),
      },
      this.#fetches,
    );
    assert(next?.data instanceof BigInt64Array, 'the decoder returned no tokens');
    this.#length += tokens.length;
    return Array.from(next.data, Number);
  }

  #makeRoom(rows: number): void {
    if (rows <= this.#capacity) return;
    this.#capacity = Math.min(this.#maxRows, Math.max(rows, 2 * this.#capacity));
    for (const [name, cache] of this.#caches) this.#setCache(name, withRows(cache, this.#capacity));
  }

  #setCache(name: string, cache: Tensor): void {
    this.#caches.set(name, cache);
    this.#feeds[`self_${name}`] = cache;
    this.#fetches[`written_${name}`] = cache;
  }
}
