/** Work on a disk that may be slow or never answer: one piece after another, bounded, and never waited for without end. */
import type { Clock } from '../../pipeline/clock.ts';
import { DISK_QUEUE_MAX_COUNT, DISK_WAIT_MAX_MS } from '../../pipeline/limits.ts';

export class DiskQueue {
  readonly #clock: Clock;
  #last: Promise<void> = Promise.resolve();
  #waitingCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Does the work when its turn comes; `full` if too much waits already. `work` must not reject. */
  push(work: () => Promise<void>): 'accepted' | 'full' {
    if (this.#waitingCount >= DISK_QUEUE_MAX_COUNT) return 'full';
    this.#waitingCount++;
    this.#last = this.#last.then(async () => {
      await work();
      this.#waitingCount--;
    });
    return 'accepted';
  }

  /** Resolves when all is done that was pushed so far, after DISK_WAIT_MAX_MS at the latest. */
  async settled(): Promise<void> {
    let cancel: (() => void) | undefined;
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#clock.after(DISK_WAIT_MAX_MS, resolve);
    });
    await Promise.race([this.#last, deadline]);
    cancel?.();
  }
}
