/**
 * One worker slot: a process that is started, watched, killed when it hangs and started again when it dies.
 * Each process is one generation; whatever an earlier generation still says is not heard.
 */
import type { Cancel, Clock } from './clock.ts';
import { EXIT_CONFIG } from './errors.ts';
import {
  HEARTBEAT_INTERVAL_MS,
  HEARTBEAT_MAX_MS,
  LATE_MESSAGE_GRACE_MS,
  STOP_ASK_MAX_MS,
  STOP_KILL_MAX_MS,
  STOP_TERM_MAX_MS,
  WORKER_START_MAX_MS,
} from './limits.ts';
import {
  decideRestart,
  NO_DEATHS,
  withDeath,
  type DeathHistory,
  type RestartDecision,
} from './restart_policy.ts';
import type { ProcessActivity } from './process_activity.ts';
import type { ControlReply, WorkerExit, WorkerLauncher, WorkerProcess } from './worker_process.ts';

export type WorkerState = 'starting' | 'ready' | 'stopping' | 'backoff' | 'parked' | 'failed' | 'closed';
export type DeathCause = 'exit' | 'signal' | 'hang' | 'deadline' | 'start' | 'memory';

/** One death, as told to the owner and written into its crash report. */
export interface WorkerDeath {
  readonly pid: number;
  /** 1 for the first process of the slot. */
  readonly generation: number;
  readonly cause: DeathCause;
  readonly exit: WorkerExit;
  readonly uptimeMs: number;
  readonly rssBytes: number;
  /** It had been stopped from outside when we killed it for its silence. */
  readonly wasStopped: boolean;
}

/** Killed or stopped by an operator, or killed by the system for want of memory: audio is bounded and does not do that. */
export function isFromOutside({ cause, exit, wasStopped }: WorkerDeath): boolean {
  return wasStopped || (cause === 'signal' && (exit.signal === 'SIGKILL' || exit.signal === 'SIGTERM'));
}

/** What the owner of a slot hears. Every `ready` is followed by exactly one `lost`, before the next `ready`. */
export interface WorkerOwner<Reply> {
  ready(): void;
  message(message: Reply): void;
  lost(death: WorkerDeath): void;
  /** A death before `ready`; the owner had nothing on this process. */
  startFailed(death: WorkerDeath): void;
  /** True while the process may be silent because it works on something that has a deadline of its own. */
  isBusy(): boolean;
  /**
   * True if it is known what ended a process that was ready, and that it was not the process: the slot starts again at
   * once, and neither this death nor a failed start right after it counts in its history. Asked before `lost`. Absent:
   * never.
   */
  excuses?(death: WorkerDeath): boolean;
}

/** A slot as `/workers` shows it. */
export interface WorkerStatus {
  readonly pid: number;
  readonly state: WorkerState;
  readonly restarts: number;
  readonly rssBytes: number;
  /** Processor time of all its processes so far, as far as they have told it. */
  readonly cpuMs: number;
  /** Why its process is slower than it could be; absent if it is not. */
  readonly warning?: string;
  /** What it runs on; absent where there is no choice. */
  readonly device?: string;
  /** Why that is not the configured one; absent if it is. */
  readonly fallback?: string;
}

interface Life<Request> {
  readonly process: WorkerProcess<Request>;
  readonly startedAtMs: number;
  heardAtMs: number;
  rssBytes: number;
  cpuMs: number;
  wasReady: boolean;
  warning: string | undefined;
  /** Why we are killing it; undefined while we are not. */
  killCause: DeathCause | undefined;
  wasStopped: boolean;
  hasEnded: boolean;
  /** Pings and pongs so far; a pong answers the ping of the same number. */
  pingCount: number;
  pongCount: number;
  /** Who waits for the answer to which ping. */
  readonly askers: { readonly pingCount: number; readonly answered: () => void }[];
  readonly cancels: Set<Cancel>;
}

export interface SupervisedWorkerOptions<Request, Reply> {
  readonly launch: WorkerLauncher<Request, Reply>;
  readonly owner: WorkerOwner<Reply>;
  readonly clock: Clock;
  /** Returns a number in [0, 1); for the jitter. */
  readonly random: () => number;
  /** A worker above this is stopped when it is idle and replaced. */
  readonly rssMaxBytes: number;
}

