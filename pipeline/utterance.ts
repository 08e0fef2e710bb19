/** One utterance of a session, from its first sample to its final text. */
import { msToSamples } from './audio.ts';
import type { Hypothesis, UtteranceEndReason } from './contracts.ts';
import { PARTIAL_NEW_AUDIO_MIN_MS, RECOGNISER_PCM_MIN_MS } from './limits.ts';
import { Strikes } from './strikes.ts';
import { Transcript } from './transcript.ts';

/** A partial that was started: where its audio ends, and what was heard in it. */
interface Attempt {
  readonly endSamples: number;
  /** It was begun as what may be the whole utterance, so that what is heard in it may become the final. */
  readonly isWhole: boolean;
  outcome: 'running' | 'failed' | Hypothesis;
}

/** What became of an utterance; `text` is empty where it held no words. */
export interface SettledText {
  readonly text: string;
  readonly outcome: 'text' | 'empty' | 'failed';
}

export class Utterance {
  readonly id: number;
  readonly startSamples: number;
  readonly transcript = new Transcript();
  /** Workers that its jobs have cost. */
  readonly strikes = new Strikes();
  /** Tokens of the latest hypothesis, offered to the next run as its draft. */
  draft: readonly number[] = [];
  /** Where it ends if only silence follows; undefined while somebody speaks. */
  likelyEndSamples: number | undefined;
  /** The latest partial. */
  attempt: Attempt | undefined;
  /** Set when the end was decided. */
  end:
    | { readonly samples: number; readonly decidedAtMs: number; readonly reason: UtteranceEndReason }
    | undefined;
  settled: SettledText | undefined;
  /** Called when the latest partial has come back, if its text is to be the final. */
  onAttemptEnd: (() => void) | undefined;

  constructor(id: number, startSamples: number) {
    this.id = id;
    this.startSamples = startSamples;
  }

  /**
   * Begins a partial, if there is enough new to be heard; `heardSamples` is the end of the audio there is. In a pause
   * it reaches to the likely end, so that it can be the final if nobody speaks on; what follows is silence.
   */
  beginAttempt(heardSamples: number): Attempt | undefined {
    const isWhole = this.likelyEndSamples !== undefined;
    const endSamples = this.likelyEndSamples ?? heardSamples;
    const newSamples = endSamples - (this.attempt?.endSamples ?? this.startSamples);
    if (isWhole ? this.wasHeardToLikelyEnd : newSamples < msToSamples(PARTIAL_NEW_AUDIO_MIN_MS))
      return undefined;
    if (endSamples - this.startSamples < msToSamples(RECOGNISER_PCM_MIN_MS)) return undefined;
    this.attempt = { endSamples, isWhole, outcome: 'running' };
    return this.attempt;
  }

  /** True if the latest partial covers all there is to be if only silence follows. */
  get wasHeardToLikelyEnd(): boolean {
    return this.attempt?.isWhole === true && this.attempt.endSamples === this.likelyEndSamples;
  }

  /**
   * What the latest partial made of the whole utterance; `failed` if it did not reach to the end, or was not made to be
   * the final and just happens to end there.
   */
  get earlyFinal(): Attempt['outcome'] {
    const { attempt, end } = this;
    return attempt?.isWhole === true && attempt.endSamples === end?.samples ? attempt.outcome : 'failed';
  }

  settle(hypothesis: Hypothesis, isSuppressed: boolean): void {
    const text = isSuppressed ? '' : hypothesis.text;
    this.settled ??= { text, outcome: text === '' ? 'empty' : 'text' };
  }

  /** The model failed on the whole: what was last shown is the best there is. */
  settleFailed(): void {
    this.settled ??= { text: this.transcript.text, outcome: 'failed' };
  }
}
