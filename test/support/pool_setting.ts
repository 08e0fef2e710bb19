/** The inference pool between a test and processes that do as the test says. */
import assert from 'node:assert/strict';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Hypothesis } from '../../pipeline/contracts.ts';
import { InferenceError } from '../../pipeline/errors.ts';
import {
  type InferenceJob,
  WorkerInferencePool,
  type InferenceReply,
  type InferenceRequest,
  type SlotDevice,
} from '../../pipeline/inference_pool.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import { FakeClock, settle } from './fake_clock.ts';
import { actHealthy, FakeLauncher, type FakeProcess } from './fake_worker.ts';
import { hypothesisOf } from './scripted_pool.ts';

/** Above it a worker is recycled. */
export const RSS_MAX_BYTES = 1_000;
/** What became of a job. */
export type Outcome = Hypothesis | InferenceError;

/** A pool over fake processes, on a fake clock. */
export class PoolSetting {
  readonly clock = new FakeClock();
  readonly launcher = new FakeLauncher<InferenceRequest, InferenceReply>();
  readonly deaths: { readonly death: WorkerDeath; readonly jobIds: readonly number[] }[] = [];
  readonly pool: WorkerInferencePool;
  changeCount = 0;
  /** What a scheduler would do of a change. */
  onChange: () => void = () => undefined;
  #nextJobId = 1;

  constructor(slotCount = 1, spareCount = 0, { fallback, batchMaxCount = 1 }: Partial<SlotDevice> = {}) {
    this.launcher.onLaunch = (process) => {
      actHealthy(process);
    };
    this.pool = new WorkerInferencePool({
      workers: Array.from({ length: slotCount + spareCount }, () => ({
        ...{ launch: this.launcher.launch, fallback, batchMaxCount },
      })),
      clock: this.clock,
      random: () => 0.5,
      slotCount,
      rssMaxBytes: RSS_MAX_BYTES,
      onChange: () => {
        this.changeCount++;
        this.onChange();
      },
      onDeath: (death, jobs) => this.deaths.push({ death, jobIds: jobs.map(({ jobId }) => jobId) }),
    });
  }

  static async ready(slotCount = 1, spareCount = 0, device: Partial<SlotDevice> = {}): Promise<PoolSetting> {
    const setting = new PoolSetting(slotCount, spareCount, device);
    setting.pool.start();
    await settle();
    return setting;
  }

  /** Starts a job of one second of audio; its outcome never throws. */
  run(
    audioMs = 1_000,
    { isAlone = false, partialOf }: Pick<InferenceJob, 'isAlone' | 'partialOf'> = {},
  ): { readonly jobId: number; readonly outcome: Promise<Outcome> } {
    const jobId = this.#nextJobId++;
    const pcm = new Int16Array(msToSamples(audioMs));
    const promise = this.pool.run({ jobId, pcm, draft: [], isAlone, partialOf });
    return {
      jobId,
      outcome: promise.catch((error: unknown) => {
        assert(error instanceof InferenceError);
        return error;
      }),
    };
  }

  /** The jobs of every batch that was sent, process by process. */
  batches(): number[][] {
    return this.launcher.processes.flatMap(({ received }) =>
      received.flatMap((message) =>
        message.type === 'batch' ? [message.jobs.map(({ jobId }) => jobId)] : [],
      ),
    );
  }

  answer(jobId: number): void {
    this.processOf(jobId).reply({ type: 'result', jobId, hypothesis: hypothesisOf(`text ${jobId}`) });
  }

  /** The process that is running this job. */
  processOf(jobId: number): FakeProcess<InferenceRequest, InferenceReply> {
    const process = this.launcher.processes.find(({ received }) =>
      received.some((message) => message.type === 'batch' && message.jobs.some((job) => job.jobId === jobId)),
    );
    assert(process !== undefined, `job ${jobId} was sent to a process`);
    return process;
  }
}

/** The code of a failure, or `done`. */
export function codeOf(outcome: Outcome): string {
  return outcome instanceof InferenceError ? outcome.code : 'done';
}
