/** Worker processes that a test acts out: it says what they answer, when they end, and when they are silent. */
import assert from 'node:assert/strict';
import type { ProcessActivity } from '../../pipeline/process_activity.ts';
import type {
  ControlReply,
  ControlRequest,
  WorkerExit,
  WorkerLauncher,
  WorkerListener,
  WorkerProcess,
} from '../../pipeline/worker_process.ts';

/** What a signal does to a fake process: end it, or nothing (a process that ignores or cannot act on it). */
type SignalEffect = 'dies' | 'survives';

/** One fake process. Like a real one it speaks copies, hears nothing after its end, and exits exactly once. */
export class FakeProcess<Request, Reply> implements WorkerProcess<Request> {
  readonly pid: number;
  /** Everything that was sent to it, in order, while it lived. */
  readonly received: (Request | ControlRequest)[] = [];
  readonly signals: ('SIGTERM' | 'SIGKILL')[] = [];
  onSigterm: SignalEffect = 'dies';
  onSigkill: SignalEffect = 'dies';
  /** What the system says of it. */
  fakeActivity: ProcessActivity | undefined;
  /** Called with a copy of each message. */
  onMessage: (message: Request | ControlRequest) => void = () => undefined;
  readonly #listener: WorkerListener<Reply>;
  #hasExited = false;

  constructor(pid: number, listener: WorkerListener<Reply>) {
    this.pid = pid;
    this.#listener = listener;
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  send(message: Request | ControlRequest): void {
    if (this.#hasExited) return;
    const copy = structuredClone(message);
    this.received.push(copy);
    this.onMessage(copy);
  }

  /** A killed process exits a moment later, never inside the call. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#hasExited) return;
    this.signals.push(signal);
    const effect = signal === 'SIGTERM' ? this.onSigterm : this.onSigkill;
    if (effect === 'survives') return;
    queueMicrotask(() => {
      this.end({ signal });
    });
  }

  activity(): ProcessActivity | undefined {
    return this.fakeActivity;
  }

  ready(): void {
    this.reply({ type: 'ready', detail: 'fake' });
  }

  pong(rssBytes = 1, cpuMs = 1): void {
    this.reply({ type: 'pong', rssBytes, cpuMs });
  }

  reply(message: Reply | ControlReply): void {
    if (!this.#hasExited) this.#listener.message(structuredClone(message));
  }

  /** Says something although it is dead, as a broken launcher might let it. */
  haunt(message: Reply | ControlReply): void {
    this.#listener.message(structuredClone(message));
  }

  /** It has ended, and its pipes have not been read to the end: `end` follows. */
  leave(): void {
    this.#listener.ended();
  }

  /** Ends it; a second end does nothing. */
  end(exit: Partial<WorkerExit>): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    this.#listener.ended();
    this.#listener.exited({ code: null, signal: null, stderrTail: '', ...exit });
  }

  /** How many messages of this type it was sent. */
  countOf(type: string): number {
    return this.received.filter((message) => (message as { type: string }).type === type).length;
  }
}

/** Starts fake processes and keeps them, the latest last. */
export class FakeLauncher<Request, Reply> {
  readonly processes: FakeProcess<Request, Reply>[] = [];
  /** Called with each process before it can be talked to: the place to set what it does. */
  onLaunch: (process: FakeProcess<Request, Reply>) => void = () => undefined;

  readonly launch: WorkerLauncher<Request, Reply> = (listener) => {
    const process = new FakeProcess<Request, Reply>(100 + this.processes.length, listener);
    this.processes.push(process);
    this.onLaunch(process);
    return process;
  };

  /** The process started last. */
  get last(): FakeProcess<Request, Reply> {
    return this.at(this.processes.length - 1);
  }

  at(index: number): FakeProcess<Request, Reply> {
    const process = this.processes[index];
    assert(process !== undefined, `process ${index} was started`);
    return process;
  }

  get liveCount(): number {
    return this.processes.filter((process) => !process.hasExited).length;
  }
}

/** Makes a process ready a moment after its launch, answer pings and end when it is asked to: a healthy worker. */
export function actHealthy<Request, Reply>(
  process: FakeProcess<Request, Reply>,
  answer: (message: Request) => void = () => undefined,
): void {
  queueMicrotask(() => {
    process.ready();
  });
  process.onMessage = (message) => {
    const { type } = message as { readonly type: string };
    if (type === 'ping') {
      queueMicrotask(() => {
        process.pong();
      });
    } else if (type === 'stop') {
      queueMicrotask(() => {
        process.end({ code: 0 });
      });
    } else {
      answer(message as Request);
    }
  };
}
