/** When a lost connection is tried again. */
export interface ReconnectPolicy {
  /** Upper bound of the first delay; it doubles with each attempt … */
  readonly firstDelayMs: number;
  /** … up to this. */
  readonly maxDelayMs: number;
  /** Attempts in a row without success after which the client gives up. */
  readonly maxAttempts: number;
}

/**
 * Somebody is speaking meanwhile, so no delay is longer than 2 s; gives up after 38 to 76 s of refusals, about when the
 * audio that is kept by default (60 s) has to be dropped.
 */
export const DEFAULT_RECONNECT: ReconnectPolicy = { firstDelayMs: 250, maxDelayMs: 2_000, maxAttempts: 40 };

/**
 * Delay before attempt 1, 2, 3 … in ms, or undefined when there shall be no more attempts. Exponential, with the
 * upper half jittered, so that the clients of a server that died do not come back in step. `random` is in [0, 1).
 */
export function reconnectDelayMs(
  policy: ReconnectPolicy,
  attempt: number,
  random: number,
): number | undefined {
  if (attempt > policy.maxAttempts) return undefined;
  const boundMs = Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** (attempt - 1));
  return (boundMs / 2) * (1 + random);
}
