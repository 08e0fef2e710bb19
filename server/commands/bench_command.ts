/** `earwitness bench`: tries ways to run the speech model on this machine's processors and says which is the best. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { findRecogniser } from '../../models/catalogue.ts';
import { msToSamples, samplesToMs } from '../../pipeline/audio.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { InferenceError } from '../../pipeline/errors.ts';
import type { InferencePool, InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { BENCH_SPEECH_MS, WORKER_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { WorkerLauncher } from '../../pipeline/worker_process.ts';
import { decodeCanary } from '../workers/canary.ts';
import type { Config } from '../config.ts';
import { CPU } from '../workers/devices.ts';
import { ensureModels, type Output } from './models_command.ts';
import {
  bestPlacement,
  placementsFor,
  sessionsOf,
  type Placement,
  type PlacementResult,
} from '../workers/placement.ts';
import { withReadyPool } from '../workers/ready_pool.ts';
import { flagOf } from '../settings.ts';
import { renderTable } from './text_table.ts';
import { inferenceLauncher } from '../workers/worker_launchers.ts';

export interface BenchCommandOptions {
  readonly coreCount: number;
  /** Time that each way is measured for, beside its start. */
  readonly durationMs: number;
  readonly partialIntervalMs: number;
  /** Some speech in the model's language, as 16 kHz mono PCM. */
  readonly phrase: Int16Array;
  /** Starts workers of so many threads each. */
  readonly launch: (threads: number) => WorkerLauncher<InferenceRequest, InferenceReply>;
  readonly signal: AbortSignal;
  readonly stdout: Output;
  readonly stderr: Output;
}

/** The same with the configured model on this machine, whose weights are fetched first. */
export async function benchMachine(
  config: Config,
  run: Pick<BenchCommandOptions, 'durationMs' | 'signal' | 'stdout' | 'stderr'>,
): Promise<number> {
  const { model, modelsDir, partialIntervalMs } = config;
  await ensureModels({ modelsDir, ids: [model], quiet: true, ...run, stdout: run.stderr });
  const { phrase } = decodeCanary(findRecogniser(model).language, await loadDecoderFactory());
  return benchPlacements({
    ...{ ...run, phrase, partialIntervalMs, coreCount: availableParallelism() },
    launch: (inferenceThreads) => inferenceLauncher({ ...config, inferenceThreads }, { device: CPU }),
  });
}

/** Measures every placement and prints what came of it, and the flags of the best. Returns the exit status. */
export async function benchPlacements(options: BenchCommandOptions): Promise<number> {
  const { coreCount, signal, stdout, stderr } = options;
  const results: PlacementResult[] = [];
  for (const placement of placementsFor(coreCount)) {
    signal.throwIfAborted();
    stderr.write(`measuring ${placement.workers} × ${placement.threads} …\n`);
    results.push({ ...placement, speechRate: await measurePlacement(placement, options) });
  }
  const best = bestPlacement(results);
  assert(best, 'every machine has a placement');
  const rows = results.map((result) => [
    String(result.workers),
    String(result.threads),
    `${result.speechRate.toFixed(1)} s`,
    String(sessionsOf(result)),
  ]);
  stdout.write(renderTable([['WORKERS', 'THREADS', 'SPEECH A SECOND', 'SPEAKING SESSIONS'], ...rows]));
  const flags = `${flagOf('inferenceWorkers')} ${best.workers} ${flagOf('inferenceThreads')} ${best.threads}`;
  stdout.write(`\nThe best for this machine: earwitness serve ${flags}\n`);
  stdout.write(
    `It carries about ${sessionsOf(best)} sessions that speak all the time, with a partial every ` +
      `${options.partialIntervalMs} ms; beyond that partials get rarer first.\n`,
  );
  return 0;
}

/**
 * Seconds of speech that all workers together transcribe in a second, as live streams, one after another on each.
 * Throws `InferenceError` if a worker dies, and the signal's reason.
 */
function measurePlacement(placement: Placement, options: BenchCommandOptions): Promise<number> {
  const { workers, threads } = placement;
  const { launch, signal } = options;
  const died = 'a worker of the speech model died; its last words are above';
  return withReadyPool(
    {
      workers: Array.from({ length: workers }, () => ({ launch: launch(threads), batchMaxCount: 1 })),
      rssMaxBytes: WORKER_RSS_MAX_BYTES,
      outcomeOfDeath: () => Promise.reject(new InferenceError('unavailable', died)),
      signal,
    },
    (pool) => speechRateOf(pool, options),
  );
}

async function speechRateOf(pool: InferencePool, options: BenchCommandOptions): Promise<number> {
  const speech = repeated(options.phrase, msToSamples(BENCH_SPEECH_MS));
  const startedAtMs = systemClock.nowMs();
  let nextJobId = 1;
  let heardMs = 0;
  const streamAll = async (): Promise<void> => {
    while (systemClock.nowMs() - startedAtMs < options.durationMs) {
      await streamOnce(pool, { ...options, speech, takeJobId: () => nextJobId++ });
      heardMs += samplesToMs(speech.length);
    }
  };
  await Promise.all(Array.from({ length: pool.slotCount }, streamAll));
  return heardMs / (systemClock.nowMs() - startedAtMs);
}

/** One utterance: its partials, each with the last one's tokens as its draft, and its final. */
async function streamOnce(
  pool: InferencePool,
  stream: {
    readonly speech: Int16Array;
    readonly partialIntervalMs: number;
    readonly takeJobId: () => number;
  },
): Promise<void> {
  const { speech, takeJobId } = stream;
  const interval = msToSamples(stream.partialIntervalMs);
  let draft: readonly number[] = [];
  const partialOf = takeJobId();
  for (let end = interval; end < speech.length; end += interval) {
    ({ tokens: draft } = await pool.run({ jobId: takeJobId(), pcm: speech.slice(0, end), draft, partialOf }));
  }
  await pool.run({ jobId: takeJobId(), pcm: speech, draft });
}

/** The phrase over and over, `samples` long. */
function repeated(phrase: Int16Array, samples: number): Int16Array {
  const speech = new Int16Array(samples);
  for (let start = 0; start < samples; start += phrase.length) {
    speech.set(phrase.subarray(0, samples - start), start);
  }
  return speech;
}
