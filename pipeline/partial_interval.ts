/** How often partials can be afforded, as a pure function. */

import { PARTIAL_SLOT_SHARE } from './limits.ts';

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
