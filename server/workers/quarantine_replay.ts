/** Runs one stretch of audio in an inference worker of its own, to see whether it still ends one. */
import { systemClock } from '../../pipeline/clock.ts';
import type { Hypothesis } from '../../pipeline/contracts.ts';
import { TranscriptionError } from '../../pipeline/errors.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { WORKER_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import type { WorkerLauncher } from '../../pipeline/worker_process.ts';
import { withReadyPool } from './ready_pool.ts';

/** What came of it. `notStarted`: the worker died before it had the audio, which says nothing about it. */
export type ReplayOutcome =
  | { readonly type: 'text'; readonly hypothesis: Hypothesis; readonly elapsedMs: number }
  | { readonly type: 'refused'; readonly error: TranscriptionError }
  | { readonly type: 'died' | 'notStarted'; readonly death: WorkerDeath };

/** Starts a worker, gives it the audio once and ends it. */
export function replayAudio(
  pcm: Int16Array,
  { launch }: { readonly launch: WorkerLauncher<InferenceRequest, InferenceReply> },
): Promise<ReplayOutcome> {
  return withReadyPool<ReplayOutcome>(
    {
      workers: [{ launch, batchMaxCount: 1 }],
      rssMaxBytes: WORKER_RSS_MAX_BYTES,
      outcomeOfDeath: (death, jobs) =>
        Promise.resolve({ type: jobs.length > 0 ? 'died' : 'notStarted', death }),
    },
    async (pool) => {
      const startedAtMs = systemClock.nowMs();
      try {
        const hypothesis = await pool.run({ jobId: 1, pcm, draft: [] });
        return { type: 'text', hypothesis, elapsedMs: systemClock.nowMs() - startedAtMs };
      } catch (error) {
        if (error instanceof TranscriptionError) return { type: 'refused', error };
        throw error;
      }
    },
  );
}
