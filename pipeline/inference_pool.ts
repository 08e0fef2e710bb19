/**
 * The inference workers, behind the interface the scheduler knows: submit a self-contained job, get a hypothesis.
 * One batch at a time per worker: the jobs that are submitted in one go while it is free, one or many. A worker that
 * dies or outlives its batch's deadline fails the jobs of that batch and no others.
 */
import { samplesToMs } from './audio.ts';
import type { Cancel, Clock } from './clock.ts';
import { BatchSize, type BatchRun } from './batch_size.ts';
import type { BatchWork, Hypothesis } from './contracts.ts';
import { EXIT_DEVICE, InferenceError, SharedDeathError, type ErrorCode } from './errors.ts';
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
  /** See `RecognitionTask`. */
  readonly partialOf?: number | undefined;
  /** Whose it is, for the log; its worker is not told. */
  readonly sessionId?: string | undefined;
  /** It must not share a batch: it may be what ended a worker. */
  readonly isAlone?: boolean;
}

/** A job as its worker gets it. */
export type BatchJob = Pick<InferenceJob, 'jobId' | 'pcm' | 'draft' | 'partialOf'>;
export interface InferenceRequest {
  readonly type: 'batch';
  readonly jobs: readonly BatchJob[];
}
export type InferenceReply =
  /** The batch has been run; what became of each of its jobs follows. */
  | { readonly type: 'batchDone'; readonly work: BatchWork; readonly batchMaxCount: number }
  | { readonly type: 'result'; readonly jobId: number; readonly hypothesis: Hypothesis }
  | {
      readonly type: 'jobFailed';
      readonly jobId: number;
      readonly code: ErrorCode;
      readonly message: string;
    };

/** Where jobs run. The scheduler submits only while `freeCount` is positive. */
export interface InferencePool {
  /** Batches that can be running at the same time at present. */
  readonly slotCount: number;
  /** Jobs that can be started now. */
  readonly freeCount: number;
  /** Slots that nothing runs on, nor will when this turn is over: a job that must be alone needs one. */
  readonly idleCount: number;
  /** Workers have died lately that had no job or were killed from outside: it is not audio that ends them. */
  readonly isDisturbed: boolean;
  /**
   * Runs one job. Rejects with `InferenceError`: `worker_died` or `deadline_exceeded` (its worker ended; a
   * `SharedDeathError` if it was not alone), `unavailable` (no free slot, or the pool closed), or the code the
   * recogniser gave. Always settles.
   */
  run(job: InferenceJob): Promise<Hypothesis>;
}

/** Job deadline in ms: grows with the audio, so that a long utterance is not mistaken for a hang. */
export function jobDeadlineMs(pcm: Int16Array): number {
  return Math.max(JOB_DEADLINE_MIN_MS, samplesToMs(pcm.length) * JOB_DEADLINE_AUDIO_RATIO);
}

/** A batch is run to the deadline of its longest job. */
function batchDeadlineMs(jobs: readonly RunningJob[]): number {
  return Math.max(...jobs.map(({ job }) => jobDeadlineMs(job.pcm)));
}

interface RunningJob {
  readonly job: InferenceJob;
  readonly resolve: (hypothesis: Hypothesis) => void;
  readonly reject: (error: InferenceError) => void;
}

/** Jobs of one slot, gathered in one turn of the event loop and then sent. */
interface Batch {
  /** Those that have not been answered. */
  readonly jobs: Map<number, RunningJob>;
  /** Jobs that it was sent with; 0 while it is gathered. */
  sentCount: number;
  sentAtMs: number;
  slotShare: number;
  /** Of its time, what jobs stand for that were answered before it was over. */
  earlyMs: number;
  cancelDeadline: Cancel;
}

interface Slot {
  readonly device: SlotDevice;
  readonly worker: FallbackWorker<InferenceRequest, InferenceReply>;
  size: BatchSize;
  batch: Batch | undefined;
  /** Whether its latest process ran on the device it is meant for. */
  wasOnItsDevice: boolean;
}

/** What one worker runs on. */
export interface SlotDevice {
  readonly launch: WorkerLauncher<InferenceRequest, InferenceReply>;
  /** Where jobs run when the device of `launch` keeps ending its workers; absent if that is the last resort itself. */
  readonly fallback?: Fallback<InferenceRequest, InferenceReply> | undefined;
  /** Most jobs of one batch there; on what it falls back to it is 1. */
  readonly batchMaxCount: number;
  /** Takes jobs only while a slot that is none is not there or not on its device. */
  readonly isStandby?: boolean;
}

export interface WorkerInferencePoolOptions {
  /** One for each worker; those beyond `slotCount` are loaded and warm, so that a death costs no model load. */
  readonly workers: readonly SlotDevice[];
  readonly clock: Clock;
  readonly random: () => number;
  /** Batches that may run at the same time, beside those of standbys. */
  readonly slotCount: number;
  readonly rssMaxBytes: number;
  /** A slot became free, or a worker came or went. */
  readonly onChange: () => void;
  /** A worker died; `jobs` were running on it. */
  readonly onDeath: (death: WorkerDeath, jobs: readonly InferenceJob[]) => void;
  /** A batch has been run. */
  readonly onBatch?: (batch: BatchRun & { readonly work: BatchWork; readonly batchMaxCount: number }) => void;
}

