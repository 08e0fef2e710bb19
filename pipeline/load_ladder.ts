/**
 * What the server does under load, as pure functions: measured shares make one pressure, pressure makes a rung. Each
 * rung gives up what costs people least: partials first, then new sessions, then those in which nobody speaks. Nobody
 * who speaks is on any rung.
 */
import {
  LOAD_HYSTERESIS_RATIO,
  LOAD_REFUSE_RATIO,
  LOAD_SHED_RATIO,
  LOAD_SUSPEND_RATIO,
  LOAD_WINDOW_COUNT,
} from './limits.ts';

/** The rungs, the lowest first; on each of them everything below it holds too. */
export const RUNGS = ['calm', 'partials_suspended', 'refusing', 'shedding'] as const;
export type Rung = (typeof RUNGS)[number];

/** Where load can come from. */
export const LOAD_SOURCES = ['finals', 'final_wait', 'audio', 'event_loop', 'memory'] as const;
export type LoadSource = (typeof LOAD_SOURCES)[number];

/**
 * Shares of what there is, 1 is all of it: of the slots' time, for finals alone (partials yield by themselves); of the
 * longest wait of a final; of the audio workers' time; of the gateway's event loop; of the memory.
 */
export type LoadShares = Readonly<Record<LoadSource, number>>;

const THRESHOLDS: readonly number[] = [0, LOAD_SUSPEND_RATIO, LOAD_REFUSE_RATIO, LOAD_SHED_RATIO];

/** The pressure: the scarcest decides, for plenty of one thing does not make up for the lack of another. */
export function pressureOf(shares: LoadShares): { readonly pressure: number; readonly source: LoadSource } {
  let source: LoadSource = LOAD_SOURCES[0];
  for (const candidate of LOAD_SOURCES) if (shares[candidate] > shares[source]) source = candidate;
  return { pressure: shares[source], source };
}

/** The rung that a pressure leads to; one that has been reached is left only when the pressure is well below it. */
export function nextRung(rung: Rung, pressure: number): Rung {
  const current = RUNGS.indexOf(rung);
  let next = 0;
  for (const [index, threshold] of THRESHOLDS.entries()) {
    const bound = index <= current ? threshold - LOAD_HYSTERESIS_RATIO : threshold;
    if (pressure >= bound) next = index;
  }
  return RUNGS[next] ?? 'calm';
}

/** True if what `wanted` does is being done on `rung`. */
export function isAtLeast(rung: Rung, wanted: Rung): boolean {
  return RUNGS.indexOf(rung) >= RUNGS.indexOf(wanted);
}

/**
 * How many more sessions like the present ones would fit before new ones are refused, in proportion to what these
 * cost now: at most `freeCount`, and that many where there is nothing to measure.
 */
export function headroomCount(load: {
  /** The pressure, or the share of the slots' time with partials if that is more. */
  readonly usedRatio: number;
  readonly sessionCount: number;
  readonly freeCount: number;
}): number {
  const { usedRatio, sessionCount, freeCount } = load;
  if (sessionCount === 0 || usedRatio <= 0) return freeCount;
  const fittingCount = Math.floor((sessionCount * (LOAD_REFUSE_RATIO - usedRatio)) / usedRatio);
  return Math.max(0, Math.min(freeCount, fittingCount));
}

/**
 * Means over the last LOAD_WINDOW_COUNT samples; what was before the first counts as rest, so that a start is calm. One
 * sample may be above 1, for a job counts when it ends; a mean is not.
 */
export class LoadWindow {
  readonly #samples: LoadShares[] = [];

  /** Takes a sample and returns the means. */
  push(sample: LoadShares): LoadShares {
    this.#samples.push(sample);
    if (this.#samples.length > LOAD_WINDOW_COUNT) this.#samples.shift();
    const mean = (source: LoadSource): number =>
      Math.min(1, this.#samples.reduce((sum, shares) => sum + shares[source], 0) / LOAD_WINDOW_COUNT);
    return {
      finals: mean('finals'),
      final_wait: mean('final_wait'),
      audio: mean('audio'),
      event_loop: mean('event_loop'),
      memory: mean('memory'),
    };
  }
}
