/**
 * Finals that wait for a slot. The turn is theirs whose deadline is earliest, among equals theirs who came first. One
 * whose utterance has cost workers lets those go first that are due soon after it, so that the next death falls on
 * another one if it is not to blame.
 */
import type { FinalRequest } from './job_requests.ts';
import { JOB_DEATH_SETBACK_MS } from './limits.ts';
import type { Strikes } from './strikes.ts';

export interface QueuedFinal {
  readonly request: FinalRequest;
  /** When it was queued for its present try. */
  readonly queuedAtMs: number;
  readonly strikes: Strikes;
}

export class FinalQueue {
  /** In the order they were added. */
  readonly #finals: QueuedFinal[] = [];

  get count(): number {
    return this.#finals.length;
  }

  /**
   * Since when one of them is late for want of slots; Infinity if there is none. Of its wait for a try, what one death
   * may cost it is not the load's; while it waits for another job of its utterance it is not late.
   */
  get lateSinceMs(): number {
    return this.#finals.reduce((sinceMs, { queuedAtMs, strikes }) => {
      if (!strikes.allowsFinal) return sinceMs;
      const setbackMs = strikes.deathCount > 0 ? JOB_DEATH_SETBACK_MS : 0;
      return Math.min(sinceMs, queuedAtMs + setbackMs);
    }, Infinity);
  }

  add(final: QueuedFinal): void {
    this.#finals.push(final);
  }

  /** Takes out the first that may have its turn. Its place may have changed since it was added. */
  take(mayRun: (final: QueuedFinal) => boolean): QueuedFinal | undefined {
    let first: QueuedFinal | undefined;
    for (const final of this.#finals)
      if (mayRun(final) && (first === undefined || turnAtMs(final) < turnAtMs(first))) first = final;
    if (first !== undefined) this.#remove(first);
    return first;
  }

  /** Takes out those that are condemned, also while they waited: they need no turn. */
  takePoison(): QueuedFinal[] {
    const poison = this.#finals.filter(({ strikes }) => strikes.isPoison);
    for (const final of poison) this.#remove(final);
    return poison;
  }

  /** Takes out all of them. */
  clear(): QueuedFinal[] {
    return this.#finals.splice(0);
  }

  #remove(final: QueuedFinal): void {
    this.#finals.splice(this.#finals.indexOf(final), 1);
  }
}

function turnAtMs({ request, strikes }: QueuedFinal): number {
  return request.deadlineAtMs + strikes.deathCount * JOB_DEATH_SETBACK_MS;
}
