/** One utterance in the prepared decoder. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { TokenContext } from './greedy_decoder.ts';
import { type MoonshineArchitecture, paddedHeadSize } from './moonshine_facts.ts';

/** The two forms of the prepared decoder; without `verifier` drafts are not used. */
export interface PreparedSessions {
  readonly step: InferenceSession;
  readonly verifier: InferenceSession | undefined;
}

/** Of one utterance: what the encoder returned, and the most tokens that will be read. */
export interface PreparedUtterance {
  readonly architecture: MoonshineArchitecture;
  readonly crossProjections: InferenceSession.ReturnType;
  readonly maxTokens: number;
}

/** A step leaves a row behind its own that the next step overwrites. */
const SPARE_ROWS = 1;

/**
 * Keeps the attention cache of one utterance in memory that both decoder graphs read and write in place. Forgetting
 * tokens costs nothing: what is read next overwrites them.
 */
export class PreparedContext implements TokenContext {
  readonly extendMaxTokens: number;
  readonly #sessions: PreparedSessions;
  readonly #feeds: Record<string, Tensor>;
  readonly #fetches: Record<string, Tensor | null> = { next: null };
  readonly #capacity: number;
  #length = 0;

  constructor(sessions: PreparedSessions, utterance: PreparedUtterance) {
    const { architecture, crossProjections, maxTokens } = utterance;
    this.#sessions = sessions;
    this.#capacity = maxTokens + SPARE_ROWS;
    this.extendMaxTokens = sessions.verifier ? maxTokens : 1;
    this.#feeds = { ...crossProjections };
    const shape = [1, architecture.headCount, this.#capacity, paddedHeadSize(architecture)];
    const elements = shape.reduce((product, size) => product * size);
    for (let layer = 0; layer < architecture.layerCount; layer++) {
      for (const part of ['key', 'value']) {
        const cache = new Tensor('float32', new Float32Array(elements), shape);
        this.#feeds[`self_${part}_${layer}`] = cache;
        this.#fetches[`written_${part}_${layer}`] = cache;
      }
    }
  }

  truncate(length: number): void {
    assert(length <= this.#length, 'a context forgets only what it has read');
    this.#length = length;
  }

  /** A copy of the keys and values of the tokens read, of all layers: equal if all was computed equally. */
  keptRows(): Float32Array {
    const kept: number[] = [];
    for (const cache of Object.values(this.#fetches)) {
      if (!(cache?.data instanceof Float32Array)) continue;
      const headElements = cache.size / (cache.dims[1] ?? 1);
      const readElements = this.#length * (cache.dims[3] ?? 0);
      for (let start = 0; start < cache.size; start += headElements) {
        kept.push(...cache.data.subarray(start, start + readElements));
      }
    }
    return Float32Array.from(kept);
  }

  async extend(tokens: readonly number[]): Promise<readonly number[]> {
    const session = tokens.length === 1 ? this.#sessions.step : this.#sessions.verifier;
    assert(session, 'the prepared decoder reads one token at a time without its verifier');
    const rows = tokens.length === 1 ? tokens.length + SPARE_ROWS : tokens.length;
    const length = this.#length + rows;
    assert(tokens.length > 0 && length <= this.#capacity, 'tokens exceed the capacity of the cache');
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
}
