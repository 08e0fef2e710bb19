/** What the system says of another process: whether it was given the chance to do what we wait for. */
import { readFileSync } from 'node:fs';

/** At one moment. */
export interface ProcessActivity {
  /** It was stopped (SIGSTOP, a debugger, a frozen container): whatever it does not do is not its fault. */
  readonly isStopped: boolean;
  /** It computes, or waits for a processor to compute on. */
  readonly isRunnable: boolean;
  /** Processor time it has had so far, of all its threads. */
  readonly cpuMs: number;
}

/** Linux counts processor time in hundredths of a second, whatever the kernel's own clock (proc(5), sysconf(3)). */
const MS_PER_TICK = 10;
/** Places in /proc/PID/stat behind the name, which may hold anything and ends at the last parenthesis. */
const [STATE, USER_TICKS, SYSTEM_TICKS] = [0, 11, 12] as const;

/** Undefined where the system does not say (other systems than Linux), and for a process that has gone. */
export function activityOf(pid: number): ProcessActivity | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Reads the one line of /proc/PID/stat. */
export function parseStat(line: string): ProcessActivity {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const state = fields[STATE] ?? '';
  return {
    isStopped: state === 'T' || state === 't',
    isRunnable: state === 'R',
    cpuMs: MS_PER_TICK * (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])),
  };
}
