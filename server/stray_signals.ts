/** Signals that are no request to this program. */

/**
 * Tools send these for purposes of their own; by default each ends the process, and SIGUSR1 opens Node's debugger to
 * everybody on this machine. Returns what undoes it.
 */
export function ignoreStraySignals(): () => void {
  const stray = ['SIGALRM', 'SIGUSR1', 'SIGUSR2'] as const;
  const ignore = (): void => undefined;
  for (const signal of stray) process.on(signal, ignore);
  return () => {
    for (const signal of stray) process.off(signal, ignore);
  };
}
