/** The latest moments of a session as plain numbers: when, what, of which utterance. Never what was said. */
import type { Clock } from './clock.ts';
import { TRACE_MARKS_MAX_COUNT } from './limits.ts';

/** What can happen in a session, in the order in which it usually does. Kept and told by place: add at the end. */
export const MARK_KINDS = [
  'opened',
  'audio',
  'speechStart',
  'pause',
  'partialStarted',
  'earlyStarted',
  'partialDone',
  'partialFailed',
  'partialSent',
  'speechEnd',
  'finalQueued',
  'finalStarted',
  'finalDone',
  'finalFailed',
  'finalSent',
  'notice',
  'stopped',
  'closed',
] as const;

export type MarkKind = (typeof MARK_KINDS)[number];

/** One moment. */
export interface TraceMark {
  readonly kind: MarkKind;
  /** Since the session was opened. */
  readonly atMs: number;
  /** 0 for what belongs to no utterance. */
  readonly utteranceId: number;
  /**
   * `audio`: silence of the connection before it; `speechStart`, `speechEnd`: how far the position lies back in the
   * audio; `partialSent`: age of its newest audio; `finalSent`: time since its end was decided; else 0.
   */
  readonly valueMs: number;
}

/** Numbers kept of each mark. */
const FIELD_COUNT = 4;

/** Keeps the latest TRACE_MARKS_MAX_COUNT marks. */
export class SessionTrace {
  readonly openedAtMs: number;
  readonly #clock: Clock;
  /** A ring of groups of FIELD_COUNT numbers; it grows to its bound, since most sessions are short. */
  readonly #numbers: number[] = [];
  #markCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.openedAtMs = clock.nowMs();
    this.mark('opened');
  }

  /** Marks that had to make room for later ones. */
  get forgottenCount(): number {
    return Math.max(0, this.#markCount - TRACE_MARKS_MAX_COUNT);
  }

  mark(kind: MarkKind, utteranceId = 0, valueMs = 0): void {
    const at = (this.#markCount++ % TRACE_MARKS_MAX_COUNT) * FIELD_COUNT;
    this.#numbers[at] = MARK_KINDS.indexOf(kind);
    this.#numbers[at + 1] = this.#clock.nowMs() - this.openedAtMs;
    this.#numbers[at + 2] = utteranceId;
    this.#numbers[at + 3] = valueMs;
  }

  /** The marks, the oldest first. */
  marks(): readonly TraceMark[] {
    const marks: TraceMark[] = [];
    for (let i = this.forgottenCount; i < this.#markCount; i++) {
      const at = (i % TRACE_MARKS_MAX_COUNT) * FIELD_COUNT;
      const [kind = 0, atMs = 0, utteranceId = 0, valueMs = 0] = this.#numbers.slice(at, at + FIELD_COUNT);
      marks.push({ kind: MARK_KINDS[kind] ?? 'notice', atMs, utteranceId, valueMs });
    }
    return marks;
  }
}
