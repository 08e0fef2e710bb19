/** Finds out what a device can do: a worker is started on it, hears the canary phrase and runs a batch of it. */
import { findRecogniser } from '../../models/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import type { InferencePool } from '../../pipeline/inference_pool.ts';
import { BATCH_OBJECTIVE_MS, BATCH_START_COUNT, ACCELERATOR_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import { decodeCanary } from './canary.ts';
import type { Config } from '../config.ts';
import { describeDeviceFault } from './device_advice.ts';
import { ACCELERATORS, CPU, devicesOf } from './devices.ts';
import type { Log } from '../records/log.ts';
import { withReadyPool } from './ready_pool.ts';
import { inferenceLauncher, type WorkerModule } from './worker_launchers.ts';

/** What became of a trial: the time of the second of two equal batches, or why there is none. */
export type DeviceTrial =
  { readonly device: string; readonly batchMs: number } | { readonly device: string; readonly fault: string };

/** What of the configuration decides how the model runs. */
export type ModelConfig = Pick<Config, 'model' | 'modelsDir' | 'device' | 'inferenceThreads'>;

export interface TrialOptions {
  readonly config: ModelConfig;
  /** Instead of the worker's own. */
  readonly module?: WorkerModule | undefined;
  /** Ends the trial; its reason is thrown when the worker has ended. */
  readonly signal?: AbortSignal | undefined;
}

/** Tries one device, for no longer than a worker may take to start and a job to run. */
export async function tryDevice(
  device: string,
  { config, module, signal }: TrialOptions,
): Promise<DeviceTrial> {
  const { phrase } = decodeCanary(findRecogniser(config.model).language, await loadDecoderFactory());
  const launch = inferenceLauncher(config, { device, ...(module === undefined ? {} : { module }) });
  return withReadyPool<DeviceTrial>(
    {
      workers: [{ launch, batchMaxCount: BATCH_START_COUNT }],
      rssMaxBytes: ACCELERATOR_RSS_MAX_BYTES,
      outcomeOfDeath: ({ exit, cause }) =>
        Promise.resolve({
          device,
          fault: describeDeviceFault(device, { cause, lastWords: exit.stderrTail }),
        }),
      signal,
    },
    async (pool) => {
      try {
        return { device, batchMs: await timeBatch(pool, phrase) };
      } catch (error) {
        return { device, fault: error instanceof Error ? error.message : String(error) };
      }
    },
  );
}

/** Runs it twice, in parts where the device takes less at once, and says how long the second took. */
async function timeBatch(pool: InferencePool, pcm: Int16Array): Promise<number> {
  let [jobId, startedAtMs] = [1, 0];
  for (let run = 0; run < 2; run++) {
    startedAtMs = systemClock.nowMs();
    for (let left = BATCH_START_COUNT; left > 0;) {
      // A worker that is just being replaced takes none: then the one that is tried anyway is refused.
      const jobs = Array.from({ length: Math.min(left, Math.max(1, pool.freeCount)) }, () =>
        pool.run({ jobId: jobId++, pcm, draft: [] }),
      );
      left -= jobs.length;
      await Promise.all(jobs);
    }
  }
  return systemClock.nowMs() - startedAtMs;
}

/** True if it runs a batch as fast as finals need it; what only computes like a GPU, in software, does not. */
export function isFastEnough({ batchMs }: { readonly batchMs: number }): boolean {
  return batchMs <= BATCH_OBJECTIVE_MS;
}

/** Who is told of the choice, and what ends it. */
export interface ChoiceOptions {
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
  readonly tryOne?: (device: string) => Promise<DeviceTrial>;
}

/**
 * For `auto`: the best accelerator that works and is fast enough, else the CPU; the log says why not the others.
 * Throws the signal's reason.
 */
export async function chooseDevice(
  config: ModelConfig,
  { log, signal, tryOne = (device) => tryDevice(device, { config, signal }) }: ChoiceOptions,
): Promise<string> {
  for (const device of ACCELERATORS.flatMap(devicesOf)) {
    signal?.throwIfAborted();
    log.info('a device is tried', { device });
    const trial = await tryOne(device);
    const fault = 'fault' in trial ? trial.fault : isFastEnough(trial) ? undefined : slowness(trial);
    if (fault === undefined) {
      log.info('device chosen', { device });
      return device;
    }
    log.info('a device is not chosen', { device, reason: fault });
  }
  log.info('device chosen', { device: CPU });
  return CPU;
}

/** Why a device that works is not fast enough. */
export function slowness({ batchMs }: { readonly batchMs: number }): string {
  return (
    `works, but takes ${Math.round(batchMs)} ms for a batch of ${BATCH_START_COUNT}, ` +
    `${BATCH_OBJECTIVE_MS} ms at most would be of use`
  );
}