export class SupervisedWorker<Request extends object, Reply extends { readonly type: string }> {
  readonly #options: SupervisedWorkerOptions<Request, Reply>;
  #state: WorkerState = 'closed';
  #life: Life<Request> | undefined;
  #history: DeathHistory = NO_DEATHS;
  #startCount = 0;
  #cpuMs = 0;
  #wasExcused = false;
  /** A process of this slot has been ready. */
  #hasServed = false;
  #cancelRestart: Cancel | undefined;
  #closed: Promise<void> | undefined;
  #resolveClosed: (() => void) | undefined;

  constructor(options: SupervisedWorkerOptions<Request, Reply>) {
    this.#options = options;
  }

  get state(): WorkerState {
    return this.#state;
  }

  get status(): WorkerStatus {
    const warning = this.#life?.warning;
    return {
      pid: this.#life?.process.pid ?? 0,
      state: this.#state,
      restarts: Math.max(0, this.#startCount - 1),
      rssBytes: this.#life?.rssBytes ?? 0,
      cpuMs: this.#cpuMs,
      ...(warning === undefined ? {} : { warning }),
    };
  }

  start(): void {
    if (this.#state === 'closed' && this.#closed === undefined) this.#launch();
  }

  /** Sends to a ready worker; at any other time the message is dropped, for its process is gone or going. */
  send(message: Request): void {
    if (this.#state === 'ready') this.#life?.process.send(message);
  }

  /** Kills the process at once; its owner hears `lost` with this cause. Nothing is sent to it any more. */
  kill(cause: DeathCause): void {
    const life = this.#life;
    if (life === undefined || life.hasEnded) return;
    life.killCause ??= cause;
    life.wasStopped ||= life.process.activity()?.isStopped ?? false;
    this.#state = 'stopping';
    this.#killNow(life);
  }

  /** Calls `answered` when the process has shown that it is alive now; never, if it is not ready or dies first. */
  ask(answered: () => void): void {
    const life = this.#life;
    if (life === undefined || this.#state !== 'ready') return;
    this.#ping(life);
    life.askers.push({ pingCount: life.pingCount, answered });
  }

  /** What the system says of the process; undefined where it says nothing. */
  activity(): ProcessActivity | undefined {
    return this.#life?.process.activity();
  }

  /** The owner's work on the process has come to an end: if the process has grown too large, now is the time. */
  rest(): void {
    if (this.#life !== undefined) this.#recycleIfLarge(this.#life);
  }

  /** Ends the process (asked, then SIGTERM, then SIGKILL) and starts no other. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#resolveClosed = resolve;
      this.#cancelRestart?.();
      if (this.#life === undefined) this.#finishClose();
      else this.#stop(this.#life);
    });
    return this.#closed;
  }

  #launch(): void {
    const { clock, launch } = this.#options;
    this.#state = 'starting';
    this.#startCount++;
    const life: Life<Request> = {
      process: launch({
        message: (message) => {
          if (life === this.#life) this.#hear(life, message);
        },
        ended: () => {
          life.hasEnded = true;
          if (life === this.#life) this.#state = 'stopping';
        },
        exited: (exit) => {
          if (life === this.#life) this.#bury(life, exit);
        },
      }),
      startedAtMs: clock.nowMs(),
      heardAtMs: clock.nowMs(),
      rssBytes: 0,
      cpuMs: 0,
      wasReady: false,
      warning: undefined,
      killCause: undefined,
      wasStopped: false,
      hasEnded: false,
      pingCount: 0,
      pongCount: 0,
      askers: [],
      cancels: new Set(),
    };
    this.#life = life;
    this.#after(life, WORKER_START_MAX_MS, () => {
      this.#after(life, LATE_MESSAGE_GRACE_MS, () => {
        if (!life.wasReady) this.kill('start');
      });
    });
  }

  #hear(life: Life<Request>, message: Reply | ControlReply): void {
    life.heardAtMs = this.#options.clock.nowMs();
    if (isControl(message, 'ready')) {
      if (this.#state !== 'starting') return;
      life.wasReady = this.#hasServed = true;
      life.warning = message.warning;
      this.#state = 'ready';
      this.#watch(life);
      this.#options.owner.ready();
    } else if (isControl(message, 'pong')) {
      life.rssBytes = message.rssBytes;
      this.#cpuMs += message.cpuMs - life.cpuMs;
      life.cpuMs = message.cpuMs;
      life.pongCount++;
      while ((life.askers[0]?.pingCount ?? Infinity) <= life.pongCount) life.askers.shift()?.answered();
      this.#recycleIfLarge(life);
    } else {
      this.#options.owner.message(message);
    }
  }

  #ping(life: Life<Request>): void {
    life.pingCount++;
    life.process.send({ type: 'ping' });
  }

  #watch(life: Life<Request>): void {
    this.#ping(life);
    this.#after(life, HEARTBEAT_INTERVAL_MS, () => {
      if (this.#state !== 'ready') return;
      if (this.#isSilent(life)) this.#judgeSilence(life);
      this.#watch(life);
    });
  }

  #isSilent(life: Life<Request>): boolean {
    if (this.#options.owner.isBusy()) {
      // A native call blocks the worker's event loop; the job's own deadline guards it.
      life.heardAtMs = this.#options.clock.nowMs();
      return false;
    }
    return this.#options.clock.nowMs() - life.heardAtMs > HEARTBEAT_MAX_MS;
  }

  /** If it was we who stood still, its answers are waiting to be read: look again after they had a chance to be. */
  #judgeSilence(life: Life<Request>): void {
    this.#after(life, LATE_MESSAGE_GRACE_MS, () => {
      if (this.#state === 'ready' && this.#isSilent(life)) this.kill('hang');
    });
  }

  #recycleIfLarge(life: Life<Request>): void {
    if (life.rssBytes <= this.#options.rssMaxBytes || this.#state !== 'ready') return;
    if (this.#options.owner.isBusy()) return;
    life.killCause ??= 'memory';
    this.#stop(life);
  }

  #stop(life: Life<Request>): void {
    if (this.#state === 'stopping') return;
    this.#state = 'stopping';
    life.process.send({ type: 'stop' });
    this.#after(life, STOP_ASK_MAX_MS, () => {
      life.process.kill('SIGTERM');
      this.#after(life, STOP_TERM_MAX_MS, () => {
        this.#killNow(life);
      });
    });
  }

