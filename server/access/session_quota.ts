/** Sessions at a time, counted by whatever they are counted by. Memory is bounded by the sessions that are open. */

/** One bound that a session counts under. */
export interface Share {
  /** Names the count, such as `address 192.0.2.1`. */
  readonly name: string;
  readonly max: number;
  /** What `max` is, for whoever reaches it: `this API key`. */
  readonly holder: string;
}

export class SessionQuota {
  readonly #counts = new Map<string, number>();

  /** The first share with no room, or undefined if a session may be opened. */
  fullShare(shares: readonly Share[]): Share | undefined {
    return shares.find(({ name, max }) => (this.#counts.get(name) ?? 0) >= max);
  }

  /** Counts a session; the function returned ends that, once. */
  take(shares: readonly Share[]): () => void {
    for (const { name } of shares) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const { name } of shares) this.#giveBack(name);
    };
  }

  /** Counts that are not 0. */
  get size(): number {
    return this.#counts.size;
  }

  #giveBack(name: string): void {
    const left = (this.#counts.get(name) ?? 0) - 1;
    if (left > 0) this.#counts.set(name, left);
    else this.#counts.delete(name);
  }
}
