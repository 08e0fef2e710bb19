/** Keeps audio from running further ahead of real time than the server takes, as after a reconnect. */
export class SendPace {
  readonly #maxMs: number;
  readonly #catchUpRatio: number;
  #aheadMs = 0;
  #atMs: number;

  /** `maxMs` is how far ahead of real time audio may be sent, and `catchUpRatio` how fast that runs out again. */
  constructor(bounds: { readonly maxMs: number; readonly catchUpRatio: number }, nowMs: number) {
    this.#maxMs = bounds.maxMs;
    this.#catchUpRatio = bounds.catchUpRatio;
    this.#atMs = nowMs;
  }

  /** True when more may be sent. */
  isOpen(nowMs: number): boolean {
    this.#aheadMs = Math.max(0, this.#aheadMs - this.#catchUpRatio * (nowMs - this.#atMs));
    this.#atMs = nowMs;
    return this.#aheadMs < this.#maxMs;
  }

  /** So much audio was sent. */
  add(durationMs: number): void {
    this.#aheadMs += durationMs;
  }
}
