/** Which finals answer which sentences, and what is wrong with them. */
import { LOAD_OWN_WORD_ERROR_MAX_RATIO } from '../../pipeline/limits.ts';
import type { HeardEvent } from './load_dialect.ts';
import type { Heard, SessionRecord } from './session_record.ts';
import type { SpokenSentence } from './session_script.ts';
import { normalisedWords, wordEditCount, wordErrorRate } from './word_error_rate.ts';

export type Final = Extract<HeardEvent, { type: 'final' }>;

/** A sentence and the finals in its place. */
export interface Answer {
  readonly session: SessionRecord;
  readonly sentence: SpokenSentence;
  readonly finals: readonly Heard<Final>[];
  /** What the finals say together. */
  readonly text: string;
}

/** Counts that are 0 for a server that keeps its promises. */
export interface Faults {
  /** Sentences without any text. */
  readonly lost: number;
  /** Utterances that began and had no final. */
  readonly unanswered: number;
  /** Finals beyond the first of an utterance, by its id, or of audio that had its final. */
  readonly repeated: number;
  /** Finals whose utterance id is not one more than that before. */
  readonly disordered: number;
  /** Texts that match a sentence of another session better than their own. */
  readonly crossed: number;
  /** Texts where nobody spoke. */
  readonly invented: number;
}

export function finalsOf({ heard }: SessionRecord): Heard<Final>[] {
  return heard.filter((one): one is Heard<Final> => one.event.type === 'final');
}

/** Every sentence of a session with what was made of it. */
export function answersOf(session: SessionRecord): Answer[] {
  const finals = finalsOf(session).filter(({ event }) => event.text !== '');
  return session.sentences.map((sentence) => {
    const own = finals.filter(({ event }) => overlaps(event, sentence));
    return { session, sentence, finals: own, text: own.map(({ event }) => event.text).join(' ') };
  });
}

export function faultsOf(sessions: readonly SessionRecord[], answers: readonly Answer[]): Faults {
  const total = (countOf: (session: SessionRecord) => number): number =>
    sessions.reduce((sum, session) => sum + countOf(session), 0);
  const sayings = sayingsOf(answers);
  return {
    lost: answers.filter(({ text }) => text === '').length,
    unanswered: total(unansweredCount),
    repeated: total(repeatedCount),
    disordered: total(disorderedCount),
    crossed: answers.filter((answer) => isCrossed(answer, sayings)).length,
    invented: total(inventedCount),
  };
}

/** Edits per word that was said, over all answers; NaN if nothing was said. */
export function totalWordErrorRate(answers: readonly Answer[]): number {
  let edits = 0;
  let words = 0;
  for (const { sentence, text } of answers) {
    const expected = normalisedWords(sentence.text);
    edits += wordEditCount(expected, normalisedWords(text));
    words += expected.length;
  }
  return edits / words;
}

/** Whether a final is of audio in which this sentence was said. */
export function overlaps(final: Final, sentence: SpokenSentence): boolean {
  return final.startAudioMs < sentence.endAudioMs && final.endAudioMs > sentence.startAudioMs;
}

/** A text and the sessions that say it. */
type Saying = readonly [text: string, sessions: ReadonlySet<SessionRecord>];

/** Every text once: thousands of sessions say the same few hundred. */
function sayingsOf(answers: readonly Answer[]): readonly Saying[] {
  const sayings = new Map<string, Set<SessionRecord>>();
  for (const { session, sentence } of answers) {
    const sessions = sayings.get(sentence.text) ?? new Set();
    sayings.set(sentence.text, sessions.add(session));
  }
  return [...sayings];
}

function isCrossed({ session, sentence, text }: Answer, sayings: readonly Saying[]): boolean {
  const own = wordErrorRate(sentence.text, text);
  if (text === '' || own <= LOAD_OWN_WORD_ERROR_MAX_RATIO) return false;
  return sayings.some(([said, sessions]) => {
    const isSaidElsewhere = sessions.size > 1 || !sessions.has(session);
    return isSaidElsewhere && wordErrorRate(said, text) < own;
  });
}

function unansweredCount(session: SessionRecord): number {
  // A session that was cut off or failed was not given the time; the sentences of the latter count as lost.
  if (session.outcome !== 'done') return 0;
  const answered = new Set(finalsOf(session).map(({ event }) => event.utteranceId));
  const begun = session.heard.flatMap(({ event }) => (event.type === 'speechStart' ? event.utteranceId : []));
  return new Set(begun.filter((id) => !answered.has(id))).size;
}

function repeatedCount(session: SessionRecord): number {
  const ids = new Set<number>();
  let answeredAudioMs = 0;
  return finalsOf(session).filter(({ event }) => {
    const isRepeated =
      ids.has(event.utteranceId) || (event.text !== '' && event.endAudioMs <= answeredAudioMs);
    ids.add(event.utteranceId);
    answeredAudioMs = Math.max(answeredAudioMs, event.endAudioMs);
    return isRepeated;
  }).length;
}

function disorderedCount(session: SessionRecord): number {
  const ids = finalsOf(session).map(({ event }) => event.utteranceId);
  return ids.filter((id, i) => id !== (ids[i - 1] ?? 0) + 1).length;
}

function inventedCount(session: SessionRecord): number {
  return finalsOf(session).filter(
    ({ event }) =>
      event.text !== '' &&
      event.endAudioMs < session.judgedAudioMs &&
      !session.sentences.some((sentence) => overlaps(event, sentence)),
  ).length;
}
