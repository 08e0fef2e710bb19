/** Asking the owner of a transport for an answer that may throw, take its time, or never come. */
import type { Clock } from '../../pipeline/clock.ts';

interface Consultation<T, R> {
  readonly ask: () => T | Promise<T>;
  /** Makes the answer fit to be sent; what it throws counts as thrown by `ask`. */
  readonly check: (answer: T) => R;
  /** Stands in for an answer that was thrown or came too late. */
  readonly fallback: R;
  readonly fault: (error: unknown) => void;
  readonly clock: Clock;
  readonly maxMs: number;
}

/**
 * Calls `deliver` exactly once: at once if the answer is, so that nothing is reordered, else when it comes.
 * Never throws unless `deliver` does.
 */
export function consult<T, R>(consultation: Consultation<T, R>, deliver: (answer: R) => void): void {
  const { ask, check, fallback, fault, clock, maxMs } = consultation;
  let answer: R | Promise<R>;
  try {
    const given = ask();
    answer = given instanceof Promise ? given.then(check) : check(given);
  } catch (error) {
    fault(error);
    answer = fallback;
  }
  if (!(answer instanceof Promise)) {
    deliver(answer);
    return;
  }
  const waited = new Promise<R>((_resolve, reject) => {
    const cancel = clock.after(maxMs, () => {
      reject(new Error(`no answer to a request within ${maxMs} ms`));
    });
    void answer.finally(cancel).catch(() => undefined); // The race below has its rejection.
  });
  Promise.race([answer, waited])
    .catch((error: unknown) => {
      fault(error);
      return fallback;
    })
    .then(deliver)
    .catch(fault);
}