export class WorkerInferencePool implements InferencePool {
  readonly #options: WorkerInferencePoolOptions;
  readonly #slots: Slot[] = [];
  #disturbedAtMs = -Infinity;
  #isClosed = false;

  constructor(options: WorkerInferencePoolOptions) {
    this.#options = options;
    for (const device of options.workers) this.#slots.push(this.#createSlot(device));
  }

  start(): void {
    for (const slot of this.#slots) slot.worker.start();
  }

  get slotCount(): number {
    const readyCount = this.#slots.filter((slot) => slot.worker.state === 'ready').length;
    return Math.min(this.wantedSlotCount, readyCount);
  }

  /** Slots that run something, or will when this turn is over. */
  get busyCount(): number {
    return this.#slots.filter((slot) => slot.batch !== undefined).length;
  }

  get idleCount(): number {
    return this.#idleSlots().length;
  }

  get freeCount(): number {
    const gathering = this.#slots.filter(({ batch }) => batch !== undefined);
    return [...this.#idleSlots(), ...gathering].reduce((sum, slot) => sum + roomOf(slot), 0);
  }

  get isDisturbed(): boolean {
    return this.#options.clock.nowMs() - this.#disturbedAtMs < DISTURBANCE_MS;
  }

  statuses(): readonly WorkerStatus[] {
    return this.#slots.map((slot) => slot.worker.status);
  }

  run(job: InferenceJob): Promise<Hypothesis> {
    const slot = this.#isClosed ? undefined : this.#slotFor(job);
    if (slot === undefined) {
      return Promise.reject(
        new InferenceError('unavailable', 'no inference worker is free', { retryable: true }),
      );
    }
    return new Promise((resolve, reject) => {
      this.#add(slot, { job, resolve, reject });
    });
  }

  /** Ends the workers; what is running rejects with `unavailable`. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const slot of this.#slots) {
      for (const { reject } of this.#end(slot)?.jobs.values() ?? [])
        reject(new InferenceError('unavailable', 'the server is shutting down'));
    }
    await Promise.all(this.#slots.map((slot) => slot.worker.close()));
  }

  /** `slotCount` if all workers were as they should; while an accelerator is missing, standbys count too. */
  get wantedSlotCount(): number {
    const { slotCount, workers } = this.#options;
    const isOneMissing = this.#slots.some(
      ({ device, worker }) =>
        device.isStandby !== true && !(worker.state === 'ready' && worker.isOnItsDevice),
    );
    return slotCount + (isOneMissing ? workers.filter(({ isStandby }) => isStandby === true).length : 0);
  }

  /** Those that may begin a batch, the largest first. */
  #idleSlots(): Slot[] {
    const idle = this.#slots.filter(isIdle).sort((a, b) => b.size.count - a.size.count);
    return idle.slice(0, Math.max(0, this.wantedSlotCount - this.busyCount));
  }

  /**
   * The slot that would be least full with the job: several share what comes in one turn. Among equals partials of an
   * utterance go to its home, which has kept what it made of those before.
   */
  #slotFor({ isAlone, partialOf }: InferenceJob): Slot | undefined {
    const idle = this.#idleSlots();
    if (isAlone === true) return idle[0];
    const fullness = ({ size, batch }: Slot): number => ((batch?.jobs.size ?? 0) + 1) / size.count;
    const open = [...idle, ...this.#slots.filter(({ batch }) => batch !== undefined)];
    const home = partialOf === undefined ? undefined : this.#slots[partialOf % this.#options.slotCount];
    if (home !== undefined && open.includes(home)) open.unshift(home);
    return open
      .filter((slot) => roomOf(slot) > 0)
      .reduce<Slot | undefined>(
        (best, slot) => (best === undefined || fullness(slot) < fullness(best) ? slot : best),
        undefined,
      );
  }

