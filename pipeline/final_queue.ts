/**
 * Finals that wait for a slot: those with the earliest deadlines first, equals in the order they came. One that has
 * cost workers stands behind others that are due soon after it: if it is to blame they do not wait for it, and if it
 * is not, the next death falls on another one.
 */
import type { FinalRequest } from './job_requests.ts';
import { JOB_DEATH_SETBACK_MS } from './limits.ts';
import type { Strikes } from './strikes.ts';

export interface QueuedFinal {
  readonly request: FinalRequest;
  readonly queuedAtMs: number;
  readonly strikes: Strikes;
}

interface Place {
  readonly final: QueuedFinal;
  readonly turnAtMs: number;
}

export class FinalQueue {
  readonly #places: Place[] = [];

  get count(): number {
    return this.#places.length;
  }

  /** Since when the one that has waited longest waits; Infinity if none does. */
  get oldestQueuedAtMs(): number {
    return this.#places.reduce((oldestAtMs, { final }) => Math.min(oldestAtMs, final.queuedAtMs), Infinity);
  }

  add(final: QueuedFinal): void {
    const { request, strikes } = final;
    const turnAtMs = request.deadlineAtMs + strikes.deathCount * JOB_DEATH_SETBACK_MS;
    const index = this.#places.findIndex((other) => other.turnAtMs > turnAtMs);
    this.#places.splice(index === -1 ? this.#places.length : index, 0, { final, turnAtMs });
  }

  /** Takes out the first that may have its turn. */
  take(mayRun: (final: QueuedFinal) => boolean): QueuedFinal | undefined {
    const index = this.#places.findIndex(({ final }) => mayRun(final));
    return index === -1 ? undefined : this.#places.splice(index, 1)[0]?.final;
  }

  /** Takes out all of them. */
  clear(): QueuedFinal[] {
    return this.#places.splice(0).map(({ final }) => final);
  }
}
