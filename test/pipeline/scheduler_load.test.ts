import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { msToSamples } from '../../pipeline/audio.ts';
import {
  FINAL_OBJECTIVE_MS,
  FINAL_WAIT_FULL_MS,
  JOB_DEATH_SETBACK_MS,
  PARTIAL_INTERVAL_MAX_MS,
  PARTIAL_SLOT_SHARE,
} from '../../pipeline/limits.ts';
import { partialIntervalMs } from '../../pipeline/partial_interval.ts';
import { settle } from '../support/fake_clock.ts';
import { FakeSource, INTERVAL_MS, SchedulerSetting } from '../support/scheduler_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

describe('scheduler: load', () => {
  it('[SCH40] the interval grows when one round of partials takes more than its share of the slots', () => {
    const baseMs = INTERVAL_MS;
    assert.equal(partialIntervalMs({ baseMs, roundCostMs: 0, slotCount: 1 }), baseMs);
    assert.equal(partialIntervalMs({ baseMs, roundCostMs: 300, slotCount: 1 }), baseMs);
    const roundCostMs = 800 * PARTIAL_SLOT_SHARE;
    assert.equal(partialIntervalMs({ baseMs, roundCostMs, slotCount: 1 }), 800);
    assert.equal(partialIntervalMs({ baseMs, roundCostMs, slotCount: 2 }), baseMs);
  });

  /** Speaks for so long, every partial costing `costMs`. */
  async function speakFor(setting: SchedulerSetting, durationMs: number, costMs: number): Promise<void> {
    const untilMs = setting.clock.nowMs() + durationMs;
    while (setting.clock.nowMs() < untilMs) {
      await setting.clock.advance(costMs);
      if (setting.pool.running.length > 0) setting.pool.first.succeed(hypothesisOf('x'));
      await settle();
    }
  }

  it('[SCH41] under load partials get rarer, then stop, and come back with hysteresis', async () => {
    const setting = new SchedulerSetting();
    const sources = Array.from({ length: 12 }, () => new FakeSource(msToSamples(1_000)));
    for (const source of sources) setting.scheduler.addSource(source);
    // 12 speakers × 100 ms on one slot: a round takes 1.2 s, so that 1.3 s between two partials are affordable.
    await speakFor(setting, 20_000, 100);
    const askedCount = sources[0]?.askedCount ?? 0;
    assert(askedCount >= 13 && askedCount <= 17, `asked ${askedCount} times in 20 s`);
    assert.deepEqual(setting.suspensions, []);
    // 12 × 350 ms: an interval of 4.7 s would be needed.
    await speakFor(setting, 20_000, 350);
    assert.deepEqual(setting.suspensions, [true]);
    assert.equal(setting.telemetry.gauge('partials_suspended', {}), 1);
    const startedCount = setting.started.length;
    await setting.clock.advance(60_000);
    assert.equal(setting.started.length, startedCount, 'suspended partials are not started');
    // A round that costs a little less than what was too much is still too much; three quarters of it are not.
    const withdraw = (): void => {
      const source = sources.pop();
      assert(source);
      setting.scheduler.removeSource(source);
    };
    withdraw();
    assert.deepEqual(setting.suspensions, [true]);
    while (setting.suspensions.length < 2) withdraw();
    assert(sources.length >= 6, `came back with ${sources.length} speakers`);
    assert.deepEqual(setting.suspensions, [true, false]);
    await setting.clock.advance(PARTIAL_INTERVAL_MAX_MS);
    assert(setting.started.length > startedCount);
  });

  it('[SCH46] partials stay suspended while speakers come and go under the same load', async () => {
    const setting = new SchedulerSetting();
    const sources = Array.from({ length: 12 }, () => new FakeSource(msToSamples(1_000)));
    for (const source of sources) setting.scheduler.addSource(source);
    await speakFor(setting, 20_000, 350);
    assert.deepEqual(setting.suspensions, [true]);
    for (let i = 0; i < 60; i++) {
      const [gone] = sources.splice(0, 1);
      assert(gone);
      setting.scheduler.removeSource(gone);
      const next = new FakeSource(msToSamples(1_000));
      sources.push(next);
      setting.scheduler.addSource(next);
      await speakFor(setting, 1_000, 350);
    }
    assert.deepEqual(setting.suspensions, [true]);
    // What they cost is learnt from early finals too: when those have become cheap, partials come back.
    for (const source of sources) {
      setting.scheduler.hurry(source);
      await speakFor(setting, 50, 50);
    }
    assert.deepEqual(setting.suspensions, [true, false]);
  });

  it('[SCH42] new sessions are refused when finals wait longer than they should although partials are suspended', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(msToSamples(1_000));
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    await setting.clock.advance(PARTIAL_INTERVAL_MAX_MS);
    setting.pool.first.succeed(hypothesisOf('x'));
    await settle();
    assert.deepEqual(setting.suspensions, [true]);
    setting.final('running', 1);
    setting.final('waiting', 2);
    await setting.clock.advance(FINAL_OBJECTIVE_MS);
    assert.equal(setting.scheduler.isOverloaded, false);
    await setting.clock.advance(1);
    assert.equal(setting.scheduler.isOverloaded, true);
    setting.pool.first.succeed(hypothesisOf('x'));
    await settle();
    assert.equal(setting.scheduler.isOverloaded, false);
  });

  it('[SCH43] new sessions are refused when finals wait for long, also where nobody asked for partials', async () => {
    const setting = new SchedulerSetting();
    setting.final('running', 1);
    setting.final('waiting', 2);
    await setting.clock.advance(2 * FINAL_OBJECTIVE_MS);
    assert.equal(setting.scheduler.isOverloaded, false);
    await setting.clock.advance(1);
    assert.equal(setting.scheduler.isOverloaded, true);
  });

  it('[SCH44] no worker at all is no load: partials are not suspended for it', async () => {
    const setting = new SchedulerSetting();
    setting.scheduler.addSource(new FakeSource(1));
    await setting.clock.advance(INTERVAL_MS + 100);
    setting.pool.slotCount = 0;
    setting.pool.first.fail('internal');
    await setting.clock.advance(10_000);
    assert.deepEqual(setting.suspensions, []);
    setting.pool.slotCount = 1;
    setting.scheduler.pump();
    assert.equal(setting.started.length, 2);
  });

  it('[SCH47] partials of what is long come rarer, up to one in 0.8 s', async () => {
    for (const [costMs, nextMs] of [
      [40, INTERVAL_MS],
      [80, 800],
      [400, 800],
    ] as const) {
      const setting = new SchedulerSetting();
      setting.scheduler.addSource(new FakeSource(1));
      await setting.clock.advance(INTERVAL_MS / 2 + costMs);
      await setting.succeedAll();
      await setting.clock.advance(nextMs - costMs - 1);
      assert.equal(setting.started.length, 1, `too soon after ${costMs} ms`);
      await setting.clock.advance(1);
      assert.equal(setting.started.length, 2, `too late after ${costMs} ms`);
    }
  });

  it('[SCH34] while a final lets others go first that is no load, each time; but not for ever', async () => {
    const setting = new SchedulerSetting();
    const { scheduler, clock, pool } = setting;
    pool.isDisturbed = true;
    setting.final('unlucky', 1);
    const dueAtMs = clock.nowMs() + FINAL_OBJECTIVE_MS;
    for (const turn of [1, 2]) {
      // It dies late, which its next wait has nothing to do with.
      await clock.advance(JOB_DEATH_SETBACK_MS / 2);
      const setbackMs = turn * JOB_DEATH_SETBACK_MS;
      setting.final('a little later', 10 * turn, { deadlineInMs: dueAtMs + setbackMs - 1 - clock.nowMs() });
      pool.first.fail('worker_died');
      await settle();
      assert.equal(setting.started.at(-1), 10 * turn);
      await clock.advance(JOB_DEATH_SETBACK_MS);
      assert.equal(scheduler.finalWaitMs, 0);
      assert(!scheduler.isOverloaded);
      if (turn === 1) pool.first.succeed(hypothesisOf('x'));
      await settle();
    }
    assert.deepEqual(setting.started, [1, 10, 1, 20]);
    await clock.advance(FINAL_WAIT_FULL_MS + 1);
    assert.equal(scheduler.finalWaitMs, FINAL_WAIT_FULL_MS + 1);
    assert(scheduler.isOverloaded, 'although it has cost two workers');
  });

  it('[SCH36] a final that another job of its utterance could cost its last try waits for that job, and is not late meanwhile', async () => {
    const setting = new SchedulerSetting(2);
    const { scheduler, clock, pool } = setting;
    const source = new FakeSource(1);
    scheduler.addSource(source);
    await clock.advance(INTERVAL_MS);
    scheduler.removeSource(source);
    setting.final('a', 2, { strikes: source.strikes });
    const [partial, final] = pool.running;
    final?.fail('worker_died');
    await clock.advance(2 * JOB_DEATH_SETBACK_MS);
    assert.equal(scheduler.finalCount, 1);
    assert.equal(scheduler.finalWaitMs, 0);
    assert(!scheduler.isOverloaded);
    partial?.succeed(hypothesisOf('x'));
    await settle();
    assert.deepEqual(setting.started, [1, 2, 2]);
  });
});

