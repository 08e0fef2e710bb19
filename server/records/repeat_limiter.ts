/** Keeps one event from filling the log. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { LOG_EVENT_MAX_COUNT, LOG_REPEAT_MAX_COUNT, LOG_REPEAT_WINDOW_MS } from '../../pipeline/limits.ts';

interface Window {
  lineCount: number;
  readonly cancel: Cancel;
}

/** All events beyond LOG_EVENT_MAX_COUNT are counted as one. */
const OTHER_EVENTS = 'other events';

/**
 * Admits LOG_REPEAT_MAX_COUNT lines of each event per LOG_REPEAT_WINDOW_MS, from the event's first line on.
 * `report` is called at the end of a window in which more came, with how many were held back.
 */
export class RepeatLimiter {
  readonly #clock: Clock;
  readonly #report: (event: string, heldBackCount: number) => void;
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock, report: (event: string, heldBackCount: number) => void) {
    this.#clock = clock;
    this.#report = report;
  }

  /** True if the line may be written. */
  admit(event: string): boolean {
    const isKnown = this.#windows.has(event) || this.#windows.size < LOG_EVENT_MAX_COUNT;
    const name = isKnown ? event : OTHER_EVENTS;
    const window = this.#windows.get(name) ?? this.#open(name);
    window.lineCount++;
    return window.lineCount <= LOG_REPEAT_MAX_COUNT;
  }

  /** Ends all windows now. */
  sumUp(): void {
    for (const event of [...this.#windows.keys()]) this.#end(event);
  }

  #open(event: string): Window {
    const cancel = this.#clock.after(LOG_REPEAT_WINDOW_MS, () => {
      this.#end(event);
    });
    const window = { lineCount: 0, cancel };
    this.#windows.set(event, window);
    return window;
  }

  #end(event: string): void {
    const window = this.#windows.get(event);
    window?.cancel();
    this.#windows.delete(event);
    const heldBackCount = (window?.lineCount ?? 0) - LOG_REPEAT_MAX_COUNT;
    if (heldBackCount > 0) this.#report(event, heldBackCount);
  }
}
