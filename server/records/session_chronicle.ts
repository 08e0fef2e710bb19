/** What is kept of sessions beside themselves: two log lines, their traces, the latest that have ended included. */
import { AUDIO_ENCODINGS } from '../../pipeline/audio.ts';
import type { Clock } from '../../pipeline/clock.ts';
import type { TranscriptionError } from '../../pipeline/errors.ts';
import { TRACE_ENDED_MAX_COUNT } from '../../pipeline/limits.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import type { SessionSettings } from '../../pipeline/session_settings.ts';
import { SessionTrace, type TraceMark } from '../../pipeline/session_trace.ts';
import type { Log } from './log.ts';

/** A session as `/trace` lists it. */
export interface SessionSummary {
  readonly sessionId: string;
  /** ISO 8601. */
  readonly openedAt: string;
  readonly dialect: SessionSettings['dialect'];
  readonly encoding: (typeof AUDIO_ENCODINGS)[number];
  /** How it ended; absent while it is open. */
  readonly outcome?: SessionOutcome;
  readonly finalCount: number;
}

/** A session as `/trace/SESSION` shows it. */
export interface TraceReport extends SessionSummary {
  /** Earlier marks that had to make room. */
  readonly forgottenCount: number;
  readonly marks: readonly TraceMark[];
}

export type SessionOutcome = 'completed' | 'abandoned' | 'failed';

/** Told of traces that have become longer. */
export interface TraceListener {
  /** An utterance has its final. */
  utteranceEnded(report: TraceReport, utteranceId: number): void;
  sessionEnded(report: TraceReport): void;
}

export interface SessionChronicleOptions {
  readonly clock: Clock;
  readonly now: () => Date;
  readonly log: Log;
  readonly listener?: TraceListener | undefined;
}

interface Chapter {
  readonly openedAt: Date;
  readonly dialect: SessionSummary['dialect'];
  readonly encoding: SessionSummary['encoding'];
  readonly trace: SessionTrace;
  finalCount: number;
  outcome: SessionOutcome | undefined;
}

export class SessionChronicle {
  readonly #options: SessionChronicleOptions;
  /** In the order in which they were opened; those that have ended, in the order in which they did. */
  readonly #open = new Map<string, Chapter>();
  readonly #ended = new Map<string, Chapter>();

  constructor(options: SessionChronicleOptions) {
    this.#options = options;
  }

  /** The trace of a new session. */
  begin(sessionId: string, settings: SessionSettings): SessionTrace {
    const { clock, now, log } = this.#options;
    const trace = new SessionTrace(clock);
    const { encoding, sampleRateHz, channels } = settings.format;
    const { dialect, partials, originAudioMs } = settings;
    const kind = { openedAt: now(), dialect, encoding };
    this.#open.set(sessionId, { ...kind, trace, finalCount: 0, outcome: undefined });
    log.debug('session opened', {
      sessionId,
      dialect,
      encoding,
      sampleRateHz,
      channels,
      partials,
      originAudioMs,
    });
    return trace;
  }

  note(sessionId: string, event: SessionEvent): void {
    const chapter = this.#open.get(sessionId);
    if (event.type !== 'final' || chapter === undefined) return;
    chapter.finalCount++;
    const { listener } = this.#options;
    listener?.utteranceEnded(reportOf(sessionId, chapter), event.utteranceId);
  }

  /** `error` is what ended it, if anything did. */
  end(sessionId: string, outcome: SessionOutcome, error?: TranscriptionError): void {
    const chapter = this.#open.get(sessionId);
    if (chapter === undefined) return;
    const { clock, log, listener } = this.#options;
    this.#open.delete(sessionId);
    chapter.outcome = outcome;
    this.#ended.set(sessionId, chapter);
    const [oldest] = this.#ended.keys();
    if (oldest !== undefined && this.#ended.size > TRACE_ENDED_MAX_COUNT) this.#ended.delete(oldest);
    log.info('session ended', {
      sessionId,
      outcome,
      ...(error === undefined ? {} : { code: error.code }),
      durationMs: Math.round(clock.nowMs() - chapter.trace.openedAtMs),
      dialect: chapter.dialect,
      encoding: chapter.encoding,
      finals: chapter.finalCount,
    });
    listener?.sessionEnded(reportOf(sessionId, chapter));
  }

  /** The sessions whose traces can be had, the latest first. */
  sessions(): readonly SessionSummary[] {
    return [...this.#ended, ...this.#open]
      .map(([sessionId, chapter]) => summaryOf(sessionId, chapter))
      .reverse();
  }

  /** Undefined for a session that is not known, or not any more. */
  report(sessionId: string): TraceReport | undefined {
    const chapter = this.#open.get(sessionId) ?? this.#ended.get(sessionId);
    return chapter === undefined ? undefined : reportOf(sessionId, chapter);
  }
}

function summaryOf(sessionId: string, chapter: Chapter): SessionSummary {
  const { openedAt, dialect, encoding, finalCount, outcome } = chapter;
  return {
    sessionId,
    openedAt: openedAt.toISOString(),
    dialect,
    encoding,
    ...(outcome === undefined ? {} : { outcome }),
    finalCount,
  };
}

function reportOf(sessionId: string, chapter: Chapter): TraceReport {
  const { trace } = chapter;
  return {
    ...summaryOf(sessionId, chapter),
    forgottenCount: trace.forgottenCount,
    marks: trace.marks(),
  };
}
