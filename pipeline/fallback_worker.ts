/**
 * One worker slot that has a second device to fall back to. Where the accelerator keeps ending its workers, the slot
 * goes on on the CPU; meanwhile a candidate on the accelerator is tried every so often, and takes the slot over when
 * it has passed the canary phrase and the slot is idle. Without a fallback it is a `SupervisedWorker`, no more.
 */
import type { Cancel } from './clock.ts';
import type { DeviceRecord } from './device_policy.ts';
import { DEVICE_PROBE_INTERVAL_MS } from './limits.ts';
import {
  SupervisedWorker,
  type DeathCause,
  type SupervisedWorkerOptions,
  type WorkerDeath,
  type WorkerState,
  type WorkerStatus,
} from './supervised_worker.ts';
import type { ProcessActivity } from './process_activity.ts';
import type { WorkerLauncher } from './worker_process.ts';

/** What a slot does without its accelerator. */
export interface Fallback<Request, Reply> {
  /** The accelerator's name, and that of what takes its place. */
  readonly device: string;
  readonly fallbackDevice: string;
  /** Of the accelerator; shared by the slots. */
  readonly record: DeviceRecord;
  /** Starts a worker there. */
  readonly launch: WorkerLauncher<Request, Reply>;
  /** Starts one on the accelerator that is `ready` only after it has heard the canary phrase several times. */
  readonly launchProbe: WorkerLauncher<Request, Reply>;
  /** The slot fell back, for this reason, or has come back (undefined). */
  readonly onChange: (fallback: string | undefined) => void;
  readonly onProbe: (outcome: 'passed' | 'failed') => void;
}

export interface FallbackWorkerOptions<Request, Reply> extends SupervisedWorkerOptions<Request, Reply> {
  readonly fallback?: Fallback<Request, Reply> | undefined;
}

export class FallbackWorker<Request extends object, Reply extends { readonly type: string }> {
  readonly #options: FallbackWorkerOptions<Request, Reply>;
  #worker: SupervisedWorker<Request, Reply>;
  /** Why the accelerator is not used; undefined while it is. */
  #fallbackReason: string | undefined;
  #candidate: SupervisedWorker<Request, Reply> | undefined;
  #hasPassed = false;
  #cancelProbe: Cancel | undefined;
  /** Processes that were started before the present worker's. */
  #earlierStartCount = 0;
  #earlierCpuMs = 0;
  /** Workers that were replaced and have not ended yet. */
  readonly #leaving = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: FallbackWorkerOptions<Request, Reply>) {
    this.#options = options;
    this.#worker = this.#create(options.launch);
  }

  get state(): WorkerState {
    return this.#worker.state;
  }

  /** False while it does without its accelerator. */
  get isOnItsDevice(): boolean {
    return this.#fallbackReason === undefined;
  }

  get status(): WorkerStatus {
    const { fallback } = this.#options;
    const status = this.#worker.status;
    const reason = this.#fallbackReason;
    if (fallback === undefined) return status;
    return {
      ...status,
      restarts: status.restarts + this.#earlierStartCount,
      cpuMs: status.cpuMs + this.#earlierCpuMs,
      device: reason === undefined ? fallback.device : fallback.fallbackDevice,
      ...(reason === undefined ? {} : { fallback: `${fallback.device} is not used: ${reason}` }),
    };
  }

  start(): void {
    this.#worker.start();
  }

  /** As of `SupervisedWorker`. */
  send(message: Request): void {
    this.#worker.send(message);
  }

  /** As of `SupervisedWorker`. */
  kill(cause: DeathCause): void {
    this.#worker.kill(cause);
  }

  /** As of `SupervisedWorker`. */
  activity(): ProcessActivity | undefined {
    return this.#worker.activity();
  }

  /** As of `SupervisedWorker`; a candidate that has passed takes over now. */
  rest(): void {
    if (this.#hasPassed) this.#takeOver();
    else this.#worker.rest();
  }

  /** Ends all processes. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelProbe?.();
    await Promise.all([this.#worker.close(), this.#candidate?.close(), ...this.#leaving]);
  }

  #create(launch: WorkerLauncher<Request, Reply>): SupervisedWorker<Request, Reply> {
    const { owner } = this.#options;
    const worker: SupervisedWorker<Request, Reply> = new SupervisedWorker<Request, Reply>({
      ...this.#options,
      launch,
      owner: {
        ready: () => {
          if (worker === this.#worker) owner.ready();
          else if (worker === this.#candidate) this.#pass();
        },
        message: (message) => {
          if (worker === this.#worker) owner.message(message);
        },
        lost: (death) => {
          this.#bury(worker, death, true);
        },
        startFailed: (death) => {
          this.#bury(worker, death, false);
        },
        isBusy: () => worker === this.#worker && owner.isBusy(),
      },
    });
    return worker;
  }

  #bury(worker: SupervisedWorker<Request, Reply>, death: WorkerDeath, wasReady: boolean): void {
    const { owner } = this.#options;
    if (worker === this.#candidate) {
      this.#failProbe();
      return;
    }
    // One that was replaced has ended, as it was asked to.
    if (worker !== this.#worker) return;
    // Before the owner hears of it, so that it sees a slot that goes on and not one that has failed.
    if (this.#fallbackReason === undefined && !this.#isClosed) this.#judge(death, wasReady);
    if (wasReady) owner.lost(death);
    else owner.startFailed(death);
    if (this.#hasPassed) this.#takeOver();
  }

  #judge(death: WorkerDeath, wasReady: boolean): void {
    const { fallback, clock } = this.#options;
    if (fallback === undefined) return;
    const reason = fallback.record.judge({ ...death, atMs: clock.nowMs(), wasReady });
    if (reason === undefined) return;
    this.#fallbackReason = reason;
    this.#replaceBy(this.#create(fallback.launch));
    this.#worker.start();
    this.#armProbe();
    fallback.onChange(reason);
  }

  #replaceBy(worker: SupervisedWorker<Request, Reply>): void {
    this.#earlierStartCount += this.#worker.status.restarts + 1;
    this.#earlierCpuMs += this.#worker.status.cpuMs;
    this.#leave(this.#worker);
    this.#worker = worker;
  }

  #leave(worker: SupervisedWorker<Request, Reply>): void {
    const closed = worker.close().then(() => {
      this.#leaving.delete(closed);
    });
    this.#leaving.add(closed);
  }

  #armProbe(): void {
    const { clock, fallback } = this.#options;
    if (this.#isClosed || fallback === undefined) return;
    this.#cancelProbe = clock.after(DEVICE_PROBE_INTERVAL_MS, () => {
      this.#candidate = this.#create(fallback.launchProbe);
      this.#candidate.start();
    });
  }

  #failProbe(): void {
    const candidate = this.#candidate;
    this.#candidate = undefined;
    this.#hasPassed = false;
    if (candidate === undefined || this.#isClosed) return;
    this.#leave(candidate);
    this.#options.fallback?.onProbe('failed');
    this.#armProbe();
  }

  #pass(): void {
    this.#hasPassed = true;
    this.#options.fallback?.onProbe('passed');
    if (!this.#options.owner.isBusy()) this.#takeOver();
  }

  #takeOver(): void {
    const candidate = this.#candidate;
    if (candidate === undefined || this.#isClosed) return;
    this.#candidate = undefined;
    this.#hasPassed = false;
    this.#options.fallback?.record.clear();
    this.#fallbackReason = undefined;
    this.#replaceBy(candidate);
    this.#options.fallback?.onChange(undefined);
    this.#options.owner.ready();
  }
}
