/** A worker process of the simulation: a life, a pipe in each direction, and the ways in which both go wrong. */
import type {
  ControlReply,
  ControlRequest,
  WorkerListener,
  WorkerProcess,
} from '../../pipeline/worker_process.ts';
import type { Dice } from './dice.ts';
import type { Faults } from './faults.ts';
import type { LedgerEntry, ProcessLedger, Role } from './process_ledger.ts';
import type { Accuse } from './scripted_audio.ts';
import type { SimClock } from './sim_clock.ts';
import type { Trace } from './trace.ts';

export interface ProcessContext {
  readonly clock: SimClock;
  readonly faults: Faults;
  readonly ledger: ProcessLedger;
  readonly trace: Trace;
  readonly dice: Dice;
  readonly accuse: Accuse;
  /** Whether messages are copied between processes; costly, and what is said must not depend on it. */
  readonly copiesMessages: boolean;
  /**
   * True the first time it is asked. A worker that hangs is charged to what it worked on, and to what else it held; who is
   * charged twice is poison, which is not for everybody to hear.
   */
  readonly mayHangOnAudio: () => boolean;
  /** An inference worker ended on these utterances. */
  readonly noteJobDeath: (utterances: readonly string[]) => void;
}

type Phase = 'starting' | 'ready' | 'hung' | 'stuck' | 'dead';

const RSS_START_BYTES = 150 * 1_024 * 1_024;
const RSS_LEAK_BYTES = 100 * 1_024 * 1_024;
/** A process that SIGKILL could not end gets out of its driver after this. */
const STUCK_MS = 20_000;
/** What it said last, for a launcher that lets the dead speak. */
const REMEMBERED_COUNT = 6;

export abstract class SimProcess<
  Request extends object,
  Reply extends { readonly type: string },
