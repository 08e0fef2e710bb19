/** Estimated times of words, for models that give none. */
import type { TimedWord } from './session_events.ts';

/**
 * Spreads the words of a text over a span of audio in proportion to their length in letters (plus one for the
 * pause after each). A stand-in that is honest about itself: every word is marked as estimated.
 */
export function estimateWordTimes(
  text: string,
  span: { readonly startAudioMs: number; readonly endAudioMs: number },
): readonly TimedWord[] {
  const words = text.split(' ').filter((word) => word !== '');
  const weights = words.map((word) => word.length + 1);
  const totalWeight = weights.reduce((sum, weight) => sum + weight, 0);
  const msPerWeight = (span.endAudioMs - span.startAudioMs) / totalWeight;
  let weightBefore = 0;
  return words.map((word, index) => {
    const startAudioMs = Math.round(span.startAudioMs + weightBefore * msPerWeight);
    weightBefore += weights[index] ?? 0;
    const endAudioMs = Math.round(span.startAudioMs + weightBefore * msPerWeight);
    return { text: word, startAudioMs, endAudioMs, estimated: true };
  });
}
