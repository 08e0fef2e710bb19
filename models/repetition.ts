/** Finds the loops a speech model falls into when it has lost the audio. Pure functions over token ids. */
import {
  EXHAUSTED_REPETITION_MIN_COUNT,
  EXHAUSTED_REPETITION_MIN_TOKENS_COUNT,
  REPETITION_MIN_COUNT,
  REPETITION_MIN_TOKENS_COUNT,
} from '../pipeline/limits.ts';

/** How often a phrase must be repeated, and how many tokens its copies must have together, to count as a loop. */
export interface LoopThreshold {
  readonly copies: number;
  readonly tokens: number;
}

/** While decoding goes on: high enough that "no, no, no, no" is believed. */
export const RUNNING_LOOP: LoopThreshold = {
  copies: REPETITION_MIN_COUNT,
  tokens: REPETITION_MIN_TOKENS_COUNT,
};
/** When the token budget is used up. */
export const EXHAUSTED_LOOP: LoopThreshold = {
  copies: EXHAUSTED_REPETITION_MIN_COUNT,
  tokens: EXHAUSTED_REPETITION_MIN_TOKENS_COUNT,
};

/** Length of the longest tail of `tokens` in which every token equals the one `period` before it. */
function repeatedTailLength(tokens: readonly number[], period: number): number {
  let start = tokens.length - period;
  while (start > 0 && tokens[start - 1] === tokens[start - 1 + period]) start--;
  return tokens.length - start;
}

/**
 * Length to which a looping sequence is cut so that the repeated phrase stays once; undefined if its end is no loop.
 * Costs O(n²) for n tokens at the very most, and n is at most a few hundred.
 */
export function findLoop(tokens: readonly number[], threshold: LoopThreshold): number | undefined {
  const longestPeriod = Math.floor(tokens.length / threshold.copies);
  for (let period = 1; period <= longestPeriod; period++) {
    const length = repeatedTailLength(tokens, period);
    if (length >= Math.max(threshold.tokens, threshold.copies * period)) {
      return tokens.length - length + period;
    }
  }
  return undefined;
}