> implements WorkerProcess<Request> {
  readonly pid: number;
  protected readonly context: ProcessContext;
  readonly #listener: WorkerListener<Reply>;
  readonly #entry: LedgerEntry;
  readonly #said: (Reply | ControlReply)[] = [];
  #phase: Phase = 'starting';
  #lastInAtMs = 0;
  #lastOutAtMs = 0;
  #rssBytes = RSS_START_BYTES;
  #hasLostPipe = false;

  constructor(role: Role, context: ProcessContext, listener: WorkerListener<Reply>) {
    this.context = context;
    this.#listener = listener;
    const { pid, entry } = context.ledger.open(role);
    this.pid = pid;
    this.#entry = entry;
    context.trace.note(`process ${pid} starts (${role})`);
    this.#start();
  }

  get isAlive(): boolean {
    return this.#phase !== 'dead';
  }

  /** True when it works as it should. */
  get isHealthy(): boolean {
    return this.#phase === 'ready';
  }

  get isWaitingToStart(): boolean {
    return this.#phase === 'starting' && this.#entry.isFaulty;
  }

  send(message: Request | ControlRequest): void {
    if (!this.isAlive) return;
    const { clock, dice } = this.context;
    const copy = this.context.copiesMessages ? structuredClone(message) : message;
    this.#lastInAtMs = Math.max(this.#lastInAtMs, clock.nowMs() + dice.magnitude(0.05, 3));
    if ((message as { type: string }).type === 'stop') this.#entry.wasStopped = true;
    clock.at(this.#lastInAtMs, 'outside', () => {
      if (this.#phase === 'ready' || this.#phase === 'starting') this.#read(copy);
    });
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    const { ledger, faults, clock, trace } = this.context;
    trace.note(`process ${this.pid} gets ${signal}`);
    if (signal === 'SIGKILL') ledger.noteKill(this.pid);
    if (!this.isAlive || this.#phase === 'stuck') return;
    if (signal === 'SIGTERM' && this.#phase === 'hung') return;
    if (faults.fires('unkillable')) {
      trace.note(`process ${this.pid} is stuck`);
      this.#phase = 'stuck';
      clock.outside(STUCK_MS, () => {
        for (const message of this.#said) this.#deliver(message);
        this.die({ signal });
      });
      return;
    }
    this.die({ signal });
  }

  /** Nothing: what the system knows of a process has tests of its own. */
  activity(): undefined {
    return undefined;
  }

  /** Ends it. What it said and the gateway has not read yet is lost with `losesPipe`. */
  die(end: {
    readonly code?: number;
    readonly signal?: 'SIGTERM' | 'SIGKILL' | 'SIGSEGV';
    readonly losesPipe?: boolean;
  }): void {
    if (!this.isAlive) return;
    const { clock, trace, faults, dice } = this.context;
    const { code = null, signal = null } = end;
    trace.note(
      `process ${this.pid} dies of ${signal ?? String(code)}${end.losesPipe === true ? ', mute' : ''}`,
    );
    this.#phase = 'dead';
    this.#hasLostPipe = end.losesPipe === true;
    this.#entry.endedBy = signal === null ? 'exit' : 'signal';
    this.#lastOutAtMs = Math.max(this.#lastOutAtMs, clock.nowMs() + dice.between(0.1, 5));
    clock.at(clock.nowMs() + dice.between(0, 0.1), 'read', () => {
      this.#listener.ended();
    });
    clock.at(this.#lastOutAtMs, 'read', () => {
      this.#entry.isKnown = true;
      this.#listener.exited({ code, signal, stderrTail: '' });
    });
    if (!faults.fires('haunt')) return;
    for (const message of this.#said) {
      clock.at(this.#lastOutAtMs + dice.magnitude(1, 3_000), 'read', () => {
        trace.note(`process ${this.pid} speaks although it is dead`);
        this.#listener.message(message);
      });
    }
  }

  /** Something the process does with a message that is its own. */
  protected abstract work(request: Request): void;

  /** It reads nothing and says nothing any more. */
  protected hang(): void {
    if (!this.isAlive) return;
    this.context.trace.note(`process ${this.pid} hangs`);
    this.#phase = 'hung';
    this.#entry.isFaulty = true;
  }

  /** It may be killed for what it does. */
  protected confess(): void {
    this.#entry.isFaulty = true;
  }

  protected say(message: Reply | ControlReply): void {
    if (this.#phase !== 'starting' && this.#phase !== 'ready') return;
    this.#said.push(message);
    // What it said first was that it is ready; that stays.
    if (this.#said.length > REMEMBERED_COUNT) this.#said.splice(1, 1);
    this.#deliver(message);
  }

  #start(): void {
    const { clock, faults, dice } = this.context;
    if (faults.fires('startHang')) {
      this.#entry.isFaulty = true;
      return;
    }
    const startMs = faults.fires('startSlow') ? dice.between(2_000, 15_000) : dice.between(20, 600);
    const fails = faults.fires('startFailure');
    clock.outside(startMs, () => {
      if (this.#phase !== 'starting') return;
      if (fails) {
        this.die({ code: 1 });
        return;
      }
      this.#phase = 'ready';
      this.say({ type: 'ready', detail: 'simulated' });
    });
  }

  #read(message: Request | ControlRequest): void {
    const { type } = message as { readonly type: string };
    if (type === 'ping') {
      this.say({ type: 'pong', rssBytes: this.#rssBytes, cpuMs: 1 });
      return;
    }
    if (type === 'stop') {
      this.die({ code: 0 });
      return;
    }
    if (this.#phase === 'starting') {
      this.context.accuse('I6', `process ${this.pid} got work before it was ready`);
      return;
    }
    if (this.context.faults.fires('leak')) this.#rssBytes += RSS_LEAK_BYTES;
    this.work(message as Request);
  }

  /** On its way through the pipe, in order. */
  #deliver(message: Reply | ControlReply): void {
    const { clock, dice } = this.context;
    const copy = this.context.copiesMessages ? structuredClone(message) : message;
    this.#lastOutAtMs = Math.max(this.#lastOutAtMs, clock.nowMs() + dice.magnitude(0.05, 3));
    clock.at(this.#lastOutAtMs, 'read', () => {
      if (this.#hasLostPipe) return;
      if (copy.type === 'ready') this.#entry.wasReady = true;
      this.#listener.message(copy);
    });
  }
}
