import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { msToSamples } from '../../pipeline/audio.ts';
import { LOAD_HYSTERESIS_RATIO, LOAD_REFUSE_RATIO, LOAD_WINDOW_COUNT } from '../../pipeline/limits.ts';
import {
  headroomCount,
  isAtLeast,
  LoadWindow,
  nextRung,
  pressureOf,
  RUNGS,
  type LoadShares,
  type Rung,
} from '../../pipeline/load_ladder.ts';
import { settle } from '../support/fake_clock.ts';
import { FakeSource, INTERVAL_MS, SchedulerSetting } from '../support/scheduler_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const REST: LoadShares = { finals: 0, final_wait: 0, audio: 0, event_loop: 0, memory: 0 };

function climb(pressures: readonly number[]): readonly Rung[] {
  let rung: Rung = 'calm';
  return pressures.map((pressure) => (rung = nextRung(rung, pressure)));
}

describe('load ladder', () => {
  it('[LAD1] partials go first, then new sessions, then quiet ones, and the way back is the same', () => {
    const up = climb([0.69, 0.7, 0.85, 0.92, 1]);
    assert.deepEqual(up, ['calm', 'partials_suspended', 'refusing', 'shedding', 'shedding']);
    assert.deepEqual(climb([1, 0.86, 0.79, 0.64]), ['shedding', 'refusing', 'partials_suspended', 'calm']);
    assert(isAtLeast('shedding', 'refusing') && isAtLeast('refusing', 'refusing'));
    assert(!isAtLeast('partials_suspended', 'refusing'));
  });

  it('[LAD2] a rung is left only when the pressure is well below it: around a bound nothing flaps', () => {
    assert.deepEqual(new Set(climb([0.86, 0.84, 0.86, 0.81, 0.85])), new Set(['refusing']));
    assert.deepEqual(climb([0.93, 0.88, 0.92, 0.87 - 0.001]).at(-1), 'refusing');
    fc.assert(
      fc.property(fc.constantFrom(...RUNGS), fc.double({ min: 0, max: 2, noNaN: true }), (rung, pressure) => {
        const once = nextRung(rung, pressure);
        assert.equal(nextRung(once, pressure), once, 'the same pressure leads no further');
        const nudged = nextRung(once, pressure - LOAD_HYSTERESIS_RATIO * 0.5);
        if (RUNGS.indexOf(once) > RUNGS.indexOf(rung)) assert.equal(nudged, once);
      }),
    );
  });

  it('[LAD3] the scarcest decides, and is named', () => {
    assert.deepEqual(pressureOf({ ...REST, finals: 0.2, memory: 0.9 }), { pressure: 0.9, source: 'memory' });
    assert.deepEqual(pressureOf(REST), { pressure: 0, source: 'finals' });
  });

  it('[LAD4] one stall or one burst is no load: only what lasts counts, and it is forgotten after a window', () => {
    const window = new LoadWindow();
    const once = window.push({ ...REST, event_loop: 1, final_wait: 1 });
    assert.equal(pressureOf(once).pressure, 1 / LOAD_WINDOW_COUNT);
    for (let i = 1; i < LOAD_WINDOW_COUNT; i++) window.push(REST);
    assert.deepEqual(window.push(REST), REST);
    let last = REST;
    for (let i = 0; i < LOAD_WINDOW_COUNT; i++) last = window.push({ ...REST, finals: 0.9 });
    assert(Math.abs(last.finals - 0.9) < 1e-9);
  });

  it('[LAD5] headroom is what fits in proportion to the present cost, never more than is free, and 0 when refusing', () => {
    const half = { usedRatio: LOAD_REFUSE_RATIO / 2, sessionCount: 10 };
    assert.equal(headroomCount({ ...half, freeCount: 100 }), 10);
    assert.equal(headroomCount({ ...half, freeCount: 3 }), 3);
    assert.equal(headroomCount({ ...half, usedRatio: LOAD_REFUSE_RATIO, freeCount: 100 }), 0);
    assert.equal(headroomCount({ ...half, usedRatio: 2, freeCount: 100 }), 0);
    assert.equal(headroomCount({ usedRatio: 0.3, sessionCount: 0, freeCount: 7 }), 7);
  });

  it('[SCH45] partials are held for a load that is measured elsewhere, and come back when it has gone', async () => {
    const setting = new SchedulerSetting();
    setting.scheduler.holdPartials(true);
    setting.scheduler.addSource(new FakeSource(msToSamples(1_000)));
    await setting.clock.advance(2 * INTERVAL_MS);
    assert.deepEqual([setting.suspensions, setting.started], [[true], []]);
    setting.final('still', 7);
    assert.deepEqual(setting.started, [7]);
    setting.pool.first.succeed(hypothesisOf('x'));
    await settle();
    setting.scheduler.holdPartials(false);
    assert.deepEqual(setting.suspensions, [true, false]);
    await settle();
    assert.equal(setting.started.length, 2, 'what is due starts at once');
  });
});
