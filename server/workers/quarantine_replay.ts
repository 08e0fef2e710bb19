/** Runs one stretch of audio in an inference worker of its own, to see whether it still ends one. */
import { systemClock, type Clock } from '../../pipeline/clock.ts';
import type { Hypothesis } from '../../pipeline/contracts.ts';
import { TranscriptionError } from '../../pipeline/errors.ts';
import {
  WorkerInferencePool,
  type InferenceReply,
  type InferenceRequest,
} from '../../pipeline/inference_pool.ts';
import { WORKER_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import type { WorkerLauncher } from '../../pipeline/worker_process.ts';

/** What came of it. `notStarted`: the worker died before it had the audio, which says nothing about it. */
export type ReplayOutcome =
  | { readonly type: 'text'; readonly hypothesis: Hypothesis; readonly elapsedMs: number }
  | { readonly type: 'refused'; readonly error: TranscriptionError }
  | { readonly type: 'died' | 'notStarted'; readonly death: WorkerDeath };

/** Starts a worker, gives it the audio once and ends it. */
export async function replayAudio(
  pcm: Int16Array,
  options: { readonly launch: WorkerLauncher<InferenceRequest, InferenceReply>; readonly clock?: Clock },
): Promise<ReplayOutcome> {
  const { launch, clock = systemClock } = options;
  let pool: WorkerInferencePool | undefined;
  const outcome = new Promise<ReplayOutcome>((resolve) => {
    let startedAtMs: number | undefined;
    pool = new WorkerInferencePool({
      workers: [{ launch, batchMaxCount: 1 }],
      clock,
      random: Math.random,
      slotCount: 1,
      rssMaxBytes: WORKER_RSS_MAX_BYTES,
      onDeath: (death, jobs) => {
        resolve({ type: jobs.length > 0 ? 'died' : 'notStarted', death });
      },
      onChange: () => {
        if (startedAtMs !== undefined || pool === undefined || pool.freeCount === 0) return;
        const atMs = (startedAtMs = clock.nowMs());
        pool.run({ jobId: 1, pcm, draft: [] }).then(
          (hypothesis) => {
            resolve({ type: 'text', hypothesis, elapsedMs: clock.nowMs() - atMs });
          },
          (error: unknown) => {
            // A death was told before; this settles what is left.
            if (error instanceof TranscriptionError) resolve({ type: 'refused', error });
          },
        );
      },
    });
    pool.start();
  });
  try {
    return await outcome;
  } finally {
    await pool?.close();
  }
}
