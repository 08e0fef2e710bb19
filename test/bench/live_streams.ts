/** Many people who speak all the time, through the real scheduler and pool: how late their finals come. */
import { msToSamples } from '../../pipeline/audio.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { WorkerInferencePool } from '../../pipeline/inference_pool.ts';
import { FINAL_OBJECTIVE_MS, PARTIAL_NEW_AUDIO_MIN_MS } from '../../pipeline/limits.ts';
import type { PartialSource } from '../../pipeline/job_requests.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

export interface StreamsOptions {
  readonly pool: WorkerInferencePool;
  readonly streamCount: number;
  readonly durationMs: number;
  readonly partialIntervalMs: number;
  /** What they say, in turns; 16 kHz mono PCM. */
  readonly utterances: readonly Int16Array[];
}

export interface StreamsResult {
  /** Of each final: from the end of its utterance, in ms. */
  readonly finalMs: readonly number[];
  readonly failedCount: number;
  readonly partialCount: number;
}

/** Speaks with so many streams for a while. The pool must be ready; whoever calls pumps nothing. */
export async function speakLive(
  options: StreamsOptions & { readonly onScheduler: (scheduler: Scheduler) => void },
): Promise<StreamsResult> {
  const { pool, streamCount, durationMs, partialIntervalMs, utterances } = options;
  const scheduler = new Scheduler({
    pool,
    clock: systemClock,
    telemetry: new RecordingTelemetry(),
    partialIntervalMs,
    onPartialsSuspended: () => undefined,
  });
  options.onScheduler(scheduler);
  const tally = { finalMs: [] as number[], failedCount: 0, partialCount: 0 };
  const endAtMs = systemClock.nowMs() + durationMs;
  const speakOn = async (stream: number): Promise<void> => {
    // They do not all begin at once.
    await passed((stream / streamCount) * partialIntervalMs);
    for (let turn = stream; systemClock.nowMs() < endAtMs; turn++) {
      const pcm = utterances[turn % utterances.length];
      if (pcm !== undefined) await speakOnce(pcm, { scheduler, tally });
    }
  };
  await Promise.all(Array.from({ length: streamCount }, (_, stream) => speakOn(stream)));
  scheduler.close();
  return tally;
}

interface Speaking {
  readonly scheduler: Scheduler;
  readonly tally: { readonly finalMs: number[]; failedCount: number; partialCount: number };
}

/** One utterance as it is spoken: partials of what has been said, each the draft of the next, and the final. */
async function speakOnce(pcm: Int16Array, { scheduler, tally }: Speaking): Promise<void> {
  const startedAtMs = systemClock.nowMs();
  let draft: readonly number[] = [];
  let takenSamples = 0;
  const source: PartialSource = {
    takePartial: () => {
      const spoken = Math.min(pcm.length, msToSamples(systemClock.nowMs() - startedAtMs));
      if (spoken - takenSamples < msToSamples(PARTIAL_NEW_AUDIO_MIN_MS)) return undefined;
      takenSamples = spoken;
      return {
        audio: { pcm: pcm.subarray(0, spoken), draft },
        isWhole: false,
        done: (hypothesis) => {
          draft = hypothesis.tokens;
          tally.partialCount++;
          return true;
        },
        failed: () => undefined,
      };
    },
  };
  scheduler.addSource(source);
  await passed((pcm.length / msToSamples(1_000)) * 1_000);
  scheduler.removeSource(source);
  const endedAtMs = systemClock.nowMs();
  await new Promise<void>((resolve) => {
    scheduler.submitFinal({
      audio: { pcm, draft },
      deadlineAtMs: endedAtMs + FINAL_OBJECTIVE_MS,
      isWanted: () => true,
      done: () => {
        tally.finalMs.push(systemClock.nowMs() - endedAtMs);
        resolve();
      },
      failed: () => {
        tally.failedCount++;
        resolve();
      },
    });
  });
}

function passed(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
