/** Ways to spread the speech model over a machine's cores, and which of them is the best: pure functions. */
import { INFERENCE_THREADS_MAX_COUNT, LOAD_SUSPEND_RATIO, WORKERS_MAX_COUNT } from '../../pipeline/limits.ts';

/** How many processes run the model, and the threads of each. */
export interface Placement {
  readonly workers: number;
  readonly threads: number;
}

/** What a placement achieved: seconds of live speech transcribed, partials and all, in a second. */
export interface PlacementResult extends Placement {
  readonly speechRate: number;
}

/** What is worth trying: a process a core, one core left to others, two threads each, and one process for all cores. */
export function placementsFor(machineCoreCount: number): Placement[] {
  const coreCount = Math.min(machineCoreCount, WORKERS_MAX_COUNT, INFERENCE_THREADS_MAX_COUNT);
  const tried = [
    { workers: coreCount, threads: 1 },
    { workers: coreCount - 1, threads: 1 },
    { workers: Math.floor(coreCount / 2), threads: 2 },
    { workers: 1, threads: coreCount },
  ];
  const keys = new Set<string>();
  return tried.filter(({ workers, threads }) => {
    const key = `${workers} ${threads}`;
    if (workers < 1 || keys.has(key)) return false;
    keys.add(key);
    return true;
  });
}

/** The one with the highest rate; undefined of none. */
export function bestPlacement(results: readonly PlacementResult[]): PlacementResult | undefined {
  return results.reduce<PlacementResult | undefined>(
    (best, one) => (best === undefined || one.speechRate > best.speechRate ? one : best),
    undefined,
  );
}

/** Sessions, speaking all the time, at which the server would begin to give something up. */
export function sessionsOf({ speechRate }: PlacementResult): number {
  return Math.floor(speechRate * LOAD_SUSPEND_RATIO);
}
