/** What a client says to a session that takes it at its own pace: one thing after the other, each as soon as it is taken. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { INPUT_OVERHEAD_BYTES, PACED_RETRY_MS } from '../../pipeline/limits.ts';

/** Says one thing; `full` if that has to be tried again. */
export type Act = () => 'accepted' | 'full';

export class PacedInput {
  readonly #clock: Clock;
  readonly #waiting: { readonly act: Act; readonly bytes: number }[] = [];
  #waitingBytes = 0;
  #cancel: Cancel | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Of what waits. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Does `act` at once if nothing waits before it; `heldBytes` is what it holds; it counts for some itself. */
  push(act: Act, heldBytes = 0): void {
    const bytes = heldBytes + INPUT_OVERHEAD_BYTES;
    this.#waiting.push({ act, bytes });
    this.#waitingBytes += bytes;
    if (this.#cancel === undefined) this.#go();
  }

  /** Forgets what waits. */
  close(): void {
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #go(): void {
    this.#cancel = undefined;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (next.act() === 'full') {
        this.#cancel = this.#clock.after(PACED_RETRY_MS, () => {
          this.#go();
        });
        return;
      }
      // What was done may have closed all of this.
      if (this.#waiting[0] !== next) return;
      this.#waiting.shift();
      this.#waitingBytes -= next.bytes;
    }
  }
}