  #killNow(life: Life<Request>): void {
    life.process.kill('SIGKILL');
    this.#after(life, STOP_KILL_MAX_MS, () => {
      this.#bury(life, { code: null, signal: null, stderrTail: '' });
    });
  }

  #bury(life: Life<Request>, exit: WorkerExit): void {
    for (const cancel of life.cancels) cancel();
    const nowMs = this.#options.clock.nowMs();
    this.#life = undefined;
    const death: WorkerDeath = {
      pid: life.process.pid,
      generation: this.#startCount,
      cause: life.killCause ?? (life.wasReady ? causeOf(exit) : 'start'),
      exit,
      uptimeMs: nowMs - life.startedAtMs,
      rssBytes: life.rssBytes,
      wasStopped: life.wasStopped,
    };
    const isClosing = this.#closed !== undefined;
    if (!isClosing) this.#planRestart(death, life.wasReady);
    if (life.wasReady) this.#options.owner.lost(death);
    else if (!isClosing) this.#options.owner.startFailed(death);
    if (isClosing) this.#finishClose();
  }

  #planRestart(death: WorkerDeath, wasReady: boolean): void {
    // What has worked before was configured rightly: its files may come back.
    if (death.exit.code === EXIT_CONFIG && !this.#hasServed) {
      this.#state = 'failed';
      return;
    }
    const { state, delayMs } = this.#decideRestart(death, wasReady);
    this.#state = state;
    this.#cancelRestart = this.#options.clock.after(delayMs, () => {
      this.#launch();
    });
  }

  #decideRestart(death: WorkerDeath, wasReady: boolean): RestartDecision {
    const { clock, random, owner } = this.#options;
    const isExcused = wasReady ? owner.excuses?.(death) === true : this.#wasExcused;
    this.#wasExcused = wasReady && isExcused;
    if (isExcused) return { state: 'backoff', delayMs: 0 };
    this.#history = withDeath(this.#history, { atMs: clock.nowMs(), wasReady });
    return decideRestart(this.#history, random());
  }

  #finishClose(): void {
    this.#state = 'closed';
    this.#resolveClosed?.();
  }

  /** A timer that ends with the process it watches. */
  #after(life: Life<Request>, delayMs: number, fire: () => void): void {
    const cancel = this.#options.clock.after(delayMs, () => {
      life.cancels.delete(cancel);
      if (life === this.#life) fire();
    });
    life.cancels.add(cancel);
  }
}

function isControl<T extends ControlReply['type']>(
  message: { readonly type: string },
  type: T,
): message is Extract<ControlReply, { type: T }> {
  return message.type === type;
}

function causeOf(exit: WorkerExit): DeathCause {
  return exit.signal === null ? 'exit' : 'signal';
}
