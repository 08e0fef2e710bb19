/** Spans of OpenTelemetry from the traces of sessions, as OTLP has them in JSON. */
import { randomBytes } from 'node:crypto';
import type { TraceMark } from '../../pipeline/session_trace.ts';
import type { TraceReport } from './session_chronicle.ts';
import { timelinesOf, type UtteranceRun, type UtteranceTimeline } from './utterance_timeline.ts';

/** https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hex, times as text. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  /** 1: internal, 2: server. */
  readonly kind: 1 | 2;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  /** 2: error; absent: none. */
  readonly status?: { readonly code: 2 };
}

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string };
}

type Part = Pick<Span, 'name' | 'attributes'> & {
  readonly fromMs: number;
  readonly toMs: number;
  readonly hasFailed?: boolean;
};

/** One span for a session that has ended, over all of it; a session's id is the id of its trace. */
export function sessionSpan(report: TraceReport): Span {
  const { sessionId, dialect, encoding, outcome = 'open', finalCount, marks } = report;
  return {
    ...spanOf(report, {
      name: 'session',
      fromMs: 0,
      toMs: marks.at(-1)?.atMs ?? 0,
      hasFailed: outcome === 'failed',
      attributes: [
        text('earwitness.dialect', dialect),
        text('earwitness.encoding', encoding),
        text('earwitness.outcome', outcome),
        count('earwitness.finals', finalCount),
      ],
    }),
    kind: 2,
    spanId: sessionSpanId(sessionId),
  };
}

/** The spans of an utterance that has its final: speech, each wait for a slot, each run, and one over them all. */
export function utteranceSpans(report: TraceReport, utteranceId: number): readonly Span[] {
  const [timeline] = timelinesOf(report.marks.filter((mark: TraceMark) => mark.utteranceId === utteranceId));
  if (timeline === undefined) return [];
  const parts = [...speechParts(timeline), ...timeline.runs.flatMap(runParts)];
  const toMs = timeline.finalSentAtMs ?? 0;
  const whole = {
    ...spanOf(report, {
      name: 'utterance',
      fromMs: Math.min(toMs, ...parts.map(({ fromMs }) => fromMs)),
      toMs,
      attributes: [count('earwitness.utterance', utteranceId)],
    }),
    parentSpanId: sessionSpanId(report.sessionId),
  };
  return [whole, ...parts.map((part) => ({ ...spanOf(report, part), parentSpanId: whole.spanId }))];
}

function speechParts({ speechAtMs, endDecidedAtMs }: UtteranceTimeline): readonly Part[] {
  if (speechAtMs === undefined || endDecidedAtMs === undefined) return [];
  return [{ name: 'speech', fromMs: speechAtMs, toMs: endDecidedAtMs, attributes: [] }];
}

function runParts({ kind, queuedAtMs, startedAtMs, endedAtMs, outcome }: UtteranceRun): readonly Part[] {
  const attributes = [text('earwitness.kind', kind)];
  const parts: Part[] = [];
  if (startedAtMs !== undefined && startedAtMs > queuedAtMs)
    parts.push({ name: 'queue', fromMs: queuedAtMs, toMs: startedAtMs, attributes });
  if (startedAtMs !== undefined && endedAtMs !== undefined) {
    const hasFailed = outcome === 'failed';
    parts.push({ name: 'inference', fromMs: startedAtMs, toMs: endedAtMs, attributes, hasFailed });
  }
  return parts;
}

function spanOf({ sessionId, openedAt }: TraceReport, part: Part): Span {
  const openedAtMs = Date.parse(openedAt);
  return {
    traceId: sessionId.replaceAll('-', ''),
    spanId: randomBytes(8).toString('hex'),
    name: part.name,
    kind: 1,
    startTimeUnixNano: unixNano(openedAtMs + part.fromMs),
    endTimeUnixNano: unixNano(openedAtMs + part.toMs),
    attributes: part.attributes,
    ...(part.hasFailed === true ? { status: { code: 2 } } : {}),
  };
}

/** Known before the session has ended, so that its utterances can name it. */
function sessionSpanId(sessionId: string): string {
  return sessionId.replaceAll('-', '').slice(0, 16);
}

/** Whole microseconds: a double has no room for the nanoseconds of a Unix time. */
function unixNano(unixMs: number): string {
  return `${Math.round(unixMs * 1_000)}000`;
}

function text(key: string, value: string): Attribute {
  return { key, value: { stringValue: value } };
}

function count(key: string, value: number): Attribute {
  return { key, value: { intValue: String(value) } };
}
