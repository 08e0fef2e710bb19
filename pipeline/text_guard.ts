/** Withholds text that the audio can hardly have held: what recognisers invent on noise and near silence. */
import { SAMPLE_RATE_HZ } from './audio.ts';
import type { Hypothesis } from './contracts.ts';
import { SPEECH_MIN_SAMPLES, TOKENS_FREE_COUNT, TOKENS_PER_SPEECH_SECOND_MAX_COUNT } from './limits.ts';

export type SuppressionReason = 'no_speech' | 'token_rate' | 'repetition';

/** Why the text of a hypothesis must be withheld, or undefined if it may be shown. */
export function judgeText(hypothesis: Hypothesis, speechSamples: number): SuppressionReason | undefined {
  if (hypothesis.text === '') return undefined;
  if (speechSamples < SPEECH_MIN_SAMPLES) return 'no_speech';
  const tokensMax = TOKENS_FREE_COUNT + (TOKENS_PER_SPEECH_SECOND_MAX_COUNT * speechSamples) / SAMPLE_RATE_HZ;
  if (hypothesis.tokens.length > tokensMax)
    return hypothesis.stop === 'repetition' ? 'repetition' : 'token_rate';
  return undefined;
}
