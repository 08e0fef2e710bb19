/** The bounds on a session's time. */
import { InferenceError, LimitError, type TranscriptionError } from './errors.ts';
import { SESSION_MAX_MS, SESSION_STOP_MAX_MS } from './limits.ts';

/** A session's times on the clock. */
export interface SessionTimes {
  readonly nowMs: number;
  readonly openedAtMs: number;
  readonly idleMaxMs: number;
  /** When the client last gave a sign of life. */
  readonly heardAtMs: number;
  /** When it asked for the end; undefined while it has not. */
  readonly stoppedAtMs: number | undefined;
}

/** What a session whose time is over ends with; undefined while it may go on. */
export function expiryOf(times: SessionTimes): TranscriptionError | undefined {
  const { nowMs, openedAtMs, idleMaxMs, heardAtMs, stoppedAtMs } = times;
  if (stoppedAtMs !== undefined) {
    if (nowMs - stoppedAtMs <= SESSION_STOP_MAX_MS) return undefined;
    const what = 'the last finals could not be computed in time';
    return new InferenceError('unavailable', what, { retryable: true });
  }
  if (nowMs - openedAtMs > SESSION_MAX_MS) {
    const what = `a session lasts at most ${SESSION_MAX_MS / 60_000} minutes; open a new one`;
    return new LimitError('session_too_long', what);
  }
  if (nowMs - heardAtMs > idleMaxMs) {
    const what = `no audio for ${idleMaxMs / 1000} s; send keepAlive while muted`;
    return new LimitError('idle_timeout', what);
  }
  return undefined;
}
