import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BatchSize, nextBatchSize } from '../../pipeline/batch_size.ts';
import { BATCH_MAX_COUNT, BATCH_OBJECTIVE_MS, BATCH_START_COUNT } from '../../pipeline/limits.ts';

/** A device that takes so long for any batch, and so much more for each row. */
function runOn(fixedMs: number, rowMs: number, maxCount = BATCH_MAX_COUNT): BatchSize {
  const size = new BatchSize(maxCount);
  for (let run = 0; run < 200; run++) {
    // Now and then less waits than would be taken.
    const rows = run % 3 === 0 ? Math.max(1, size.count >> 1) : size.count;
    size.note({ rows, tookMs: fixedMs + rows * rowMs });
  }
  return size;
}

describe('batch size', () => {
  it('[BAT6] grows while full batches take less than half of the objective, and falls when they miss it', () => {
    const [quickMs, slowMs] = [BATCH_OBJECTIVE_MS / 3, BATCH_OBJECTIVE_MS * 2];
    assert.equal(nextBatchSize(4, { rows: 4, tookMs: quickMs }), 8);
    assert.equal(nextBatchSize(4, { rows: 3, tookMs: quickMs }), 4);
    assert.equal(nextBatchSize(8, { rows: 8, tookMs: slowMs }), 4);
    assert.equal(nextBatchSize(8, { rows: 1, tookMs: slowMs }), 8);
  });

  it('[BAT6] settles where a batch meets the objective, at most at the bound, and is 1 on the CPU', () => {
    assert.equal(runOn(10, 0.5).count, BATCH_MAX_COUNT);
    const { count } = runOn(10, 20);
    assert.ok(count >= 2 && 10 + 20 * count <= BATCH_OBJECTIVE_MS * 1.5, String(count));
    assert.equal(runOn(1, 1, 1).count, 1);
    assert.equal(new BatchSize(BATCH_MAX_COUNT).count, BATCH_START_COUNT);
  });

  it('[BAT7] a job stands for its part of a full batch: little where many take as long as one', () => {
    const flat = runOn(50, 0);
    assert.ok(Math.abs(flat.shareOf(1) - 1 / flat.count) < 0.02, String(flat.shareOf(1)));
    const steep = runOn(0, 10);
    assert.ok(Math.abs(steep.shareOf(1) - 1) < 0.02, String(steep.shareOf(1)));
    assert.equal(new BatchSize(1).shareOf(1), 1);
  });

  it('[BAT7] whatever the times are, a share is a part of its slot and the shares of a batch are no more than it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ rows: fc.nat(31), tookMs: fc.double({ min: 0, max: 1e4, noNaN: true }) })),
        (runs) => {
          const size = new BatchSize(BATCH_MAX_COUNT);
          for (const { rows, tookMs } of runs) {
            size.note({ rows: rows + 1, tookMs });
            const share = size.shareOf(rows + 1);
            assert.ok(share > 0 && share * (rows + 1) <= 1 + 1e-9, String(share));
          }
        },
      ),
    );
  });
});
