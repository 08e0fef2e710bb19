/** A stream that is written to without ever waiting for whoever reads it. */
import type { Clock } from '../pipeline/clock.ts';
import { LOG_BUFFER_MAX_BYTES } from '../pipeline/limits.ts';

/** What is needed of `process.stdout`; any `Writable` will do. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly writableLength: number;
  write(text: string, done: (error?: Error | null) => void): boolean;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/**
 * Writes lines while at most LOG_BUFFER_MAX_BYTES wait, and drops the others. Node writes to pipes and sockets without
 * blocking, so this needs no thread; a thread in the middle of a blocked write would keep the process from ending.
 * (A terminal stopped with Ctrl-S does block: it is one person's own.)
 */
export class BoundedOutput {
  readonly #stream: OutputStream;
  readonly #onResume: (droppedCount: number) => void;
  readonly #idleWaiters = new Set<() => void>();
  #pendingCount = 0;
  #untakenDropCount = 0;
  /** Since the last time nothing waited. */
  #gapCount = 0;
  #isBroken = false;

  /** `onResume` is called when nothing waits any more, after lines were dropped. */
  constructor(stream: OutputStream, onResume: (droppedCount: number) => void) {
    this.#stream = stream;
    this.#onResume = onResume;
    // The reader has gone (EPIPE) or the disk is full: a stream that failed once takes nothing any more.
    stream.on('error', () => {
      this.#isBroken = true;
    });
  }

  write(line: string): void {
    if (this.#isBroken || this.#stream.writableLength >= LOG_BUFFER_MAX_BYTES) {
      this.#drop();
      return;
    }
    this.#pendingCount++;
    this.#stream.write(line, (error) => {
      this.#settle(error ?? undefined);
    });
  }

  /** Resolves when no line waits any more, after `maxMs` at the latest. */
  flush(clock: Clock, maxMs: number): Promise<void> {
    if (this.#pendingCount === 0 || this.#isBroken) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = clock.after(maxMs, finish);
      const waiters = this.#idleWaiters;
      function finish(): void {
        cancel();
        waiters.delete(finish);
        resolve();
      }
      waiters.add(finish);
    });
  }

  /** Lines dropped since the last call. */
  takeDroppedCount(): number {
    const count = this.#untakenDropCount;
    this.#untakenDropCount = 0;
    return count;
  }

  #settle(error: Error | undefined): void {
    this.#pendingCount--;
    if (error !== undefined) this.#drop();
    if (this.#pendingCount > 0) return;
    const gapCount = this.#gapCount;
    this.#gapCount = 0;
    // The line that says so is pending now, so whoever waits goes on waiting until it is written.
    if (gapCount > 0 && error === undefined) this.#onResume(gapCount);
    else for (const finish of [...this.#idleWaiters]) finish();
  }

  #drop(): void {
    this.#gapCount++;
    this.#untakenDropCount++;
  }
}
