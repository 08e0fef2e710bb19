import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  RESTART_BACKOFF_MAX_MS,
  RESTART_BACKOFF_MIN_MS,
  RESTART_INTENSITY_COUNT,
  RESTART_INTENSITY_WINDOW_MS,
} from '../../pipeline/limits.ts';
import { decideRestart, NO_DEATHS, withDeath, type DeathHistory } from '../../pipeline/restart_policy.ts';

const CENTRE = 0.5;

function afterDeaths(atMs: readonly number[], wasReady: boolean): DeathHistory {
  return atMs.reduce<DeathHistory>((history, at) => withDeath(history, { atMs: at, wasReady }), NO_DEATHS);
}

describe('restart policy', () => {
  it('[SUP1] a lone crash restarts at once, whenever it comes', () => {
    const hourly = [0, 3_600_000, 7_200_000, 10_800_000];
    for (let count = 1; count <= hourly.length; count++) {
      const decision = decideRestart(afterDeaths(hourly.slice(0, count), true), CENTRE);
      assert.deepEqual(decision, { state: 'backoff', delayMs: 0 });
    }
  });

  it('[SUP2] deaths in one window double the delay from the first step on', () => {
    const delays = [1, 2, 3, 4, 5].map((count) => {
      const atMs = Array.from({ length: count }, (_, index) => 1_000 + index);
      return decideRestart(afterDeaths(atMs, true), CENTRE).delayMs;
    });
    assert.deepEqual(delays, [0, ...[1, 2, 4, 8].map((factor) => factor * RESTART_BACKOFF_MIN_MS)]);
  });

  it('[SUP3] the jitter is a fifth to either side, and the delay is capped', () => {
    const twice = afterDeaths([0, 1], true);
    assert.equal(decideRestart(twice, 0).delayMs, RESTART_BACKOFF_MIN_MS * 0.8);
    assert(Math.abs(decideRestart(twice, 0.999_999).delayMs - RESTART_BACKOFF_MIN_MS * 1.2) < 0.001);
    const slowFailures = Array.from({ length: 40 }, (_, index) => index * RESTART_INTENSITY_WINDOW_MS);
    assert.equal(decideRestart(afterDeaths(slowFailures, false), CENTRE).delayMs, RESTART_BACKOFF_MAX_MS);
  });

  it('[SUP4] one death more than the intensity limit in a window parks for a window', () => {
    const atLimit = Array.from({ length: RESTART_INTENSITY_COUNT }, (_, index) => index);
    assert.equal(decideRestart(afterDeaths(atLimit, true), CENTRE).state, 'backoff');
    const over = afterDeaths([...atLimit, RESTART_INTENSITY_COUNT], true);
    assert.deepEqual(decideRestart(over, CENTRE), { state: 'parked', delayMs: RESTART_INTENSITY_WINDOW_MS });
  });

  it('[SUP5] failed starts in a row back off even when they are slower than the window; a ready one ends the row', () => {
    const failed = afterDeaths([0, 60_000, 120_000], false);
    assert.equal(decideRestart(failed, CENTRE).delayMs, RESTART_BACKOFF_MIN_MS * 4);
    const cured = withDeath(failed, { atMs: 180_000, wasReady: true });
    assert.equal(decideRestart(cured, CENTRE).delayMs, 0);
  });

  it('[SUP6] whatever the deaths, the history is bounded by the window and the delay by its cap', () => {
    const gaps = fc.array(fc.tuple(fc.nat(RESTART_INTENSITY_WINDOW_MS), fc.boolean()), { maxLength: 60 });
    fc.assert(
      fc.property(gaps, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (deaths, random) => {
        let history = NO_DEATHS;
        let atMs = 0;
        for (const [gapMs, wasReady] of deaths) {
          atMs += gapMs;
          history = withDeath(history, { atMs, wasReady });
          assert(history.diedAtMs.every((diedAtMs) => atMs - diedAtMs < RESTART_INTENSITY_WINDOW_MS));
          const { delayMs } = decideRestart(history, random);
          assert(delayMs >= 0 && delayMs <= RESTART_BACKOFF_MAX_MS * 1.2);
        }
      }),
    );
  });
});
