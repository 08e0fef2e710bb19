/**
 * What a session of a load test keeps of what it hears. Of hours with partials a few times a second only the first of
 * each utterance is kept, and the gaps between them are counted as soon as it is known that they are of speech.
 */
import { overlaps, type Final } from './answers.ts';
import type { Latencies } from './latencies.ts';
import type { Heard } from './session_record.ts';
import type { SpokenSentence } from './session_script.ts';

export class SessionHearing {
  /** All that came but the partials after the first of an utterance, in order. */
  readonly heard: Heard[] = [];
  readonly #sentences: readonly SpokenSentence[];
  readonly #gaps: Latencies;
  /** When there was news of each utterance without a final. */
  readonly #newsAtMs = new Map<number, number[]>();
  #partialUtteranceId = 0;
  /** The sentence that is counted, and when there was news of it. */
  #index = 0;
  #latestAtMs: number | undefined;

  /** Gaps between news, from `speechStart` to the last sound of a sentence, are counted in `gaps`. */
  constructor(sentences: readonly SpokenSentence[], gaps: Latencies) {
    this.#sentences = sentences;
    this.#gaps = gaps;
  }

  /** Hears an event of a session whose audio began at `openedAtMs`. */
  note(one: Heard, openedAtMs: number): void {
    const { event, atMs } = one;
    if (event.type === 'speechStart' || event.type === 'partial') this.#noteNews(event.utteranceId, atMs);
    if (event.type === 'final') this.#countGaps(event, openedAtMs);
    if (event.type === 'partial') {
      if (event.utteranceId <= this.#partialUtteranceId) return;
      this.#partialUtteranceId = event.utteranceId;
    }
    this.heard.push(one);
  }

  /** The session is over, and so much of its audio was said. */
  end(saidMs: number, openedAtMs: number): void {
    if ((this.#sentences[this.#index]?.endAudioMs ?? Infinity) <= saidMs) this.#leaveSentence(openedAtMs);
  }

  #noteNews(utteranceId: number, atMs: number): void {
    const times = this.#newsAtMs.get(utteranceId);
    if (times === undefined) this.#newsAtMs.set(utteranceId, [atMs]);
    else times.push(atMs);
  }

  #countGaps(final: Final, openedAtMs: number): void {
    const times = this.#newsAtMs.get(final.utteranceId) ?? [];
    for (const id of this.#newsAtMs.keys()) if (id <= final.utteranceId) this.#newsAtMs.delete(id);
    if (final.text === '') return;
    for (const atMs of times) {
      let sentence = this.#sentences[this.#index];
      while (sentence !== undefined && openedAtMs + sentence.endAudioMs <= atMs) {
        this.#leaveSentence(openedAtMs);
        sentence = this.#sentences[this.#index];
      }
      if (sentence === undefined || !overlaps(final, sentence)) continue;
      if (this.#latestAtMs !== undefined) this.#gaps.record(atMs - this.#latestAtMs);
      this.#latestAtMs = atMs;
    }
  }

  #leaveSentence(openedAtMs: number): void {
    const endAtMs = openedAtMs + (this.#sentences[this.#index]?.endAudioMs ?? 0);
    if (this.#latestAtMs !== undefined) this.#gaps.record(endAtMs - this.#latestAtMs);
    this.#latestAtMs = undefined;
    this.#index++;
  }
}
