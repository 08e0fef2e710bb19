/** How long nobody has spoken in a session, from what it tells its client. */
import type { SessionEvent } from '../pipeline/session_events.ts';

export class Quietness {
  #spokenAtMs: number;
  /** Utterances that have begun and whose final has not come. */
  #owedCount = 0;

  constructor(openedAtMs: number) {
    this.#spokenAtMs = openedAtMs;
  }

  /** Time since the last final; 0 while somebody speaks or is owed one. */
  quietMs(nowMs: number): number {
    return this.#owedCount > 0 ? 0 : nowMs - this.#spokenAtMs;
  }

  note({ type }: SessionEvent, nowMs: number): void {
    if (type === 'speechStart') this.#owedCount++;
    if (type === 'final') this.#owedCount--;
    if (type === 'final' || type === 'flushed') this.#spokenAtMs = nowMs;
  }
}
