/** When a dead worker is started again: back-off, jitter and an intensity limit, as pure functions. */
import {
  RESTART_BACKOFF_MAX_MS,
  RESTART_BACKOFF_MIN_MS,
  RESTART_INTENSITY_COUNT,
  RESTART_INTENSITY_WINDOW_MS,
} from './limits.ts';

/** Deaths of one worker: when they happened (ascending), and how many in a row came before `ready`. */
export interface DeathHistory {
  readonly diedAtMs: readonly number[];
  readonly failedStartCount: number;
}

/** No deaths yet. */
export const NO_DEATHS: DeathHistory = { diedAtMs: [], failedStartCount: 0 };

/** The history after one more death; deaths older than the window are forgotten. */
export function withDeath(
  history: DeathHistory,
  death: { readonly atMs: number; readonly wasReady: boolean },
): DeathHistory {
  const since = death.atMs - RESTART_INTENSITY_WINDOW_MS;
  return {
    diedAtMs: [...history.diedAtMs.filter((atMs) => atMs > since), death.atMs],
    failedStartCount: death.wasReady ? 0 : history.failedStartCount + 1,
  };
}

/** What to do after the latest death: start again after a delay, or park until the storm is over. */
export interface RestartDecision {
  readonly state: 'backoff' | 'parked';
  readonly delayMs: number;
}

/**
 * The first death in the window restarts at once: a lone crash should cost its sessions nothing but the start.
 * After that the delay doubles, with a jitter of ±20 % (`random` is in [0, 1)); past the intensity limit the
 * worker is parked for a whole window.
 */
export function decideRestart(history: DeathHistory, random: number): RestartDecision {
  const recentCount = history.diedAtMs.length;
  if (recentCount > RESTART_INTENSITY_COUNT) return { state: 'parked', delayMs: RESTART_INTENSITY_WINDOW_MS };
  const steps = Math.max(recentCount - 1, history.failedStartCount);
  if (steps <= 0) return { state: 'backoff', delayMs: 0 };
  const delayMs = Math.min(RESTART_BACKOFF_MAX_MS, RESTART_BACKOFF_MIN_MS * 2 ** (steps - 1));
  return { state: 'backoff', delayMs: delayMs * (0.8 + 0.4 * random) };
}
