/** A session's trace as text: for each utterance what happened when, as bars on one scale. */
import { timelinesOf, type UtteranceRun, type UtteranceTimeline } from '../records/utterance_timeline.ts';
import type { SessionSummary, TraceReport } from '../records/session_chronicle.ts';
import { renderDuration } from './duration.ts';
import { renderTable } from './text_table.ts';

const BAR_COLUMNS_COUNT = 60;
const GLYPHS = { speech: '─', silence: '·', queue: '░', run: '█', failed: '▒', sent: '◆' } as const;

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly glyph: string;
}

interface Line {
  readonly name: string;
  readonly spans: readonly Span[];
  readonly note: string;
}

/** All that is known of the session, for a terminal. */
export function renderTrace(report: TraceReport): string {
  const { sessionId, openedAt, dialect, encoding, outcome = 'open', forgottenCount, marks } = report;
  const head = `session ${sessionId}, ${dialect}, ${encoding}, opened ${openedAt}, ${outcome} at ${seconds(marks.at(-1)?.atMs ?? 0)}\n`;
  const forgotten = forgottenCount === 0 ? '' : `${forgottenCount} earlier moments are forgotten\n`;
  const others = marks
    .filter(({ utteranceId }) => utteranceId === 0)
    .map(({ kind, atMs, valueMs }) => {
      const gap = kind === 'audio' && valueMs > 0 ? `after ${renderDuration(valueMs)} without` : '';
      return [seconds(atMs), kind, gap];
    });
  const utterances = timelinesOf(marks).map(renderUtterance);
  const legend = `${GLYPHS.speech} speech  ${GLYPHS.silence} silence until the end is decided  ${GLYPHS.queue} waits  ${GLYPHS.run} runs  ${GLYPHS.failed} failed  ${GLYPHS.sent} sent\n`;
  return [`${head}${forgotten}${renderTable(others)}`, ...utterances, legend].join('\n');
}

/** The sessions whose traces can be had. */
export function renderSessions(sessions: readonly SessionSummary[]): string {
  if (sessions.length === 0) return 'No sessions yet.\n';
  const rows = sessions.map(({ sessionId, openedAt, dialect, encoding, outcome = 'open', finalCount }) => [
    sessionId,
    openedAt,
    dialect,
    encoding,
    String(finalCount),
    outcome,
  ]);
  return renderTable([['SESSION', 'OPENED', 'DIALECT', 'ENCODING', 'FINALS', 'OUTCOME'], ...rows]);
}

function renderUtterance(timeline: UtteranceTimeline): string {
  const lines = linesOf(timeline);
  const times = lines.flatMap(({ spans }) => spans.flatMap(({ fromMs, toMs }) => [fromMs, toMs]));
  const fromMs = Math.min(...times);
  const toMs = Math.max(...times, fromMs + 1);
  const column = (atMs: number): number =>
    Math.min(BAR_COLUMNS_COUNT - 1, Math.floor(((atMs - fromMs) / (toMs - fromMs)) * BAR_COLUMNS_COUNT));
  const rows = lines.map(({ name, spans, note }) => {
    const bar = Array.from({ length: BAR_COLUMNS_COUNT }, () => ' ');
    for (const span of spans) bar.fill(span.glyph, column(span.fromMs), column(span.toMs) + 1);
    return [`  ${name}`, bar.join(''), note];
  });
  const title = `utterance ${timeline.utteranceId}, from ${seconds(fromMs)} to ${seconds(toMs)}`;
  return times.length === 0 ? '' : `${title}\n${renderTable(rows)}`;
}

function linesOf(timeline: UtteranceTimeline): readonly Line[] {
  const { speechAtMs, speechEndAtMs, endDecidedAtMs, runs, partialsSentAtMs, finalSentAtMs } = timeline;
  const lines: Line[] = [];
  if (speechAtMs !== undefined) {
    const endMs = speechEndAtMs ?? finalSentAtMs ?? runs.at(-1)?.endedAtMs ?? speechAtMs;
    const spans: Span[] = [{ fromMs: speechAtMs, toMs: endMs, glyph: GLYPHS.speech }];
    if (endDecidedAtMs !== undefined)
      spans.push({ fromMs: endMs, toMs: endDecidedAtMs, glyph: GLYPHS.silence });
    lines.push({ name: 'audio', spans, note: renderDuration(endMs - speechAtMs) });
  }
  lines.push(...runs.map(lineOfRun));
  if (partialsSentAtMs.length > 0)
    lines.push({
      name: 'partials',
      spans: moments(partialsSentAtMs),
      note: `${partialsSentAtMs.length} sent`,
    });
  if (finalSentAtMs !== undefined) {
    const sinceMs = finalSentAtMs - (endDecidedAtMs ?? finalSentAtMs);
    const note = `sent ${renderDuration(sinceMs)} after the end was decided`;
    lines.push({ name: 'final', spans: moments([finalSentAtMs]), note });
  }
  return lines;
}

function lineOfRun({ kind, queuedAtMs, startedAtMs, endedAtMs, outcome }: UtteranceRun): Line {
  const startMs = startedAtMs ?? queuedAtMs;
  const endMs = endedAtMs ?? startMs;
  const glyph = outcome === 'failed' ? GLYPHS.failed : GLYPHS.run;
  const waited = `waited ${renderDuration(startMs - queuedAtMs)}`;
  const state = startedAtMs === undefined ? 'waits' : outcome === 'running' ? 'runs' : outcome;
  const ran = endedAtMs === undefined ? state : `${state} after ${renderDuration(endMs - startMs)}`;
  const wait = startMs > queuedAtMs ? [{ fromMs: queuedAtMs, toMs: startMs, glyph: GLYPHS.queue }] : [];
  const work = startedAtMs === undefined ? [] : [{ fromMs: startMs, toMs: endMs, glyph }];
  return { name: `${kind} run`, spans: [...wait, ...work], note: `${waited}, ${ran}` };
}

function moments(atMs: readonly number[]): Line['spans'] {
  return atMs.map((moment) => ({ fromMs: moment, toMs: moment, glyph: GLYPHS.sent }));
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(3)} s`;
}
