/**
 * Audio messages that have ended workers, known again by their content whichever session sends them. Nothing is hashed
 * while nothing is remembered.
 */
import { createHash } from 'node:crypto';
import type { AudioFormat } from './audio.ts';
import type { Clock } from './clock.ts';
import { POISON_MESSAGE_MIN_BYTES, QUARANTINE_AGE_MAX_MS } from './limits.ts';
import { setBounded } from './poison_memory.ts';

export class PoisonMessages {
  readonly #clock: Clock;
  /** Expiry by encoding and content, the oldest first. */
  readonly #expiresAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Knows this message from now on, unless it is so short that healthy audio may well contain it. */
  remember(bytes: Uint8Array, format: AudioFormat): void {
    if (bytes.length < POISON_MESSAGE_MIN_BYTES) return;
    setBounded(this.#expiresAtMs, nameOf(bytes, format), this.#clock.nowMs() + QUARANTINE_AGE_MAX_MS);
  }

  has(bytes: Uint8Array, format: AudioFormat): boolean {
    if (this.#expiresAtMs.size === 0 || bytes.length < POISON_MESSAGE_MIN_BYTES) return false;
    const name = nameOf(bytes, format);
    const expiresAtMs = this.#expiresAtMs.get(name);
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs > this.#clock.nowMs()) return true;
    this.#expiresAtMs.delete(name);
    return false;
  }
}

function nameOf(bytes: Uint8Array, { encoding }: AudioFormat): string {
  return `${encoding} ${createHash('sha256').update(bytes).digest('hex')}`;
}
