/** Judges what the sessions of a load heard: nothing lost, repeated, out of order or somebody else's; and how fast. */
import type { FinalMessage } from '../../client/protocol.ts';
import { wordErrorRate } from '../support/word_error_rate.ts';
import type { HeardSession, Received } from './load_session.ts';
import type { SpokenSentence } from './spoken_script.ts';

/** Longest time without a new partial while somebody speaks. */
export const PARTIAL_GAP_MAX_MS = 1_000;
/** Above this a text is not the sentence of its place. */
const OWN_WORD_ERROR_MAX_RATE = 0.5;

/** Quantiles of some durations, in ms; NaN when there were none. */
export interface Quantiles {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export interface LoadReport {
  readonly sessionCount: number;
  readonly sentenceCount: number;
  readonly finalCount: number;
  /** Sentences without any text. */
  readonly lostCount: number;
  /** Utterances that began and had no final. */
  readonly unansweredCount: number;
  /** Finals beyond the first of an utterance. */
  readonly repeatedCount: number;
  /** Finals whose utterance id is not one more than that before. */
  readonly disorderedCount: number;
  /** Texts that match a sentence of another session better than their own. */
  readonly crossedCount: number;
  /** Texts where nobody spoke. */
  readonly inventedCount: number;
  /** Gaps between partials beyond PARTIAL_GAP_MAX_MS. */
  readonly longGapCount: number;
  /** Sessions that did not end with `done` and 1000, and why. */
  readonly failures: readonly string[];
  /** Sessions that the server did not take, where it was allowed to. */
  readonly refusedCount: number;
  /** Notices that came, by code. */
  readonly notices: Readonly<Record<string, number>>;
  readonly wordErrorRate: number;
  readonly partialGapMs: Quantiles;
  readonly finalAfterSpeechEndMs: Quantiles;
  readonly finalAfterTrueEndMs: Quantiles;
  /** How late the load itself was; if this is not small, the figures say more about the load than the server. */
  readonly sendLatenessMs: Quantiles;
}

/** A sentence and the finals in its place. */
interface Answer {
  readonly session: HeardSession;
  readonly sentence: SpokenSentence;
  readonly finals: readonly Received<FinalMessage>[];
  readonly text: string;
}

/** All counts that must be 0, by name. */
export function violations(report: LoadReport): string[] {
  const counts = {
    'utterances lost': report.lostCount,
    'utterances without final': report.unansweredCount,
    'finals repeated': report.repeatedCount,
    'finals out of order': report.disorderedCount,
    'texts of another session': report.crossedCount,
    'texts where nobody spoke': report.inventedCount,
    [`gaps between partials above ${PARTIAL_GAP_MAX_MS} ms`]: report.longGapCount,
    'sessions that failed': report.failures.length,
  };
  return Object.entries(counts).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
}

export function reportLoad(sessions: readonly HeardSession[], failures: readonly string[]): LoadReport {
  const answers = sessions.flatMap((session) => answersOf(session));
  const gaps = answers.flatMap((answer) => partialGaps(answer));
  const spokenWords = answers.reduce((sum, { sentence }) => sum + sentence.text.split(' ').length, 0);
  const wordErrors = answers.reduce(
    (sum, { sentence, text }) => sum + wordErrorRate(sentence.text, text) * sentence.text.split(' ').length,
    0,
  );
  return {
    sessionCount: sessions.length,
    sentenceCount: answers.length,
    finalCount: sum(sessions, (session) => finalsOf(session).length),
    lostCount: answers.filter(({ text }) => text === '').length,
    unansweredCount: sum(sessions, unansweredCount),
    repeatedCount: sum(sessions, repeatedCount),
    disorderedCount: sum(sessions, disorderedCount),
    crossedCount: answers.filter((answer) => isCrossed(answer, answers)).length,
    inventedCount: sum(sessions, inventedCount),
    longGapCount: gaps.filter((gapMs) => gapMs > PARTIAL_GAP_MAX_MS).length,
    failures,
    refusedCount: 0,
    notices: countNotices(sessions),
    wordErrorRate: wordErrors / spokenWords,
    partialGapMs: quantiles(gaps),
    finalAfterSpeechEndMs: quantiles(sessions.flatMap((session) => afterSpeechEnd(session))),
    finalAfterTrueEndMs: quantiles(answers.flatMap((answer) => afterTrueEnd(answer))),
    sendLatenessMs: quantiles(sessions.flatMap((session) => session.lateMs)),
  };
}

export function quantiles(valuesMs: readonly number[]): Quantiles {
  const sorted = Float64Array.from(valuesMs).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

function countNotices(sessions: readonly HeardSession[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { message } of sessions.flatMap(({ received }) => received)) {
    if (message.type === 'notice') counts[message.code] = (counts[message.code] ?? 0) + 1;
  }
  return counts;
}

function finalsOf({ received }: HeardSession): Received<FinalMessage>[] {
  return received.filter((one): one is Received<FinalMessage> => one.message.type === 'final');
}

function answersOf(session: HeardSession): Answer[] {
  const finals = finalsOf(session);
  return session.script.sentences.map((sentence) => {
    const own = finals.filter(({ message }) => overlaps(message, sentence) && message.text !== '');
    return { session, sentence, finals: own, text: own.map(({ message }) => message.text).join(' ') };
  });
}

function overlaps(final: FinalMessage, sentence: SpokenSentence): boolean {
  return final.startAudioMs < sentence.endAudioMs && final.endAudioMs > sentence.startAudioMs;
}

function isCrossed(answer: Answer, answers: readonly Answer[]): boolean {
  const own = wordErrorRate(answer.sentence.text, answer.text);
  if (answer.text === '' || own <= OWN_WORD_ERROR_MAX_RATE) return false;
  return answers.some(
    ({ session, sentence }) => session !== answer.session && wordErrorRate(sentence.text, answer.text) < own,
  );
}

function unansweredCount(session: HeardSession): number {
  const answered = new Set(finalsOf(session).map(({ message }) => message.utteranceId));
  return session.received.filter(
    ({ message }) => message.type === 'speechStart' && !answered.has(message.utteranceId),
  ).length;
}

function repeatedCount(session: HeardSession): number {
  const ids = finalsOf(session).map(({ message }) => message.utteranceId);
  return ids.length - new Set(ids).size;
}

function disorderedCount(session: HeardSession): number {
  const ids = finalsOf(session).map(({ message }) => message.utteranceId);
  return ids.filter((id, i) => id !== (ids[i - 1] ?? 0) + 1).length;
}

function inventedCount(session: HeardSession): number {
  const { sentences } = session.script;
  return finalsOf(session).filter(
    ({ message }) => message.text !== '' && !sentences.some((sentence) => overlaps(message, sentence)),
  ).length;
}

/** Times between news of an utterance, from its `speechStart` to the true end of the speech. */
function partialGaps({ session, sentence, finals }: Answer): number[] {
  const endAtMs = session.timeOf(sentence.endAudioMs);
  const ids = new Set(finals.map(({ message }) => message.utteranceId));
  const news = session.received
    .filter(
      ({ message, atMs }) =>
        (message.type === 'speechStart' || message.type === 'partial') &&
        ids.has(message.utteranceId) &&
        atMs < endAtMs,
    )
    .map(({ atMs }) => atMs);
  return [...news, endAtMs].slice(1).map((atMs, i) => atMs - (news[i] ?? atMs));
}

function afterSpeechEnd(session: HeardSession): number[] {
  const ended = new Map<number, number>();
  for (const { message, atMs } of session.received) {
    if (message.type === 'speechEnd') ended.set(message.utteranceId, atMs);
  }
  return finalsOf(session).flatMap(({ message, atMs }) => {
    const endedAtMs = ended.get(message.utteranceId);
    return endedAtMs === undefined ? [] : [atMs - endedAtMs];
  });
}

function afterTrueEnd({ session, sentence, finals }: Answer): number[] {
  const last = finals.at(-1);
  return last === undefined ? [] : [last.atMs - session.timeOf(sentence.endAudioMs)];
}

function sum(sessions: readonly HeardSession[], countOf: (session: HeardSession) => number): number {
  return sessions.reduce((total, session) => total + countOf(session), 0);
}
