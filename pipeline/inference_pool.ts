/**
 * The inference workers, behind the interface the scheduler knows: submit a self-contained job, get a hypothesis.
 * One job at a time per worker; a worker that dies or outlives its job's deadline fails that job and no other.
 */
import { samplesToMs } from './audio.ts';
import type { Cancel, Clock } from './clock.ts';
import type { Hypothesis } from './contracts.ts';
import { InferenceError, type ErrorCode } from './errors.ts';
import {
  DISTURBANCE_MS,
  JOB_DEADLINE_AUDIO_RATIO,
  JOB_DEADLINE_EXTENSION_MAX_COUNT,
  JOB_DEADLINE_MIN_MS,
  LATE_MESSAGE_GRACE_MS,
  TIMER_LATE_MIN_MS,
} from './limits.ts';
import { FallbackWorker, type Fallback } from './fallback_worker.ts';
import { isFromOutside, type WorkerDeath, type WorkerStatus } from './supervised_worker.ts';
import type { WorkerLauncher } from './worker_process.ts';

/** Audio of one utterance, or of its beginning, to be transcribed. */
export interface InferenceJob {
  /** Never reused; results are matched by it. */
  readonly jobId: number;
  /** 16 kHz mono PCM, at most RECOGNISER_PCM_MAX_MS. */
  readonly pcm: Int16Array;
  /** Token ids of an earlier hypothesis for the same audio, or empty. */
  readonly draft: readonly number[];
  /** Whose it is, for the log; its worker is not told. */
  readonly sessionId?: string | undefined;
}

export type InferenceRequest = { readonly type: 'job' } & Omit<InferenceJob, 'sessionId'>;
export type InferenceReply =
  | { readonly type: 'result'; readonly jobId: number; readonly hypothesis: Hypothesis }
  | {
      readonly type: 'jobFailed';
      readonly jobId: number;
      readonly code: ErrorCode;
      readonly message: string;
    };

/** Where jobs run. The scheduler submits only while `freeCount` is positive. */
export interface InferencePool {
  /** Jobs that can be running at the same time at present. */
  readonly slotCount: number;
  /** Jobs that can be started now. */
  readonly freeCount: number;
  /** Workers have died lately that had no job or were killed from outside: it is not audio that ends them. */
  readonly isDisturbed: boolean;
  /**
   * Runs one job. Rejects with `InferenceError`: `worker_died` or `deadline_exceeded` (its worker ended),
   * `unavailable` (no free slot, or the pool closed), or the code the recogniser gave. Always settles.
   */
  run(job: InferenceJob): Promise<Hypothesis>;
}

/** Job deadline in ms: grows with the audio, so that a long utterance is not mistaken for a hang. */
export function jobDeadlineMs(pcm: Int16Array): number {
  return Math.max(JOB_DEADLINE_MIN_MS, samplesToMs(pcm.length) * JOB_DEADLINE_AUDIO_RATIO);
}

interface RunningJob {
  readonly job: InferenceJob;
  readonly resolve: (hypothesis: Hypothesis) => void;
  readonly reject: (error: InferenceError) => void;
  cancelDeadline: Cancel;
}

interface Slot {
  readonly worker: FallbackWorker<InferenceRequest, InferenceReply>;
  running: RunningJob | undefined;
  /** Whether its latest process ran on the device it is meant for. */
  wasOnItsDevice: boolean;
}

export interface WorkerInferencePoolOptions {
  readonly launch: WorkerLauncher<InferenceRequest, InferenceReply>;
  /** Where jobs run when the device of `launch` keeps ending its workers; absent if that is the last resort itself. */
  readonly fallback?: Fallback<InferenceRequest, InferenceReply> | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  /** Jobs that may run at the same time. */
  readonly slotCount: number;
  /** Workers beyond that, loaded and warm, so that a death costs no model load. */
  readonly spareCount: number;
  readonly rssMaxBytes: number;
  /** A slot became free, or a worker came or went. */
  readonly onChange: () => void;
  /** A worker died; `jobs` were running on it. */
  readonly onDeath: (death: WorkerDeath, jobs: readonly InferenceJob[]) => void;
}

export class WorkerInferencePool implements InferencePool {
  readonly #options: WorkerInferencePoolOptions;
  readonly #slots: Slot[] = [];
  #disturbedAtMs = -Infinity;
  #isClosed = false;

  constructor(options: WorkerInferencePoolOptions) {
    this.#options = options;
    for (let i = 0; i < options.slotCount + options.spareCount; i++) this.#slots.push(this.#createSlot());
  }

