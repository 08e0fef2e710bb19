/** How often an address may connect: a token bucket each (ITU-T I.371), in bounded memory. */
import type { Clock } from '../../pipeline/clock.ts';

interface Bucket {
  /** Connections left at `atMs`. */
  readonly level: number;
  readonly atMs: number;
}

export interface RateLimitOptions {
  readonly clock: Clock;
  readonly perMinute: number;
  /** Connections at once, after a pause; at least 1. */
  readonly burst: number;
  /** Addresses that are remembered. */
  readonly maxCount: number;
}

export class RateLimit {
  readonly #options: RateLimitOptions;
  /** The one used longest ago comes first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Addresses that are remembered now. */
  get count(): number {
    return this.#buckets.size;
  }

  /** Counts a connection of this address: 0 if it may go on, else the time in ms after which one may. */
  take(address: string): number {
    const { clock, perMinute, burst, maxCount } = this.#options;
    const nowMs = clock.nowMs();
    const perMs = perMinute / 60_000;
    const old = this.#buckets.get(address) ?? { level: burst, atMs: nowMs };
    const level = Math.min(burst, old.level + (nowMs - old.atMs) * perMs);
    // A refused connection costs nothing, so that whoever waits as told is let in.
    const isAllowed = level >= 1;
    this.#buckets.delete(address);
    this.#buckets.set(address, { level: isAllowed ? level - 1 : level, atMs: nowMs });
    // The one forgotten has not connected for the longest time; as a rule its bucket was full again.
    if (this.#buckets.size > maxCount) this.#forgetOldest();
    return isAllowed ? 0 : (1 - level) / perMs;
  }

  #forgetOldest(): void {
    for (const address of this.#buckets.keys()) {
      this.#buckets.delete(address);
      return;
    }
  }
}
