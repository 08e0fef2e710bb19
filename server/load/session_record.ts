/** What is left of a session of a load test, to judge it by; plain data. Times are ms since the load began. */
import type { HeardEvent } from './load_dialect.ts';
import type { SpokenSentence } from './session_script.ts';

/** An event and when it came. */
export interface Heard<T extends HeardEvent = HeardEvent> {
  readonly event: T;
  readonly atMs: number;
}

/**
 * How a session ended: with all that it was owed; without a connection, because the server refused one; cut off by
 * whoever runs the load; or else.
 */
export type SessionOutcome = 'done' | 'refused' | 'interrupted' | 'failed';

export interface SessionRecord {
  readonly index: number;
  readonly outcome: SessionOutcome;
  /** Why, unless it is done. */
  readonly reason: string;
  /** When the server took it; undefined if it never did. */
  readonly openedAtMs: number | undefined;
  readonly endedAtMs: number;
  /** Time from when it was to be opened, or from after the last refusal, to `openedAtMs`. */
  readonly openMs: number | undefined;
  /** The sentences that were said, or due, before the session ended. */
  readonly sentences: readonly SpokenSentence[];
  /** Where a sentence begins that was cut off: what was heard from there on is not judged. Infinity if none was. */
  readonly judgedAudioMs: number;
  /** What came, in order: all but the partials after the first of an utterance. */
  readonly heard: readonly Heard[];
  /** Answers 429 and 503 to its attempts to connect, by status. */
  readonly refusals: readonly number[];
  /** Connections beyond the first. */
  readonly reconnectCount: number;
}

/** What one process knows when a load is over. */
export interface LoadRecord {
  readonly sessions: readonly SessionRecord[];
  /** How late each message left, as `Latencies` encodes them. */
  readonly lateness: string;
  /** Times between news of what is said, encoded alike. */
  readonly partialGaps: string;
  /** Processor time that generating took, in ms. */
  readonly cpuMs: number;
  /** Time since the load began. */
  readonly elapsedMs: number;
}
