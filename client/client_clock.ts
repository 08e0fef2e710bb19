/** Cancels a timer; calling it again, or after the timer fired, does nothing. */
export type Cancel = () => void;

/** Time as the client sees it, so that tests own it. `nowMs` is monotonic and has no fixed origin. */
export interface ClientClock {
  nowMs(): number;
  /** Calls `fire` once, `delayMs` from now. In Node a timer that waits keeps the process alive. */
  after(delayMs: number, fire: () => void): Cancel;
}

/** The clock of the browser or of Node. */
export const platformClock: ClientClock = {
  nowMs: () => performance.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};
