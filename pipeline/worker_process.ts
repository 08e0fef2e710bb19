/** Child processes as the supervisor sees them: one union for what they say, one interface for how they are run. */
import { fork, type ChildProcess } from 'node:child_process';
import { killChild } from './child_kill.ts';
import { systemClock } from './clock.ts';
import { LAST_WORDS_MAX_MS, STDERR_TAIL_MAX_BYTES } from './limits.ts';
import { LineReader } from './line_reader.ts';
import { activityOf, type ProcessActivity } from './process_activity.ts';

/** Messages that every worker understands beside its own. */
export type ControlRequest = { readonly type: 'ping' } | { readonly type: 'stop' };
/** Messages that every worker sends beside its own: `ready` exactly once, `pong` for each `ping`. */
export type ControlReply =
  | {
      readonly type: 'ready';
      readonly detail: string;
      /** Why the process is slower than it could be, if it is. */
      readonly warning?: string | undefined;
    }
  | {
      readonly type: 'pong';
      readonly rssBytes: number;
      /** Processor time of the process so far. */
      readonly cpuMs: number;
    };

/** How a process ended: an exit status or the signal that killed it, and the last it wrote to stderr. */
export interface WorkerExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderrTail: string;
}

/** One running process. `send` and `kill` do nothing once it has ended. */
export interface WorkerProcess<Request> {
  readonly pid: number;
  send(message: Request | ControlRequest): void;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** What the system says of it; undefined where it says nothing. */
  activity(): ProcessActivity | undefined;
}

/** What a process tells its owner, never before the launcher has returned. `exited` comes exactly once and last. */
export interface WorkerListener<Reply> {
  message(message: Reply | ControlReply): void;
  /** It has ended, and what it left in its pipes is being read: nothing can be given to it any more. */
  ended(): void;
  exited(exit: WorkerExit): void;
}

/** Starts processes of one kind: real ones, or a test's. */
export type WorkerLauncher<Request, Reply> = (listener: WorkerListener<Reply>) => WorkerProcess<Request>;

/**
 * A launcher of Node processes that run `modulePath` with the structured-clone IPC channel.
 * What they write to stdout is taken as if it were stderr, so that nothing but the gateway writes to stdout; the end of it is kept.
 */
export function forkLauncher<Request, Reply>(
  modulePath: string,
  options: {
    readonly args: readonly string[];
    readonly execArgv?: readonly string[];
    /** Beside our own. */
    readonly env?: Readonly<Record<string, string>>;
    /** Told of each line that they write. */
    readonly onLine?: (line: string, pid: number) => void;
  },
): WorkerLauncher<Request, Reply> {
  return (listener) => {
    let child: ChildProcess;
    try {
      child = fork(modulePath, options.args, {
        serialization: 'advanced',
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
        env: { ...process.env, ...options.env },
        execArgv: [...(options.execArgv ?? [])],
      });
    } catch (error) {
      // Without memory for a process (ENOMEM) `fork` throws; with too many it emits. Both are a start that failed.
      return stillborn(listener, error);
    }
    const tail = new TextTail(STDERR_TAIL_MAX_BYTES);
    for (const stream of [child.stdout, child.stderr]) {
      const lines = new LineReader((line) => {
        options.onLine?.(line, child.pid ?? 0);
      });
      stream?.on('data', (bytes: Buffer) => {
        tail.push(bytes);
        lines.push(bytes);
      });
      stream?.once('close', () => {
        lines.end();
      });
    }
    let ended = false;
    const end = (code: number | null, signal: string | null): void => {
      if (ended) return;
      ended = true;
      listener.exited({ code, signal, stderrTail: tail.text() });
    };
    child.on('message', (message) => {
      if (!ended) listener.message(message as Reply | ControlReply);
    });
    // `close` follows when its pipes have been read to the end: its last words and results count. A pipe that a
    // grandchild holds open must not delay it for ever.
    child.once('exit', (code, signal) => {
      if (!ended) listener.ended();
      const cancel = systemClock.after(LAST_WORDS_MAX_MS, () => {
        end(code, signal);
      });
      child.once('close', () => {
        cancel();
        end(code, signal);
      });
    });
    // A failed spawn has no exit; a failed send or kill means that the exit is about to come.
    child.on('error', (error) => {
      if (child.pid !== undefined) return;
      tail.push(Buffer.from(error.message));
      end(null, null);
    });
    return {
      pid: child.pid ?? 0,
      send(message) {
        if (!ended && child.connected) child.send(message as object, ignoreClosedChannel);
      },
      kill(signal) {
        if (!ended) killChild(child, signal);
      },
      activity: () => (child.pid === undefined ? undefined : activityOf(child.pid)),
    };
  };
}

/** A process that could not even be made. */
function stillborn<Request>(
  listener: { readonly exited: (exit: WorkerExit) => void },
  error: unknown,
): WorkerProcess<Request> {
  setImmediate(() => {
    listener.exited({ code: null, signal: null, stderrTail: String(error) });
  });
  return { pid: 0, send: () => undefined, kill: () => undefined, activity: () => undefined };
}

/** The channel closes a moment before `exit` arrives; the exit settles everything that was on its way. */
function ignoreClosedChannel(): void {
  // Nothing to do: see above.
}

/** Keeps the last bytes of a stream. */
class TextTail {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
    while (this.#bytes - (this.#parts[0]?.length ?? 0) >= this.#maxBytes) {
      this.#bytes -= this.#parts.shift()?.length ?? 0;
    }
  }

  text(): string {
    return Buffer.concat(this.#parts).subarray(-this.#maxBytes).toString('utf8');
  }
}
