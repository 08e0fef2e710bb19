/** How often partials can be afforded, as a pure function. */

import { PARTIAL_COST_INTERVAL_MAX_MS, PARTIAL_SOURCE_SHARE, PARTIAL_SLOT_SHARE } from './limits.ts';

/**
 * Time in ms between two partials of one utterance: the base interval while the slots can keep up, more when one
 * round of partials for every speaking session (`roundCostMs` of slot time) would take more than its share.
 * `slotCount` is at least 1.
 */
export function partialIntervalMs(load: {
  readonly baseMs: number;
  readonly roundCostMs: number;
  readonly slotCount: number;
}): number {
  return Math.max(load.baseMs, load.roundCostMs / (load.slotCount * PARTIAL_SLOT_SHARE));
}

/**
 * Time in ms from the start of a partial that took `costMs` of a slot to the next of the same utterance. What is said
 * so far is transcribed anew each time: the longer an utterance, the rarer its partials, up to one in 0.8 s.
 */
export function nextPartialMs({
  intervalMs,
  costMs,
}: {
  readonly intervalMs: number;
  readonly costMs: number;
}): number {
  return Math.max(intervalMs, Math.min(costMs / PARTIAL_SOURCE_SHARE, PARTIAL_COST_INTERVAL_MAX_MS));
}
