/** How a process ended, in words that an operator can act on. */
import { EXIT_CONCURRENCY, EXIT_CONFIG, EXIT_DEVICE, EXIT_ORPHANED } from '../../pipeline/errors.ts';
import { WORKER_START_MAX_MS } from '../../pipeline/limits.ts';
import type { DeathCause } from '../../pipeline/supervised_worker.ts';

/** What the system says of an end: a status, or the signal that killed the process; neither if it never started. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: string | null;
  /** The end of what it wrote to stderr; V8 says there that it ran out of memory. */
  readonly stderrTail?: string;
}

const SIGNALS: Readonly<Record<string, string>> = {
  SIGABRT: 'aborted itself: a native assertion failed, or abort() was called',
  SIGALRM: 'an alarm that nothing handled',
  SIGBUS: 'bus error: memory that is not backed, often a truncated mapped file or a full /dev/shm',
  SIGFPE: 'arithmetic fault, such as an integer division by zero',
  SIGHUP: 'its terminal or session was closed',
  SIGILL: 'illegal instruction: a binary built for another processor, or memory that was overwritten',
  SIGINT: 'interrupted from a terminal',
  SIGKILL: 'killed from outside: by an operator, the container runtime, or the system out of memory',
  SIGPIPE: 'wrote to a pipe that nobody reads',
  SIGQUIT: 'quit from a terminal',
  SIGSEGV: 'segmentation fault: native code touched memory that is not its own',
  SIGSYS: 'a system call that a sandbox forbids',
  SIGTERM: 'asked to end from outside',
  SIGTRAP: 'breakpoint trap: V8 or native code gave up on a failed check',
  SIGXCPU: 'used up its allowance of processor time',
  SIGXFSZ: 'a file grew beyond its allowed size',
};

/** Node's own statuses (https://nodejs.org/api/process.html#exit-codes), and ours. */
const STATUSES: Readonly<Record<number, string>> = {
  0: 'ended without an error',
  1: 'ended by an uncaught exception, an unhandled rejection, or its own exit(1)',
  3: 'Node could not parse its own JavaScript',
  4: 'Node could not evaluate its own JavaScript',
  5: 'fatal error in V8',
  6: "Node's handler of uncaught exceptions is not a function",
  7: "Node's handler of uncaught exceptions threw",
  9: 'Node was given an option it does not know, or one that is not allowed',
  10: 'Node could not start its JavaScript',
  12: 'the port of the inspector is taken or not allowed',
  13: 'a top-level await never settled',
  14: 'a snapshot could not be built',
  [EXIT_CONFIG]: 'its configuration or its weights are wrong; it is not started again',
  [EXIT_CONCURRENCY]: 'it was handed a second job while one was running',
  [EXIT_DEVICE]: 'its device was lost, or had no memory left',
  [EXIT_ORPHANED]: 'its parent had gone',
  126: 'the program could not be executed',
  127: 'the program was not found',
};

/** What Windows reports as the status of a process that crashed (NTSTATUS). */
const NT_STATUSES: Readonly<Record<number, string>> = {
  0x40010004: 'ended by a debugger',
  0x80000003: 'breakpoint trap: V8 or native code gave up on a failed check',
  0xc0000005: 'access violation: native code touched memory that is not its own',
  0xc0000006: 'in-page error: a file or a swapped page could not be read',
  0xc0000017: 'out of memory',
  0xc000001d: 'illegal instruction: a binary built for another processor, or memory that was overwritten',
  0xc0000025: 'an exception that cannot be continued',
  0xc0000094: 'integer division by zero',
  0xc00000fd: 'stack overflow',
  0xc0000135: 'a DLL was not found',
  0xc0000139: 'a DLL lacks an entry point that is needed',
  0xc000013a: 'interrupted from a console (Ctrl+C)',
  0xc0000142: 'a DLL could not be initialised',
  0xc0000374: 'heap corruption: native code wrote beyond its memory',
  0xc0000409: 'stack buffer overrun or fail-fast: native code ended itself on a failed check',
  0xc0000420: 'a native assertion failed',
  0xe0434352: 'an exception of .NET that nothing handled',
  0xe06d7363: 'an exception of C++ that nothing handled',
};

