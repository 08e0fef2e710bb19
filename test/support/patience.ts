/** What a well-behaved client does about a server that is busy for a moment. */
import { setTimeout as pause } from 'node:timers/promises';
import { UNREADY_RETRY_AFTER_SECONDS } from '../../pipeline/limits.ts';

/** More than enough for workers that were parked to come back. */
const ATTEMPTS_MAX_COUNT = 20;

/** Opens a WebSocket as soon as it is served: does what a 503 asks for, and comes back. Any other refusal is thrown. */
export async function patiently<T>(open: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await open();
    } catch (error) {
      if (attempt === ATTEMPTS_MAX_COUNT || !String(error).endsWith('response: 503')) throw error;
      await pause(1_000 * UNREADY_RETRY_AFTER_SECONDS);
    }
  }
}
