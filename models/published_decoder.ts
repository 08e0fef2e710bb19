/** The decoder as Moonshine publishes it: first step and later steps merged in one graph, logits out. */
import assert from 'node:assert/strict';
import { Tensor, type InferenceSession } from 'onnxruntime-node';
import type { TokenContext } from './greedy_decoder.ts';
import { type MoonshineArchitecture, VOCABULARY_SIZE } from './moonshine_facts.ts';

type Cache = Record<string, Tensor>;

function emptyCache(architecture: MoonshineArchitecture): Cache {
  const { layerCount, headCount, headSize } = architecture;
  const cache: Cache = {};
  for (let layer = 0; layer < layerCount; layer++) {
    for (const part of ['decoder.key', 'decoder.value', 'encoder.key', 'encoder.value']) {
      const empty = new Tensor('float32', new Float32Array(0), [1, headCount, 0, headSize]);
      cache[`past_key_values.${layer}.${part}`] = empty;
    }
  }
  return cache;
}

function argMax(logits: Float32Array): number {
  let best = 0;
  let bestLogit = -Infinity;
  logits.forEach((logit, token) => {
    if (logit > bestLogit) {
      bestLogit = logit;
      best = token;
    }
  });
  return best;
}

/** One utterance in the published decoder. `encoded` is the encoder's output, `[1, frames, width]`. */
export class PublishedContext implements TokenContext {
  readonly extendMaxTokens = 1;
  readonly #session: InferenceSession;
  readonly #encoded: Tensor;
  #cache: Cache;
  #readTokens = 0;

  constructor(session: InferenceSession, architecture: MoonshineArchitecture, encoded: Tensor) {
    this.#session = session;
    this.#encoded = encoded;
    this.#cache = emptyCache(architecture);
  }

  async extend(tokens: readonly number[]): Promise<readonly number[]> {
    const [token, ...rest] = tokens;
    assert(token !== undefined && rest.length === 0, 'the published decoder reads one token at a time');
    const results = await this.#session.run({
      ...this.#cache,
      input_ids: new Tensor('int64', BigInt64Array.of(BigInt(token)), [1, 1]),
      encoder_hidden_states: this.#encoded,
      use_cache_branch: new Tensor('bool', Uint8Array.of(this.#readTokens > 0 ? 1 : 0), [1]),
    });
    this.#keep(results);
    this.#readTokens++;
    const logits = results['logits']?.data;
    assert(logits instanceof Float32Array && logits.length === VOCABULARY_SIZE);
    return [argMax(logits)];
  }

  truncate(length: number): void {
    assert.equal(length, this.#readTokens, 'the published decoder was never given tokens to forget');
  }

  /** Later steps return the encoder's keys and values empty: those of the first step are kept. */
  #keep(results: InferenceSession.ReturnType): void {
    for (const name of Object.keys(this.#cache)) {
      if (this.#readTokens > 0 && name.includes('.encoder.')) continue;
      const present = results[name.replace('past_key_values', 'present')];
      assert(present, `the decoder returned no ${name}`);
      this.#cache[name] = present;
    }
  }
}