  /** A batch that is full, or whose job must be alone, is sent at once; others when this turn is over. */
  #add(slot: Slot, running: RunningJob): void {
    const batch = (slot.batch ??= emptyBatch());
    batch.jobs.set(running.job.jobId, running);
    if (running.job.isAlone === true || batch.jobs.size >= slot.size.count) this.#send(slot, batch);
    else if (batch.jobs.size === 1) {
      queueMicrotask(() => {
        if (slot.batch === batch) this.#send(slot, batch);
      });
    }
  }

  #send(slot: Slot, batch: Batch): void {
    if (batch.sentCount > 0) return;
    const running = [...batch.jobs.values()];
    batch.sentCount = running.length;
    batch.sentAtMs = this.#options.clock.nowMs();
    batch.slotShare = slot.size.shareOf(running.length);
    batch.cancelDeadline = this.#armDeadline(slot, batch, batchDeadlineMs(running));
    const jobs = running.map(({ job: { jobId, pcm, draft, partialOf } }) => ({
      jobId,
      pcm,
      draft,
      partialOf,
    }));
    slot.worker.send({ type: 'batch', jobs });
  }

  /** Kills the worker when the batch's time is over; a worker that had no processor meanwhile is given more of it. */
  #armDeadline(slot: Slot, batch: Batch, boundMs: number): Cancel {
    const { clock } = this.#options;
    let hadCpuMs = slot.worker.activity()?.cpuMs ?? 0;
    let extensionCount = 0;
    let cancel: Cancel;
    const judge = (): void => {
      if (slot.batch !== batch) return;
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

  #createSlot(device: SlotDevice): Slot {
    const { clock, random, rssMaxBytes } = this.#options;
    const { launch, fallback } = device;
    const slot: Slot = {
      device,
      worker: new FallbackWorker<InferenceRequest, InferenceReply>({
        launch,
        fallback,
        clock,
        random,
        rssMaxBytes,
        owner: {
          ready: () => {
            slot.wasOnItsDevice = slot.worker.isOnItsDevice;
            // What another process found out about memory and time need not hold for this one.
            slot.size = new BatchSize(slot.wasOnItsDevice ? device.batchMaxCount : 1);
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
          isBusy: () => slot.batch !== undefined,
        },
      }),
      size: new BatchSize(device.batchMaxCount),
      batch: undefined,
      wasOnItsDevice: true,
    };
    return slot;
  }

  #receive(slot: Slot, reply: InferenceReply): void {
    const { batch } = slot;
    if (batch === undefined) return;
    if (reply.type === 'batchDone') {
      this.#noteBatch(slot, batch, reply);
      return;
    }
    const running = batch.jobs.get(reply.jobId);
    if (running === undefined) return;
    batch.jobs.delete(reply.jobId);
    const isOver = batch.jobs.size === 0;
    if (isOver) {
      this.#end(slot);
      slot.worker.rest();
    }
    const { slotShare } = batch;
    batch.earlyMs += (this.#options.clock.nowMs() - batch.sentAtMs) * slotShare;
    if (reply.type === 'result') {
      running.resolve(slotShare === 1 ? reply.hypothesis : { ...reply.hypothesis, slotShare });
    } else {
      running.reject(new InferenceError(reply.code, reply.message, { slotShare }));
    }
    if (isOver) this.#options.onChange();
  }

  #noteBatch(slot: Slot, batch: Batch, reply: Extract<InferenceReply, { readonly type: 'batchDone' }>): void {
    const { work, batchMaxCount } = reply;
    const run = { rows: batch.sentCount, tookMs: this.#options.clock.nowMs() - batch.sentAtMs };
    slot.size.limit(batchMaxCount);
    slot.size.note(run);
    // Who was answered early was charged for the time up to then: the others are charged for what is left.
    const earlyShare = run.tookMs === 0 ? 0 : batch.earlyMs / run.tookMs;
    batch.slotShare = Math.max(0, slot.size.shareOf(run.rows) * run.rows - earlyShare) / batch.jobs.size;
    this.#options.onBatch?.({ ...run, work, batchMaxCount: slot.size.count });
  }

  #lose(slot: Slot, death: WorkerDeath): void {
    const batch = this.#end(slot);
    if (batch === undefined && this.#isClosed) return;
    // A device that is lost or given up ends workers by itself: that is not held against what they were working on.
    const isOfDevice = death.exit.code === EXIT_DEVICE || (slot.wasOnItsDevice && !slot.worker.isOnItsDevice);
    const isIdleDeath = batch === undefined && isUnasked(death);
    if (isOfDevice || isIdleDeath || isFromOutside(death)) this.#noteDisturbance();
    const lost = [...(batch?.jobs.values() ?? [])];
    this.#options.onDeath(
      death,
      lost.map(({ job }) => job),
    );
    const code = death.cause === 'deadline' ? 'deadline_exceeded' : 'worker_died';
    const rows = Math.max(1, batch?.sentCount ?? 1);
    const DeathError = rows > 1 ? SharedDeathError : InferenceError;
    const options = { retryable: true, slotShare: 1 / rows };
    for (const { reject } of lost) reject(new DeathError(code, 'the worker that ran the job ended', options));
    this.#options.onChange();
  }

  #noteDisturbance(): void {
    this.#disturbedAtMs = this.#options.clock.nowMs();
  }

  #end(slot: Slot): Batch | undefined {
    const { batch } = slot;
    slot.batch = undefined;
    batch?.cancelDeadline();
    return batch;
  }
}

function emptyBatch(): Batch {
  return {
    jobs: new Map(),
    sentCount: 0,
    sentAtMs: 0,
    slotShare: 1,
    earlyMs: 0,
    cancelDeadline: () => undefined,
  };
}

/** Jobs that a slot still takes. */
function roomOf({ size, batch }: Slot): number {
  if (batch === undefined) return size.count;
  return batch.sentCount > 0 ? 0 : size.count - batch.jobs.size;
}

/** Nobody here wanted it to end. */
function isUnasked({ cause }: WorkerDeath): boolean {
  return cause === 'signal' || cause === 'exit' || cause === 'hang';
}

function isIdle(slot: Slot): boolean {
  return slot.batch === undefined && slot.worker.state === 'ready';
}
