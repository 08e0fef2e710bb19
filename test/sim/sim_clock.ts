/**
 * Time in the simulated world. The gateway is one event loop in it: its timers and the messages it reads wait while it
 * stands still, and then its timers fire before it reads, as in Node. Everything outside the gateway goes on meanwhile.
 */
import type { Cancel, Clock } from '../../pipeline/clock.ts';

/** Whose event it is: a timer of the gateway, something the gateway reads, or the world outside. */
export type Lane = 'timer' | 'read' | 'outside';

interface SimEvent {
  /** When it happens: `dueMs`, or later for the gateway's events while that stands still. */
  atMs: number;
  readonly dueMs: number;
  readonly order: number;
  readonly lane: Lane;
  readonly fire: () => void;
  isCancelled: boolean;
}

/** Not 0, so that nothing comes to rely on an origin. */
const ORIGIN_MS = 1_000_000;
/** Node rounds shorter timeouts up to this. */
const TIMER_MIN_MS = 1;
/** Events between two turns of the real event loop. */
const EVENTS_PER_TURN_COUNT = 64;

export class SimClock implements Clock {
  readonly #heap: SimEvent[] = [];
  #nowMs = ORIGIN_MS;
  #stalledUntilMs = 0;
  #order = 0;
  #timerCount = 0;
  #eventCount = 0;

  /** Timers of the gateway that are armed. */
  get timerCount(): number {
    return this.#timerCount;
  }

  /** Events that have fired. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** Since the world began. */
  get elapsedMs(): number {
    return this.#nowMs - ORIGIN_MS;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** A timer of the gateway. */
  after(delayMs: number, fire: () => void): Cancel {
    this.#timerCount++;
    const event = this.#push(this.#nowMs + Math.max(TIMER_MIN_MS, delayMs), 'timer', fire);
    return () => {
      if (event.isCancelled) return;
      event.isCancelled = true;
      this.#timerCount--;
    };
  }

  /** Something that happens at `atMs` (not before now) outside of the gateway, or that the gateway reads then. */
  at(atMs: number, lane: 'read' | 'outside', fire: () => void): void {
    this.#push(Math.max(atMs, this.#nowMs), lane, fire);
  }

  /** Something that happens outside of the gateway. */
  outside(delayMs: number, fire: () => void): void {
    this.at(this.#nowMs + delayMs, 'outside', fire);
  }

  /** The gateway stands still from now on for so long. */
  stall(ms: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.#nowMs + ms);
  }

  /** Fires events, promises settling after each, until `isOver` or nothing is left; `threw` gets what an event throws. */
  run(options: { readonly isOver: () => boolean; readonly threw: (error: unknown) => void }): Promise<void> {
    return new Promise((resolve) => {
      let isDone = false;
      const step = (): void => {
        if (isDone || options.isOver()) {
          isDone = true;
          return;
        }
        try {
          isDone = !this.#fireNext();
        } catch (error) {
          options.threw(error);
        }
      };
      const turn = (): void => {
        if (isDone) {
          resolve();
          return;
        }
        // Node settles all promises between two immediates.
        for (let i = 0; i < EVENTS_PER_TURN_COUNT; i++) setImmediate(step);
        setImmediate(turn);
      };
      turn();
    });
  }

  #fireNext(): boolean {
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      if (event.isCancelled) continue;
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      if (event.lane !== 'outside' && event.atMs < this.#stalledUntilMs) {
        event.atMs = this.#stalledUntilMs;
        this.#insert(event);
        continue;
      }
      if (event.lane === 'timer') {
        // From here on cancelling it does nothing.
        event.isCancelled = true;
        this.#timerCount--;
      }
      this.#eventCount++;
      event.fire();
      return true;
    }
    return false;
  }

  #push(atMs: number, lane: Lane, fire: () => void): SimEvent {
    const event = { atMs, dueMs: atMs, order: this.#order++, lane, fire, isCancelled: false };
    this.#insert(event);
    return event;
  }

  #insert(event: SimEvent): void {
    const heap = this.#heap;
    let index = heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const least = isRight ? right : left;
      if (!isBefore(least, last)) break;
      heap[index] = least;
      index = 2 * index + (isRight ? 2 : 1);
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  const isTimerA = a.lane === 'timer';
  if (isTimerA !== (b.lane === 'timer')) return isTimerA;
  return a.dueMs === b.dueMs ? a.order < b.order : a.dueMs < b.dueMs;
}
