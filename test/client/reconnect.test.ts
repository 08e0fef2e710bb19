import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_RECONNECT, reconnectDelayMs } from '../../client/reconnect.ts';

describe('the reconnect policy', () => {
  it('[REC1] delays double up to the bound and then end', () => {
    const policy = { firstDelayMs: 100, maxDelayMs: 1_000, maxAttempts: 6 };
    const delays = [1, 2, 3, 4, 5, 6, 7].map((attempt) => reconnectDelayMs(policy, attempt, 0.999_999));
    assert.deepEqual(
      delays.map((delayMs) => delayMs && Math.round(delayMs)),
      [100, 200, 400, 800, 1_000, 1_000, undefined],
    );
  });

  it('[REC2] a delay is jittered over the upper half of its bound', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: DEFAULT_RECONNECT.maxAttempts }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, random) => {
          const boundMs = Math.min(
            DEFAULT_RECONNECT.maxDelayMs,
            DEFAULT_RECONNECT.firstDelayMs * 2 ** (attempt - 1),
          );
          const delayMs = reconnectDelayMs(DEFAULT_RECONNECT, attempt, random);
          assert(delayMs !== undefined && delayMs >= boundMs / 2 && delayMs <= boundMs);
        },
      ),
    );
    const spread = [0, 0.5, 0.9].map((random) => reconnectDelayMs(DEFAULT_RECONNECT, 1, random));
    assert.deepEqual(spread, [125, 187.5, 237.5]);
  });
});
