/** An inference pool whose jobs the test settles by hand. */
import assert from 'node:assert/strict';
import type { Hypothesis } from '../../pipeline/contracts.ts';
import { InferenceError, type ErrorCode } from '../../pipeline/errors.ts';
import type { InferenceJob, InferencePool } from '../../pipeline/inference_pool.ts';

/** A hypothesis with this text; everything else plausible. */
export function hypothesisOf(text: string, facts: Partial<Hypothesis> = {}): Hypothesis {
  const tokens = text === '' ? [] : text.split(' ').map((word) => word.length);
  const costs = {
    encodeMs: 1,
    decodeMs: 1,
    reusedMs: 0,
    decoderSteps: tokens.length,
    draftAcceptedTokens: 0,
  };
  return { text, tokens, stop: 'end', ...costs, ...facts };
}

/** A job that runs until the test settles it. */
interface RunningJob {
  readonly job: InferenceJob;
  succeed(hypothesis: Hypothesis): void;
  fail(code: ErrorCode): void;
}

export class ScriptedPool implements InferencePool {
  slotCount: number;
  isDisturbed = false;
  readonly running: RunningJob[] = [];
  /** Every job that was ever started, in order. */
  readonly started: InferenceJob[] = [];

  constructor(slotCount: number) {
    this.slotCount = slotCount;
  }

  get freeCount(): number {
    return Math.max(0, this.slotCount - this.running.length);
  }

  get idleCount(): number {
    return this.freeCount;
  }

  run(job: InferenceJob): Promise<Hypothesis> {
    assert(this.freeCount > 0, 'no job is submitted without a free slot');
    assert(!this.started.some(({ jobId }) => jobId === job.jobId), 'job ids are never reused');
    this.started.push(job);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.running.splice(this.running.indexOf(running), 1);
      };
      const running: RunningJob = {
        job,
        succeed: (hypothesis) => {
          end();
          resolve(hypothesis);
        },
        fail: (code) => {
          end();
          const retryable = code === 'worker_died' || code === 'deadline_exceeded';
          reject(new InferenceError(code, `scripted: ${code}`, { retryable }));
        },
      };
      this.running.push(running);
    });
  }

  /** The job that has run longest. */
  get first(): RunningJob {
    const [running] = this.running;
    assert(running !== undefined, 'a job is running');
    return running;
  }
}