describe('scheduler: early finals', () => {
  it('[SCH30] a source in a hurry does not wait for its interval nor for partials, but for finals', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    setting.scheduler.hurry(source);
    assert.deepEqual(setting.started, [1]);
    setting.scheduler.hurry(source);
    setting.final('a', 2);
    setting.pool.first.succeed(hypothesisOf('one'));
    await settle();
    assert.deepEqual(setting.started, [1, 2]);
    setting.pool.first.succeed(hypothesisOf('a'));
    await settle();
    assert.deepEqual(setting.started, [1, 2, 1]);
  });

  it('[SCH30] those in a hurry run before older partials, the longest in a hurry first, once, and not if somebody speaks on', async () => {
    const setting = new SchedulerSetting();
    const { scheduler, clock } = setting;
    setting.final('running', 1);
    const [old, early, earlier, calmed, mute] = [2, 3, 4, 5, 6].map((samples) => new FakeSource(samples));
    assert(old && early && earlier && calmed && mute);
    for (const source of [old, calmed, early, earlier, mute]) scheduler.addSource(source);
    await clock.advance(INTERVAL_MS);
    mute.samples = undefined;
    for (const source of [mute, earlier, calmed, early]) {
      scheduler.hurry(source);
      await clock.advance(1);
    }
    assert.deepEqual([scheduler.earlyCount, scheduler.partialCount], [4, 1]);
    scheduler.hurry(earlier);
    scheduler.unhurry(calmed);
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 4, 3, 2, 5]);
    assert.equal(mute.askedCount, 1, 'what has nothing new is in no hurry any more');
  });

  it('[SCH30] early finals run also while partials are suspended', async () => {
    const setting = new SchedulerSetting();
    const [ordinary, early] = [new FakeSource(1), new FakeSource(2)];
    setting.scheduler.addSource(ordinary);
    setting.scheduler.addSource(early);
    setting.scheduler.holdPartials(true);
    await setting.clock.advance(2 * INTERVAL_MS);
    setting.scheduler.hurry(early);
    assert.deepEqual(setting.started, [2]);
    await setting.succeedAll();
    await setting.clock.advance(2 * INTERVAL_MS);
    assert.deepEqual(setting.started, [2]);
    assert.deepEqual(setting.suspensions, [true]);
  });

  it('[SCH32] early finals are a kind of their own in the metrics', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(msToSamples(1_000));
    setting.scheduler.addSource(source);
    setting.scheduler.hurry(source);
    await setting.clock.advance(100);
    setting.pool.first.succeed(hypothesisOf('x'));
    await settle();
    assert.deepEqual(setting.scheduler.slotMs, { final: 0, early: 100, partial: 0 });
    const { telemetry } = setting;
    assert.equal(telemetry.total('jobs_total', { kind: 'early', outcome: 'done' }), 1);
    assert.equal(telemetry.total('jobs_total', { kind: 'partial', outcome: 'done' }), 0);
  });

  it('[SCH33] an early final that waits is late as any other; so is one whose utterance has ended while it runs', async () => {
    const setting = new SchedulerSetting();
    const { scheduler, clock, pool } = setting;
    const source = new FakeSource(1);
    scheduler.addSource(source);
    setting.final('running', 2);
    scheduler.hurry(source);
    await clock.advance(1_100);
    assert.equal(scheduler.finalWaitMs, 1_100);
    assert(scheduler.isOverloaded);
    pool.first.succeed(hypothesisOf('x'));
    await settle();
    await clock.advance(1_100);
    assert.equal(scheduler.finalWaitMs, 0, 'it runs, and its utterance has not ended');
    scheduler.removeSource(source);
    await clock.advance(1_100);
    assert.equal(scheduler.finalWaitMs, 1_100);
    assert(!scheduler.isOverloaded, 'it does not wait for a slot');
    pool.first.succeed(hypothesisOf('x'));
    await settle();
    assert.equal(scheduler.finalWaitMs, 0);
  });
});