  start(): void {
    for (const slot of this.#slots) slot.worker.start();
  }

  get slotCount(): number {
    const readyCount = this.#slots.filter((slot) => slot.worker.state === 'ready').length;
    return Math.min(this.#options.slotCount, readyCount);
  }

  get busyCount(): number {
    return this.#slots.filter((slot) => slot.running !== undefined).length;
  }

  get freeCount(): number {
    const idleCount = this.#slots.filter(isIdle).length;
    return Math.max(0, Math.min(idleCount, this.#options.slotCount - this.busyCount));
  }

  get isDisturbed(): boolean {
    return this.#options.clock.nowMs() - this.#disturbedAtMs < DISTURBANCE_MS;
  }

  statuses(): readonly WorkerStatus[] {
    return this.#slots.map((slot) => slot.worker.status);
  }

  run(job: InferenceJob): Promise<Hypothesis> {
    const slot = this.freeCount > 0 ? this.#slots.find(isIdle) : undefined;
    if (slot === undefined || this.#isClosed) {
      return Promise.reject(
        new InferenceError('unavailable', 'no inference worker is free', { retryable: true }),
      );
    }
    return new Promise((resolve, reject) => {
      slot.running = {
        job,
        resolve,
        reject,
        cancelDeadline: this.#armDeadline(slot, job),
      };
      const { jobId, pcm, draft } = job;
      slot.worker.send({ type: 'job', jobId, pcm, draft });
    });
  }

  /** Ends the workers; what is running rejects with `unavailable`. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const slot of this.#slots) {
      this.#settle(slot)?.reject(new InferenceError('unavailable', 'the server is shutting down'));
    }
    await Promise.all(this.#slots.map((slot) => slot.worker.close()));
  }

  /** Kills the worker when the job's time is over; a worker that had no processor meanwhile is given more of it. */
  #armDeadline(slot: Slot, job: InferenceJob): Cancel {
    const { clock } = this.#options;
    const boundMs = jobDeadlineMs(job.pcm);
    let hadCpuMs = slot.worker.activity()?.cpuMs ?? 0;
    let extensionCount = 0;
    let cancel: Cancel;
    const judge = (): void => {
      if (slot.running?.job !== job) return;
      const activity = slot.worker.activity();
      const isStarved = activity?.isRunnable === true && activity.cpuMs - hadCpuMs < boundMs / 2;
      if (!isStarved || extensionCount === JOB_DEADLINE_EXTENSION_MAX_COUNT) {
        slot.worker.kill('deadline');
        return;
      }
      extensionCount++;
      hadCpuMs = activity.cpuMs;
      arm();
    };
    const arm = (): void => {
      const dueAtMs = clock.nowMs() + boundMs;
      cancel = clock.after(boundMs, () => {
        // If it was we who stood still, the result is waiting to be read: let it come first.
        const wasStill = clock.nowMs() - dueAtMs > TIMER_LATE_MIN_MS;
        cancel = clock.after(wasStill ? LATE_MESSAGE_GRACE_MS : 0, judge);
      });
    };
    arm();
    return () => {
      cancel();
    };
  }

  #createSlot(): Slot {
    const { launch, fallback, clock, random, rssMaxBytes } = this.#options;
    const slot: Slot = {
      worker: new FallbackWorker<InferenceRequest, InferenceReply>({
        launch,
        fallback,
        clock,
        random,
        rssMaxBytes,
        owner: {
          ready: () => {
            slot.wasOnItsDevice = slot.worker.isOnItsDevice;
            this.#options.onChange();
          },
          message: (reply) => {
            this.#receive(slot, reply);
          },
          lost: (death) => {
            this.#lose(slot, death);
          },
          startFailed: (death) => {
            this.#noteDisturbance();
            this.#options.onDeath(death, []);
            this.#options.onChange();
          },
          isBusy: () => slot.running !== undefined,
        },
      }),
      running: undefined,
      wasOnItsDevice: true,
    };
    return slot;
  }

  #receive(slot: Slot, reply: InferenceReply): void {
    if (slot.running?.job.jobId !== reply.jobId) return;
    const running = this.#settle(slot);
    slot.worker.rest();
    if (reply.type === 'result') running?.resolve(reply.hypothesis);
    else running?.reject(new InferenceError(reply.code, reply.message));
    this.#options.onChange();
  }

  #lose(slot: Slot, death: WorkerDeath): void {
    const running = this.#settle(slot);
    if (running === undefined && this.#isClosed) return;
    // A device that is given up has ended workers by itself: that is not held against what they were working on.
    const isGivenUp = slot.wasOnItsDevice && !slot.worker.isOnItsDevice;
    const isIdleDeath = running === undefined && isUnasked(death);
    if (isGivenUp || isIdleDeath || isFromOutside(death)) this.#noteDisturbance();
    this.#options.onDeath(death, running === undefined ? [] : [running.job]);
    const code = death.cause === 'deadline' ? 'deadline_exceeded' : 'worker_died';
    running?.reject(new InferenceError(code, 'the worker that ran the job ended', { retryable: true }));
    this.#options.onChange();
  }

  #noteDisturbance(): void {
    this.#disturbedAtMs = this.#options.clock.nowMs();
  }

  #settle(slot: Slot): RunningJob | undefined {
    const running = slot.running;
    slot.running = undefined;
    running?.cancelDeadline();
    return running;
  }
}

/** Nobody here wanted it to end. */
function isUnasked({ cause }: WorkerDeath): boolean {
  return cause === 'signal' || cause === 'exit' || cause === 'hang';
}

function isIdle(slot: Slot): boolean {
  return slot.running === undefined && slot.worker.state === 'ready';
}
