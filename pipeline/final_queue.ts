/**
 * Finals that wait for a slot. The turn is theirs whose deadline is earliest, among equals theirs who came first. One
 * whose utterance has cost workers lets those go first that are due soon after it: if it is to blame they do not wait
 * for it, and if it is not, the next death falls on another one.
 */
import type { FinalRequest } from './job_requests.ts';
import { JOB_DEATH_SETBACK_MS } from './limits.ts';
import type { Strikes } from './strikes.ts';

export interface QueuedFinal {
  readonly request: FinalRequest;
  readonly queuedAtMs: number;
  readonly strikes: Strikes;
}

export class FinalQueue {
  /** In the order they came. */
  readonly #finals: QueuedFinal[] = [];

  get count(): number {
    return this.#finals.length;
  }

  /** Since when the one that is latest waits for nothing but a slot, which may be in the future; Infinity if none waits. */
  get oldestWaitAtMs(): number {
    return this.#finals.reduce(
      (oldestAtMs, final) => Math.min(oldestAtMs, final.queuedAtMs + setbackMs(final)),
      Infinity,
    );
  }

  add(final: QueuedFinal): void {
    this.#finals.push(final);
  }

  /** Takes out the first that may have its turn. A job of its utterance may have cost a worker since it was added. */
  take(mayRun: (final: QueuedFinal) => boolean): QueuedFinal | undefined {
    let first: QueuedFinal | undefined;
    for (const final of this.#finals)
      if (mayRun(final) && (first === undefined || turnAtMs(final) < turnAtMs(first))) first = final;
    if (first !== undefined) this.#finals.splice(this.#finals.indexOf(first), 1);
    return first;
  }

  /** Takes out all of them. */
  clear(): QueuedFinal[] {
    return this.#finals.splice(0);
  }
}

function turnAtMs(final: QueuedFinal): number {
  return final.request.deadlineAtMs + setbackMs(final);
}

function setbackMs({ strikes }: QueuedFinal): number {
  return strikes.deathCount * JOB_DEATH_SETBACK_MS;
}
