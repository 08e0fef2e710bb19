/** How many jobs a slot takes at once: as many as its device runs within the objective, found out by running them. */
import { BATCH_OBJECTIVE_MS, BATCH_START_COUNT, BATCH_TIME_WEIGHT_RATIO } from './limits.ts';

/** A batch that was run. */
export interface BatchRun {
  readonly rows: number;
  readonly tookMs: number;
}

/**
 * The size after a batch: half where the objective was missed, or what would have met it; twice where a full batch
 * took less than half of it.
 */
export function nextBatchSize(size: number, { rows, tookMs }: BatchRun): number {
  if (tookMs > BATCH_OBJECTIVE_MS && rows > 1)
    return Math.max(
      1,
      Math.floor(size / 2),
      Math.min(size, Math.floor((rows * BATCH_OBJECTIVE_MS) / tookMs)),
    );
  return rows >= size && tookMs < BATCH_OBJECTIVE_MS / 2 ? size * 2 : size;
}

/**
 * The size for one slot, and the part of the slot's time that a job of a batch stands for: what it would take in a full
 * batch. On a device that runs many as fast as one, a batch of two has cost little of what the device can do.
 */
export class BatchSize {
  readonly #deviceMaxCount: number;
  #maxCount: number;
  #count: number;
  /** Weighted sums over the runs so far, for a line through time and rows: recent runs weigh more. */
  #sums = { weight: 0, rows: 0, ms: 0, rowsRows: 0, rowsMs: 0 };

  constructor(maxCount: number) {
    this.#deviceMaxCount = maxCount;
    this.#maxCount = maxCount;
    this.#count = Math.min(maxCount, BATCH_START_COUNT);
  }

  get count(): number {
    return this.#count;
  }

  /** The device has memory for no more than this at present. */
  limit(maxCount: number): void {
    this.#maxCount = Math.max(1, Math.min(this.#deviceMaxCount, maxCount));
    this.#count = Math.min(this.#count, this.#maxCount);
  }

  note(run: BatchRun): void {
    const { rows, tookMs } = run;
    const kept = 1 - BATCH_TIME_WEIGHT_RATIO;
    const { weight, rows: rowSum, ms, rowsRows, rowsMs } = this.#sums;
    this.#sums = {
      weight: weight * kept + 1,
      rows: rowSum * kept + rows,
      ms: ms * kept + tookMs,
      rowsRows: rowsRows * kept + rows * rows,
      rowsMs: rowsMs * kept + rows * tookMs,
    };
    this.#count = Math.min(this.#maxCount, nextBatchSize(this.#count, run));
  }

  /** The part of its slot's time that each job of a batch of so many rows stands for, at most an equal one. */
  shareOf(rows: number): number {
    const full = this.#count;
    if (rows >= full) return 1 / rows;
    const { fixedMs, rowMs } = this.#line();
    const share = (fixedMs + rowMs * full) / (full * (fixedMs + rowMs * rows));
    return Number.isFinite(share) ? Math.min(1 / rows, share) : 1 / rows;
  }

  /** Least squares; as long as all batches were of one size, time is taken to grow with the rows. */
  #line(): { readonly fixedMs: number; readonly rowMs: number } {
    const { weight, rows, ms, rowsRows, rowsMs } = this.#sums;
    const spread = weight * rowsRows - rows * rows;
    if (spread < 1e-9 * rowsRows * weight) return { fixedMs: 0, rowMs: ms / rows };
    const rowMs = Math.max(0, (weight * rowsMs - rows * ms) / spread);
    return { fixedMs: Math.max(0, (ms - rowMs * rows) / weight), rowMs };
  }
}
