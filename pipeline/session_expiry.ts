/** The bounds on a session's time. */
import { isContainerEncoding } from './audio.ts';
import { InferenceError, LimitError, type TranscriptionError } from './errors.ts';
import { AUDIO_STOPPED_GRACE_MS, CONTAINER_SLICE_MAX_MS, SESSION_STOP_MAX_MS } from './limits.ts';
import type { SessionSettings } from './session_settings.ts';

/** A session's times on the clock. */
export interface SessionTimes {
  readonly nowMs: number;
  readonly idleMaxMs: number;
  /** When the client last gave a sign of life. */
  readonly heardAtMs: number;
  /** When it asked for the end; undefined while it has not. */
  readonly stoppedAtMs: number | undefined;
}

/** What a session whose time is over ends with; undefined while it may go on. */
export function expiryOf(times: SessionTimes): TranscriptionError | undefined {
  const { nowMs, idleMaxMs, heardAtMs, stoppedAtMs } = times;
  if (stoppedAtMs !== undefined) {
    if (nowMs - stoppedAtMs <= SESSION_STOP_MAX_MS) return undefined;
    const what = 'the last finals could not be computed in time';
    return new InferenceError('unavailable', what, { retryable: true });
  }
  if (nowMs - heardAtMs > idleMaxMs) {
    const what = `no audio for ${idleMaxMs / 1000} s; send keepAlive while muted`;
    return new LimitError('idle_timeout', what);
  }
  return undefined;
}

/**
 * Time without a message after which audio has stopped, and an utterance in progress ends as if silence had followed.
 * Infinite where the client waits for us, or only a flush is to end one.
 */
export function audioStoppedAfterMs({ endpointing, format, isPaced }: SessionSettings): number {
  if (isPaced) return Infinity;
  const sliceMs = isContainerEncoding(format.encoding) ? CONTAINER_SLICE_MAX_MS : 0;
  return endpointing.silenceMs + AUDIO_STOPPED_GRACE_MS + sliceMs;
}
