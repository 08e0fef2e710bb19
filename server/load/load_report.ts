/** What a load test found: how fast, how right, how many; of plain data, as `--json` writes it. */
import { answersOf, faultsOf, finalsOf, totalWordErrorRate, type Answer, type Faults } from './answers.ts';
import { Latencies, type Quantiles } from './latencies.ts';
import { planDurationMs, shownUrl, type LoadPlan } from './load_plan.ts';
import type { LoadRecord, SessionRecord } from './session_record.ts';
import { VERSION } from '../version.ts';

/** Durations that are measured, each from the moment at which it was due. */
export interface LatencyReport {
  /** From when a session was to be opened until the server took it. */
  readonly open: Quantiles;
  /** From the first sound of a sentence to the first partial of it. */
  readonly firstPartial: Quantiles;
  /** Between news of an utterance while somebody speaks. */
  readonly partialGap: Quantiles;
  /** From the server's decision that an utterance has ended to its final; of dialects that tell it. */
  readonly final: Quantiles;
  /** From the last sound of a sentence to its final: what a speaker feels. */
  readonly trueEnd: Quantiles;
  /** How late the load itself was; if this is not small, the figures say more about the load than the server. */
  readonly lateness: Quantiles;
}

/** One stretch of time of a load. */
export interface LoadMoment {
  readonly atMs: number;
  /** Sessions that were open in the middle of it. */
  readonly sessionCount: number;
  /** Of the sentences that ended in it: from their last sound to their final. */
  readonly trueEnd: Quantiles;
}

export interface LoadReport {
  readonly version: string;
  /** Without the credential, and without a query or user in the address. */
  readonly plan: Omit<LoadPlan, 'credential'>;
  readonly wasInterrupted: boolean;
  readonly elapsedMs: number;
  readonly sessions: {
    readonly total: number;
    readonly done: number;
    readonly refused: number;
    readonly interrupted: number;
    readonly failed: number;
    /** Most that were open at a time. */
    readonly peak: number;
  };
  /** Sessions that failed, by reason. */
  readonly failures: Readonly<Record<string, number>>;
  /** Answers that asked for patience, by HTTP status. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Notices that came, by code. */
  readonly notices: Readonly<Record<string, number>>;
  readonly reconnects: number;
  readonly sentences: number;
  readonly finals: number;
  readonly faults: Faults;
  /** Edits per word said; NaN (null in JSON) if nothing was. */
  readonly wordErrorRate: number;
  readonly latencyMs: LatencyReport;
  readonly moments: readonly LoadMoment[];
  /** Latencies from the last sound of each sentence, for a histogram: how many up to each bound, and above the one before. */
  readonly histogram: readonly { readonly untilMs: number; readonly count: number }[];
  /** Processor time that the load took, in processors. */
  readonly generatorCpuRatio: number;
}

/** Stretches of time that a report is divided into, and bars of its histogram, at most. */
const MOMENT_COUNT = 40;
const BAR_COUNT = 40;
const MOMENT_MIN_MS = 1_000;
const BAR_WIDTHS_MS = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 600_000];

export function reportLoad(
  plan: LoadPlan,
  records: readonly LoadRecord[],
  { wasInterrupted }: { readonly wasInterrupted: boolean },
): LoadReport {
  const sessions = records.flatMap((record) => record.sessions).sort((a, b) => a.index - b.index);
  const answers = sessions.flatMap((session) => answersOf(session));
  const elapsedMs = Math.max(0, ...records.map((record) => record.elapsedMs));
  const cpuMs = records.reduce((sum, record) => sum + record.cpuMs, 0);
  const shownPlan = { ...plan, url: shownUrl(plan.url) };
  delete (shownPlan as { credential?: string }).credential;
  const timed = answers.flatMap((answer) => timedAnswer(answer));
  return {
    ...{ version: VERSION, plan: shownPlan, wasInterrupted, elapsedMs },
    sessions: countSessions(sessions),
    failures: tally(sessions.flatMap(({ outcome, reason }) => (outcome === 'failed' ? reason : []))),
    refusals: tally(sessions.flatMap(({ refusals }) => refusals.map(String))),
    notices: tally(
      sessions.flatMap(({ heard }) =>
        heard.flatMap(({ event }) => (event.type === 'notice' ? event.code : [])),
      ),
    ),
    reconnects: sessions.reduce((sum, { reconnectCount }) => sum + reconnectCount, 0),
    sentences: answers.length,
    finals: sessions.reduce((sum, session) => sum + finalsOf(session).length, 0),
    faults: faultsOf(sessions, answers),
    wordErrorRate: totalWordErrorRate(answers),
    latencyMs: {
      open: quantiles(sessions.flatMap(({ openMs }) => openMs ?? [])),
      firstPartial: quantiles(answers.flatMap((answer) => firstPartialMs(answer))),
      partialGap: joined(records.map(({ partialGaps }) => partialGaps)),
      final: quantiles(sessions.flatMap((session) => afterEndpointMs(session))),
      trueEnd: quantiles(timed.map(({ latencyMs }) => latencyMs)),
      lateness: joined(records.map(({ lateness }) => lateness)),
    },
    moments: moments(sessions, timed, Math.min(elapsedMs, planDurationMs(plan.stages))),
    histogram: histogram(timed.map(({ latencyMs }) => latencyMs)),
    generatorCpuRatio: elapsedMs === 0 ? 0 : cpuMs / elapsedMs,
  };
}

