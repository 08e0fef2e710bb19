/** Looks for the largest load that a server bears: doubling until it does not, then halving the interval. */
import {
  LOAD_CAPACITY_PRECISION_RATIO,
  LOAD_SESSIONS_MAX_COUNT,
  LOAD_TRIALS_MAX_COUNT,
} from '../../pipeline/limits.ts';

/** A load that was tried. */
export interface Trial {
  readonly sessionCount: number;
  readonly isBorne: boolean;
}

/**
 * The load to try next, given what was tried, in any order; undefined when the answer is known well enough. A load is
 * never tried twice, and no more than LOAD_TRIALS_MAX_COUNT are.
 */
export function nextTrial(trials: readonly Trial[], firstCount: number): number | undefined {
  if (trials.length >= LOAD_TRIALS_MAX_COUNT) return undefined;
  if (trials.length === 0) return firstCount;
  const borne = capacityOf(trials);
  const unborne = Math.min(
    ...trials.filter(({ isBorne }) => !isBorne).map(({ sessionCount }) => sessionCount),
  );
  if (unborne === Infinity) {
    return borne >= LOAD_SESSIONS_MAX_COUNT ? undefined : Math.min(2 * borne, LOAD_SESSIONS_MAX_COUNT);
  }
  if (unborne - borne <= Math.max(1, borne * LOAD_CAPACITY_PRECISION_RATIO)) return undefined;
  return Math.floor((borne + unborne) / 2);
}

/** The largest load that was borne below the least that was not; 0 if none was. */
export function capacityOf(trials: readonly Trial[]): number {
  const unborne = Math.min(
    ...trials.filter(({ isBorne }) => !isBorne).map(({ sessionCount }) => sessionCount),
  );
  return Math.max(
    0,
    ...trials
      .filter(({ isBorne, sessionCount }) => isBorne && sessionCount < unborne)
      .map((t) => t.sessionCount),
  );
}
