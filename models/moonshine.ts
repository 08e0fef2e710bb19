/** Moonshine (Jeffries et al. 2024, arXiv:2410.15608) as a recogniser on ONNX Runtime. */
import assert from 'node:assert/strict';
import { SAMPLE_RATE_HZ, samplesToMs } from '../pipeline/audio.ts';
import type { Hypothesis, Recogniser } from '../pipeline/contracts.ts';
import { AudioError, InferenceError } from '../pipeline/errors.ts';
import {
  RECOGNISER_PCM_MAX_MS,
  RECOGNISER_PCM_MIN_MS,
  TOKENS_PER_AUDIO_SECOND_COUNT,
  TOKENS_SPARE_COUNT,
} from '../pipeline/limits.ts';
import { decodeGreedily } from './greedy_decoder.ts';
import { type MoonshineFiles, MoonshineGraphs, type RunOptions } from './moonshine_graphs.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

/** What is needed to load one Moonshine model: its id, its files and how to run it. */
export interface MoonshineOptions extends MoonshineFiles, RunOptions {
  readonly model: string;
}

/** Most tokens a hypothesis for `samples` samples may have. */
export function tokenBudget(samples: number): number {
  return Math.ceil((TOKENS_PER_AUDIO_SECOND_COUNT * samples) / SAMPLE_RATE_HZ) + TOKENS_SPARE_COUNT;
}

function checkPcm(pcm: Int16Array): void {
  const durationMs = samplesToMs(pcm.length);
  if (durationMs < RECOGNISER_PCM_MIN_MS || durationMs > RECOGNISER_PCM_MAX_MS) {
    throw new AudioError(
      'invalid_pcm',
      `cannot transcribe ${durationMs} ms of audio: ` +
        `the model takes ${RECOGNISER_PCM_MIN_MS} to ${RECOGNISER_PCM_MAX_MS} ms`,
    );
  }
}

/**
 * Loads a Moonshine model, published or prepared. Reads the graphs from disk and takes a second or so; the recogniser
 * then holds them in native memory until `close`. Throws `InferenceError` (`internal`) if they cannot be loaded.
 */
export async function loadMoonshine(options: MoonshineOptions): Promise<Recogniser> {
  try {
    const tokenizer = await loadTokenizer();
    return new Moonshine(options, { graphs: await MoonshineGraphs.open(options, options), tokenizer });
  } catch (cause) {
    throw new InferenceError('internal', `cannot load the model ${options.model}`, { cause });
  }
}

interface Parts {
  readonly graphs: MoonshineGraphs;
  readonly tokenizer: Tokenizer;
}

class Moonshine implements Recogniser {
  readonly model: string;
  readonly device: string;
  readonly #parts: Parts;
  #state: 'idle' | 'running' | 'closed' = 'idle';

  constructor(options: MoonshineOptions, parts: Parts) {
    this.model = options.model;
    this.device = options.device;
    this.#parts = parts;
  }

  async transcribe(pcm: Int16Array, draft: readonly number[]): Promise<Hypothesis> {
    assert.equal(this.#state, 'idle', 'a recogniser takes one call at a time, and none after close');
    checkPcm(pcm);
    this.#state = 'running';
    try {
      return await this.#run(pcm, draft);
    } catch (cause) {
      throw new InferenceError('internal', 'the model failed on this audio', { cause });
    } finally {
      this.#state = 'idle';
    }
  }

  async #run(pcm: Int16Array, draft: readonly number[]): Promise<Hypothesis> {
    const { graphs, tokenizer } = this.#parts;
    const startMs = performance.now();
    const maxTokens = tokenBudget(pcm.length);
    const context = await graphs.begin(pcm, maxTokens);
    const encodedMs = performance.now();
    const decoding = await decodeGreedily(context, { maxTokens, draft });
    return {
      ...decoding,
      text: tokenizer.decode(decoding.tokens),
      encodeMs: encodedMs - startMs,
      decodeMs: performance.now() - encodedMs,
    };
  }

  /** Frees the native memory. Idempotent; never during a call. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    assert.equal(this.#state, 'idle', 'a recogniser is not closed while it runs');
    this.#state = 'closed';
    await this.#parts.graphs.close();
  }
}
