/** Ending child processes. */
import type { ChildProcess } from 'node:child_process';

/**
 * Sends a signal to a child. One that could not be started has no process yet an open handle for a moment, and Node then
 * asks the system to signal process 0: every process of our own group, and whoever started us.
 */
export function killChild(child: Pick<ChildProcess, 'pid' | 'kill'>, signal: NodeJS.Signals): void {
  if (child.pid !== undefined) child.kill(signal);
}
