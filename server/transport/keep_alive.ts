/** Finds connections whose peer has gone without a word: a ping after silence, the end after more of it. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { KEEP_ALIVE_MISSED_COUNT } from '../../pipeline/limits.ts';

/** A connection that can be asked for a sign of life. */
export interface Peer {
  ping(): void;
  /** Cuts the connection of a peer that was silent for too long. */
  cutOff(limit: 'silence'): void;
}

/**
 * One timer for all connections. A peer that says nothing is terminated after two to three intervals; anything
 * it sends, a pong included, starts its time again.
 */
export class KeepAlive {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  /** Sweeps since each peer was heard. */
  readonly #silence = new Map<Peer, number>();
  #cancel: Cancel | undefined;

  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /** A new peer, or a sign of life from one. */
  heard(peer: Peer): void {
    this.#silence.set(peer, 0);
    this.#cancel ??= this.#clock.after(this.#intervalMs, () => {
      this.#sweep();
    });
  }

  forget(peer: Peer): void {
    this.#silence.delete(peer);
    if (this.#silence.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #sweep(): void {
    this.#cancel = this.#clock.after(this.#intervalMs, () => {
      this.#sweep();
    });
    for (const [peer, sweeps] of [...this.#silence]) {
      this.#silence.set(peer, sweeps + 1);
      if (sweeps >= KEEP_ALIVE_MISSED_COUNT) {
        this.forget(peer); // Its end may be told only after the next sweep.
        peer.cutOff('silence');
      } else if (sweeps > 0) peer.ping();
    }
  }
}