/** A sentence that was answered: when its last sound was due, and how long its final took from there. */
interface TimedAnswer {
  readonly endedAtMs: number;
  readonly latencyMs: number;
}

function timedAnswer({ session, sentence, finals }: Answer): TimedAnswer[] {
  const last = finals.at(-1);
  if (last === undefined) return [];
  const endedAtMs = atMs(session, sentence.endAudioMs);
  return [{ endedAtMs, latencyMs: Math.max(0, last.atMs - endedAtMs) }];
}

/** When a position of a session's audio was due. */
function atMs({ openedAtMs = 0 }: SessionRecord, audioMs: number): number {
  return openedAtMs + audioMs;
}

function quantiles(valuesMs: readonly number[]): Quantiles {
  return Latencies.of(valuesMs).quantiles();
}

function joined(encoded: readonly string[]): Quantiles {
  const all = new Latencies();
  for (const text of encoded) all.add(Latencies.decode(text));
  return all.quantiles();
}

function tally(names: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}

function countSessions(sessions: readonly SessionRecord[]): LoadReport['sessions'] {
  const count = (outcome: SessionRecord['outcome']): number =>
    sessions.filter((session) => session.outcome === outcome).length;
  return {
    ...{ total: sessions.length, done: count('done'), refused: count('refused') },
    ...{ interrupted: count('interrupted'), failed: count('failed') },
    peak: peakOf(sessions),
  };
}

function peakOf(sessions: readonly SessionRecord[]): number {
  const steps = sessions.flatMap(({ openedAtMs, endedAtMs }) =>
    openedAtMs === undefined
      ? []
      : [
          { atMs: openedAtMs, change: 1 },
          { atMs: endedAtMs, change: -1 },
        ],
  );
  // A session that ends when another is opened is not open with it.
  steps.sort((a, b) => a.atMs - b.atMs || a.change - b.change);
  let [openCount, peak] = [0, 0];
  for (const { change } of steps) {
    openCount += change;
    peak = Math.max(peak, openCount);
  }
  return peak;
}

function openCountAt(sessions: readonly SessionRecord[], timeMs: number): number {
  return sessions.filter(
    ({ openedAtMs, endedAtMs }) => openedAtMs !== undefined && openedAtMs <= timeMs && endedAtMs > timeMs,
  ).length;
}

function utteranceIds({ finals }: Answer): ReadonlySet<number> {
  return new Set(finals.map(({ event }) => event.utteranceId));
}

function firstPartialMs(answer: Answer): number[] {
  const { session, sentence } = answer;
  const ids = utteranceIds(answer);
  const first = session.heard.find(({ event }) => event.type === 'partial' && ids.has(event.utteranceId));
  return first === undefined ? [] : [first.atMs - atMs(session, sentence.startAudioMs)];
}

function afterEndpointMs(session: SessionRecord): number[] {
  const ended = new Map<number, number>();
  for (const { event, atMs: heardAtMs } of session.heard) {
    if (event.type === 'speechEnd') ended.set(event.utteranceId, heardAtMs);
  }
  return finalsOf(session).flatMap(({ event, atMs: heardAtMs }) => {
    const endedAtMs = ended.get(event.utteranceId);
    return endedAtMs === undefined ? [] : [heardAtMs - endedAtMs];
  });
}

function moments(
  sessions: readonly SessionRecord[],
  timed: readonly TimedAnswer[],
  durationMs: number,
): LoadMoment[] {
  const widthMs = Math.max(MOMENT_MIN_MS, Math.ceil(durationMs / MOMENT_COUNT));
  return Array.from({ length: Math.ceil(durationMs / widthMs) }, (_, i) => {
    const fromMs = i * widthMs;
    const own = timed.filter(({ endedAtMs }) => endedAtMs >= fromMs && endedAtMs < fromMs + widthMs);
    return {
      atMs: fromMs,
      sessionCount: openCountAt(sessions, fromMs + widthMs / 2),
      trueEnd: quantiles(own.map(({ latencyMs }) => latencyMs)),
    };
  });
}

function histogram(valuesMs: readonly number[]): LoadReport['histogram'] {
  const most = valuesMs.reduce((max, valueMs) => Math.max(max, valueMs), 0);
  const widthMs =
    BAR_WIDTHS_MS.find((width) => most < width * BAR_COUNT) ?? Math.ceil((most + 1) / BAR_COUNT);
  const counts = Array.from({ length: Math.floor(most / widthMs) + 1 }, () => 0);
  for (const valueMs of valuesMs) {
    const bar = Math.floor(valueMs / widthMs);
    counts[bar] = (counts[bar] ?? 0) + 1;
  }
  return valuesMs.length === 0 ? [] : counts.map((count, i) => ({ untilMs: (i + 1) * widthMs, count }));
}
