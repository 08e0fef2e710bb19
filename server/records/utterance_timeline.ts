/** The time lines of utterances, from the marks of their session: a pure function that the command and the spans share. */
import type { TraceMark } from '../../pipeline/session_trace.ts';

/** One run of the model. Times are since the session was opened, in ms. */
export interface UtteranceRun {
  /** `early`: of what may be the whole utterance, in a pause. */
  readonly kind: 'partial' | 'early' | 'final';
  /** Since when it waited; a partial is asked for when a slot is free, and does not wait. */
  readonly queuedAtMs: number;
  startedAtMs: number | undefined;
  endedAtMs: number | undefined;
  outcome: 'running' | 'done' | 'failed';
}

/** What is known of one utterance; what is undefined has not happened, or is too long ago. */
export interface UtteranceTimeline {
  readonly utteranceId: number;
  /** When its first audio came in, if it came in real time. */
  speechAtMs: number | undefined;
  /** When its last audio came in, and when it was decided that it was the last. */
  speechEndAtMs: number | undefined;
  endDecidedAtMs: number | undefined;
  readonly runs: UtteranceRun[];
  readonly partialsSentAtMs: number[];
  finalSentAtMs: number | undefined;
}

/** The utterances of these marks, in the order in which they began. */
export function timelinesOf(marks: readonly TraceMark[]): readonly UtteranceTimeline[] {
  const timelines = new Map<number, UtteranceTimeline>();
  const pausedAtMs = new Map<number, number>();
  for (const mark of marks) {
    const { utteranceId, kind, atMs } = mark;
    if (utteranceId === 0) continue;
    if (kind === 'pause') pausedAtMs.set(utteranceId, atMs);
    const timeline = timelines.get(utteranceId) ?? emptyTimeline(utteranceId);
    timelines.set(utteranceId, timeline);
    apply(timeline, mark, pausedAtMs.get(utteranceId) ?? atMs);
  }
  return [...timelines.values()];
}

function emptyTimeline(utteranceId: number): UtteranceTimeline {
  return {
    utteranceId,
    speechAtMs: undefined,
    speechEndAtMs: undefined,
    endDecidedAtMs: undefined,
    runs: [],
    partialsSentAtMs: [],
    finalSentAtMs: undefined,
  };
}

function apply(timeline: UtteranceTimeline, { kind, atMs, valueMs }: TraceMark, pausedAtMs: number): void {
  const { runs } = timeline;
  switch (kind) {
    case 'speechStart':
      timeline.speechAtMs = atMs - valueMs;
      return;
    case 'speechEnd':
      timeline.speechEndAtMs = atMs - valueMs;
      timeline.endDecidedAtMs = atMs;
      return;
    case 'partialStarted':
      runs.push(startedRun('partial', atMs, atMs));
      return;
    case 'earlyStarted':
      runs.push(startedRun('early', pausedAtMs, atMs));
      return;
    case 'partialDone':
    case 'partialFailed':
      endRun(runs, atMs, kind === 'partialDone' ? 'done' : 'failed');
      return;
    case 'finalQueued':
      runs.push({ ...startedRun('final', atMs, atMs), startedAtMs: undefined });
      return;
    case 'finalStarted':
      startFinal(runs, atMs);
      return;
    case 'finalDone':
    case 'finalFailed':
      endRun(runs, atMs, kind === 'finalDone' ? 'done' : 'failed');
      return;
    case 'partialSent':
      timeline.partialsSentAtMs.push(atMs);
      return;
    case 'finalSent':
      timeline.finalSentAtMs = atMs;
      return;
    case 'notice':
    case 'opened':
    case 'audio':
    case 'pause':
    case 'stopped':
    case 'closed':
  }
}

function startedRun(kind: UtteranceRun['kind'], queuedAtMs: number, startedAtMs: number): UtteranceRun {
  return { kind, queuedAtMs, startedAtMs, endedAtMs: undefined, outcome: 'running' };
}

/** A final that starts again has lost its worker. */
function startFinal(runs: UtteranceRun[], atMs: number): void {
  const run = runs.at(-1);
  if (run?.kind !== 'final') return;
  if (run.startedAtMs === undefined) run.startedAtMs = atMs;
  else {
    Object.assign(run, { endedAtMs: atMs, outcome: 'failed' });
    runs.push(startedRun('final', atMs, atMs));
  }
}

/** An early final that is used ends nothing: its run is over. */
function endRun(runs: readonly UtteranceRun[], endedAtMs: number, outcome: 'done' | 'failed'): void {
  const run = runs.findLast((candidate) => candidate.outcome === 'running');
  if (run !== undefined) Object.assign(run, { endedAtMs, outcome });
}