/** A status at or above this is 128 + signal, as shells and container runtimes hand it on. */
const SHELL_SIGNAL_BASE = 128;
const SHELL_SIGNALS: Readonly<Record<number, string>> = {
  ...{ 1: 'SIGHUP', 2: 'SIGINT', 3: 'SIGQUIT', 4: 'SIGILL', 5: 'SIGTRAP', 6: 'SIGABRT', 7: 'SIGBUS' },
  ...{ 8: 'SIGFPE', 9: 'SIGKILL', 11: 'SIGSEGV', 13: 'SIGPIPE', 14: 'SIGALRM', 15: 'SIGTERM' },
  ...{ 24: 'SIGXCPU', 25: 'SIGXFSZ', 31: 'SIGSYS' },
};

const HEAP_LIMIT = /JavaScript heap out of memory|Reached heap limit|invalid table size/i;
const OUT_OF_HEAP = 'V8 ran out of heap (--max-old-space-size)';

/** An end of which we know whether we had it, and how long the process lived. */
export interface WorkerEnd extends ProcessEnd {
  readonly kind: DeathCause;
  readonly uptimeMs: number;
}

/** Why we end workers. */
const VERDICTS: Readonly<Partial<Record<DeathCause, string>>> = {
  hang: 'it did not answer in time',
  deadline: 'its job outlived its deadline',
  start: 'it was not ready in time',
  memory: 'it had grown too large',
};

/** As `describeExit`; what we ended ourselves is not put down to anybody else. */
export function describeDeath(end: WorkerEnd): string {
  const { kind, signal, code, uptimeMs } = end;
  const verdict = VERDICTS[kind];
  // Before its time to start is over, nobody but others ends a worker that starts.
  const isOurs = verdict !== undefined && (kind !== 'start' || uptimeMs >= WORKER_START_MAX_MS);
  const isAsWeDoIt = signal === 'SIGKILL' || signal === 'SIGTERM' || (signal === null && code === 0);
  if (!isOurs || !isAsWeDoIt) return describeExit(end);
  return `${signal ?? 'exit 0'}: ended by the server: ${verdict}`;
}

/** The cause of an end in words, with the raw figure: `SIGSEGV: segmentation fault …`. */
export function describeExit(end: ProcessEnd): string {
  const { code, signal, stderrTail = '' } = end;
  if (signal !== null) return describeSignal(signal, stderrTail);
  if (code === null) return 'it never started, or its end was not seen';
  const status = code >>> 0;
  const known = NT_STATUSES[status];
  if (known !== undefined) return `0x${hex(status)}: ${known}`;
  if (status >= 0xc0000000) return `0x${hex(status)}: an error of Windows (NTSTATUS)`;
  const own = STATUSES[code];
  if (own !== undefined) return `exit ${code}: ${own}`;
  const shellSignal = SHELL_SIGNALS[code - SHELL_SIGNAL_BASE];
  if (shellSignal !== undefined) return `exit ${code}: ${describeSignal(shellSignal, stderrTail)}`;
  return `exit ${code}: a status of its own`;
}

function describeSignal(signal: string, stderrTail: string): string {
  const isHeap = signal === 'SIGABRT' || signal === 'SIGTRAP' || signal === 'SIGILL';
  if (isHeap && HEAP_LIMIT.test(stderrTail)) return `${signal}: ${OUT_OF_HEAP}`;
  return `${signal}: ${SIGNALS[signal] ?? 'a signal that nothing handled'}`;
}

function hex(status: number): string {
  return status.toString(16).toUpperCase().padStart(8, '0');
}
