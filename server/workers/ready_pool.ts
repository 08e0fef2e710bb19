/** Inference workers for one piece of work, which is done when all of them are ready and ends with them. */
import { systemClock } from '../../pipeline/clock.ts';
import { WorkerInferencePool, type WorkerInferencePoolOptions } from '../../pipeline/inference_pool.ts';

export interface ReadyPoolOptions<T> extends Pick<WorkerInferencePoolOptions, 'workers' | 'rssMaxBytes'> {
  /** What a worker's death comes to, at its start or later; `jobs` were running on it and have not been rejected yet. */
  readonly outcomeOfDeath: (...death: Parameters<WorkerInferencePoolOptions['onDeath']>) => Promise<T>;
  /** Ends the work. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts the workers, does `work` once and ends them. What comes first is the outcome: that of the work, that of a
 * death, or the signal's reason, which is thrown.
 */
export async function withReadyPool<T>(
  options: ReadyPoolOptions<T>,
  work: (pool: WorkerInferencePool) => Promise<T>,
): Promise<T> {
  const { workers, rssMaxBytes, outcomeOfDeath, signal } = options;
  signal?.throwIfAborted();
  let pool: WorkerInferencePool | undefined;
  let abort = (): void => undefined;
  const outcome = new Promise<T>((resolve, reject) => {
    abort = () => {
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', abort, { once: true });
    let hasBegun = false;
    pool = new WorkerInferencePool({
      ...{ workers, rssMaxBytes, slotCount: workers.length, clock: systemClock, random: Math.random },
      onDeath: (death, jobs) => {
        resolve(outcomeOfDeath(death, jobs));
      },
      onChange: () => {
        if (hasBegun || pool?.slotCount !== workers.length) return;
        hasBegun = true;
        work(pool).then(resolve, reject);
      },
    });
    pool.start();
  });
  try {
    return await outcome;
  } finally {
    signal?.removeEventListener('abort', abort);
    await pool?.close();
  }
}
