/** Commands that a signal ends early. */

/** Exit status of a command that was interrupted, as shells have it: 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;

/** Does `work` with a signal that SIGINT and SIGTERM abort; it is 130 then, however the work takes it. */
export async function withInterrupt(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  const interrupt = (): void => {
    controller.abort();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    const status = await work(controller.signal);
    return controller.signal.aborted ? EXIT_INTERRUPTED : status;
  } catch (error) {
    if (controller.signal.aborted) return EXIT_INTERRUPTED;
    throw error;
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}
