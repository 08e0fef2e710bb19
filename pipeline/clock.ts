/** Cancels a timer; calling it again, or after the timer fired, does nothing. */
export type Cancel = () => void;

/**
 * Time as the server sees it. Everything that waits takes a `Clock`, so that tests and the simulation own time.
 * `nowMs` is monotonic (never the wall clock) and has no fixed origin.
 */
export interface Clock {
  nowMs(): number;
  /** Calls `fire` once, `delayMs` from now. Never keeps the process alive by itself. */
  after(delayMs: number, fire: () => void): Cancel;
}

/** The process's monotonic clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};
