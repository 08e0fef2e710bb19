/** A clock whose time passes only when a test says so, and which lets promises settle on the way. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Cancel, Clock } from '../../pipeline/clock.ts';

interface Timer {
  readonly dueAtMs: number;
  readonly fire: () => void;
}

/** Lets every promise that can settle now do so. */
export async function settle(): Promise<void> {
  await turn();
}

export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>();
  /** Not 0, so that nothing comes to rely on an origin. */
  #nowMs = 1_000_000;

  /** Timers that are armed; 0 when everything that had a life has ended. */
  get timerCount(): number {
    return this.#timers.size;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fire: () => void): Cancel {
    const timer = { dueAtMs: this.#nowMs + Math.max(0, delayMs), fire };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Lets `ms` pass: fires what becomes due, in order (of equals the one armed first), promises settling in between. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    while (this.#fireNext(untilMs)) await settle();
    this.#nowMs = untilMs;
  }

  /** The same within the call: no promise settles in between. */
  jump(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Time passes while we stand still: nothing fires until the next `advance`. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }

  #fireNext(untilMs: number): boolean {
    const next = this.#next(untilMs);
    if (next === undefined) return false;
    this.#timers.delete(next);
    // After a stall, timers fire late.
    this.#nowMs = Math.max(this.#nowMs, next.dueAtMs);
    next.fire();
    return true;
  }

  #next(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueAtMs <= untilMs && (next === undefined || timer.dueAtMs < next.dueAtMs)) next = timer;
    }
    return next;
  }
}
