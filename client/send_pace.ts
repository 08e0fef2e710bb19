/** Keeps audio from running further ahead of real time than the server takes, as after a reconnect. */
export class SendPace {
  readonly #maxMs: number;
  #aheadMs = 0;
  #atMs: number;

  /** `maxMs` is how far ahead of real time audio may be sent. */
  constructor(maxMs: number, nowMs: number) {
    this.#maxMs = maxMs;
    this.#atMs = nowMs;
  }

  /** True when more may be sent. */
  isOpen(nowMs: number): boolean {
    this.#aheadMs = Math.max(0, this.#aheadMs - (nowMs - this.#atMs));
    this.#atMs = nowMs;
    return this.#aheadMs < this.#maxMs;
  }

  /** So much audio was sent. */
  add(durationMs: number): void {
    this.#aheadMs += durationMs;
  }
}
