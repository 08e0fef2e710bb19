import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  FINAL_OBJECTIVE_MS,
  FINAL_QUEUE_MAX_COUNT,
  JOB_DEATH_EXCUSED_MAX_COUNT,
  JOB_DEATH_MAX_COUNT,
  JOB_DEATH_SETBACK_MS,
} from '../../pipeline/limits.ts';
import { Strikes } from '../../pipeline/strikes.ts';
import { settle } from '../support/fake_clock.ts';
import { FakeSource, INTERVAL_MS, SchedulerSetting } from '../support/scheduler_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

/** Of an utterance that has cost as many workers as it may. */
function condemned(): Strikes {
  const strikes = new Strikes();
  for (let i = 0; i < JOB_DEATH_MAX_COUNT; i++) {
    strikes.begin();
    strikes.end('charged');
  }
  return strikes;
}

describe('scheduler: failures', () => {
  it('[SCH20] a final whose worker died is tried once more and then delivered once', async () => {
    const setting = new SchedulerSetting();
    setting.final('a', 1);
    setting.pool.first.fail('worker_died');
    await settle();
    assert.deepEqual(setting.started, [1, 1]);
    setting.pool.first.succeed(hypothesisOf('after all'));
    await settle();
    assert.deepEqual(setting.outcomes.get('a'), ['after all']);
    assert.equal(setting.telemetry.total('jobs_total', { kind: 'final', outcome: 'retried' }), 1);
  });

  it('[SCH21] audio that has ended two workers, by death or by deadline, is poison and not tried again', async () => {
    const setting = new SchedulerSetting();
    setting.final('a', 1);
    setting.pool.first.fail('worker_died');
    await settle();
    setting.pool.first.fail('deadline_exceeded');
    await settle();
    assert.deepEqual(setting.started, [1, 1]);
    assert.deepEqual(setting.outcomes.get('a'), ['poison']);
  });

  it('[SCH28] where workers without a job die too, a death is not held against audio', async () => {
    const setting = new SchedulerSetting();
    setting.pool.isDisturbed = true;
    setting.final('a', 1);
    for (let i = 1; i < JOB_DEATH_EXCUSED_MAX_COUNT; i++) {
      setting.pool.first.fail('worker_died');
      await settle();
    }
    setting.pool.first.succeed(hypothesisOf('innocent'));
    await settle();
    assert.deepEqual(setting.outcomes.get('a'), ['innocent']);
  });

  it('[SCH29] the excuse is bounded: audio that goes on ending workers is poison after all', async () => {
    const setting = new SchedulerSetting();
    setting.pool.isDisturbed = true;
    setting.final('a', 1);
    for (let i = 0; i < JOB_DEATH_EXCUSED_MAX_COUNT; i++) {
      setting.pool.first.fail('worker_died');
      await settle();
    }
    assert.equal(setting.started.length, JOB_DEATH_EXCUSED_MAX_COUNT);
    assert.deepEqual(setting.outcomes.get('a'), ['poison']);
  });

  it('[SCH34] a storm that ends worker after worker is shared out among the finals, and costs none its text', async () => {
    const setting = new SchedulerSetting();
    setting.pool.isDisturbed = true;
    const names = Array.from({ length: 5 }, (_, i) => `speaker ${i}`);
    for (const [i, name] of names.entries()) setting.final(name, 1 + i, { deadlineInMs: i * 1_000 });
    for (let i = 0; i < 3 * JOB_DEATH_EXCUSED_MAX_COUNT; i++) {
      setting.pool.first.fail('worker_died');
      await settle();
    }
    await setting.succeedAll();
    for (const name of names) assert.deepEqual(setting.outcomes.get(name), ['text'], name);
  });

  it('[SCH34] a final that has cost a worker goes before those that are due much later', async () => {
    const setting = new SchedulerSetting();
    setting.final('unlucky', 1);
    setting.final('a little later', 2, { deadlineInMs: FINAL_OBJECTIVE_MS + JOB_DEATH_SETBACK_MS - 1 });
    setting.final('much later', 3, { deadlineInMs: FINAL_OBJECTIVE_MS + JOB_DEATH_SETBACK_MS + 1 });
    setting.pool.first.fail('worker_died');
    await settle();
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 2, 1, 3]);
  });

  it('[SCH34] a worker that a partial costs while its final waits counts, too', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    setting.scheduler.removeSource(source);
    setting.final('unlucky', 2, { strikes: source.strikes });
    setting.final('a little later', 3, { deadlineInMs: FINAL_OBJECTIVE_MS + JOB_DEATH_SETBACK_MS - 1 });
    setting.pool.first.fail('worker_died');
    await settle();
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 3, 2]);
  });

  it('[SCH36] a final that a partial condemns while it waits is told so at once, without a slot', async () => {
    const setting = new SchedulerSetting(2);
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    setting.scheduler.removeSource(source);
    setting.final('poison', 2, { strikes: source.strikes });
    for (let samples = 3; samples < 9; samples++) setting.final('good', samples);
    const [partial, final] = setting.pool.running;
    final?.fail('worker_died');
    await settle();
    assert.equal(setting.outcomes.get('poison'), undefined, 'its partial may yet survive');
    setting.pool.slotCount = 1;
    partial?.fail('worker_died');
    await settle();
    assert.deepEqual(setting.outcomes.get('poison'), ['poison']);
    assert.equal(setting.outcomes.get('good'), undefined, 'of those that came later');
  });

  it('[SCH36] one that is condemned when nobody waits for it any more is no lost utterance, and poison all the same', () => {
    const setting = new SchedulerSetting();
    setting.final('a', 1);
    setting.final('left', 2, { strikes: condemned(), isWanted: () => false });
    assert.deepEqual(setting.outcomes.get('left'), ['poison']);
    const count = (outcome: 'aborted' | 'failed') =>
      setting.telemetry.total('jobs_total', { kind: 'final', outcome });
    assert.deepEqual([count('aborted'), count('failed')], [1, 0]);
    setting.final('the same again', 2);
    assert.deepEqual(setting.outcomes.get('the same again'), ['poison']);
  });

  it('[SCH36] whoever is told so may submit, leave and close in answer', async () => {
    const setting = new SchedulerSetting(0);
    const { scheduler, clock, pool } = setting;
    const [leaving, staying] = [new FakeSource(1), new FakeSource(2)];
    for (const source of [leaving, staying]) scheduler.addSource(source);
    pool.slotCount = 2;
    const failed = (): void => {
      setting.final('in answer', 3);
      scheduler.removeSource(leaving);
    };
    setting.final('poison', 4, { strikes: condemned(), failed });
    assert.deepEqual([setting.outcomes.get('poison'), setting.started], [['poison'], [3]]);
    await setting.succeedAll();
    assert.deepEqual(setting.outcomes.get('in answer'), ['text']);
    assert.equal(clock.timerCount, 1, 'the partial of who stays');
    setting.final('poison too', 5, {
      strikes: condemned(),
      failed: () => {
        scheduler.close();
      },
    });
    assert.equal(clock.timerCount, 0);
  });

  it('[SCH35] partials and early finals of an utterance cost two workers at most, excused or not: the other tries are left to its final', async () => {
    const setting = new SchedulerSetting();
    setting.pool.isDisturbed = true;
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    for (let i = 0; i < JOB_DEATH_MAX_COUNT; i++) {
      await setting.clock.advance(INTERVAL_MS);
      setting.pool.first.fail('worker_died');
    }
    await setting.clock.advance(10 * INTERVAL_MS);
    setting.scheduler.hurry(source);
    assert.equal(setting.started.length, JOB_DEATH_MAX_COUNT);
    setting.final('a', 2, { strikes: source.strikes });
    for (let i = JOB_DEATH_MAX_COUNT + 1; i < JOB_DEATH_EXCUSED_MAX_COUNT; i++) {
      setting.pool.first.fail('worker_died');
      await settle();
    }
    await setting.succeedAll();
    assert.deepEqual(setting.outcomes.get('a'), ['text']);
  });

  it('[SCH22] nobody is charged for the death of another: beside poison, good finals are all delivered', async () => {
    const setting = new SchedulerSetting(2);
    setting.final('poison', 666);
    for (let i = 0; i < 20; i++) setting.final(`good ${i}`, 1);
    while (setting.pool.running.length > 0) {
      const { first } = setting.pool;
      if (first.job.pcm.length === 666) first.fail('worker_died');
      else first.succeed(hypothesisOf('fine'));
      await settle();
    }
    assert.deepEqual(setting.outcomes.get('poison'), ['poison']);
    for (let i = 0; i < 20; i++) assert.deepEqual(setting.outcomes.get(`good ${i}`), ['fine']);
    assert.equal(setting.started.filter((samples) => samples === 666).length, JOB_DEATH_MAX_COUNT);
  });

  it('[SCH23] a final that the recogniser refused fails with its code, without another try', async () => {
    const setting = new SchedulerSetting();
    setting.final('a', 1);
    setting.pool.first.fail('invalid_pcm');
    await settle();
    assert.deepEqual(setting.started, [1]);
    assert.deepEqual(setting.outcomes.get('a'), ['invalid_pcm']);
  });

  it('[SCH24] an utterance whose partial has ended a worker gets no more of them; its final is still tried', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    setting.pool.first.fail('worker_died');
    await setting.clock.advance(10 * INTERVAL_MS);
    assert.deepEqual(setting.started, [1]);
    setting.scheduler.removeSource(source);
    setting.final('a', 2, { strikes: source.strikes });
    assert.deepEqual(setting.started, [1, 2]);
    await setting.succeedAll();
    assert.deepEqual(setting.outcomes.get('a'), ['text']);
  });

  it('[SCH25] a partial that failed without a death is not tried again; the next one, with more audio, is', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    source.samples = 2;
    setting.pool.first.fail('internal');
    await settle();
    assert.deepEqual(setting.started, [1]);
    await setting.clock.advance(INTERVAL_MS);
    assert.deepEqual(setting.started, [1, 2]);
  });

  it('[SCH26] finals beyond the bound of the queue fail at once', () => {
    const setting = new SchedulerSetting(0);
    for (let i = 0; i < FINAL_QUEUE_MAX_COUNT; i++) setting.final(`waiting ${i}`, 1);
    assert.equal(setting.outcomes.size, 0);
    setting.final('one too many', 1);
    assert.deepEqual([...setting.outcomes], [['one too many', ['unavailable']]]);
  });

  it('[SCH27] close fails what waits, once, and starts nothing any more', async () => {
    const setting = new SchedulerSetting();
    setting.final('running', 1);
    setting.final('waiting', 2);
    const source = new FakeSource(3);
    setting.scheduler.addSource(source);
    setting.scheduler.close();
    setting.final('after', 4);
    setting.pool.first.fail('worker_died');
    await setting.clock.advance(10 * INTERVAL_MS);
    setting.scheduler.pump();
    assert.deepEqual(setting.started, [1]);
    assert.deepEqual(setting.outcomes.get('waiting'), ['unavailable']);
    assert.deepEqual(setting.outcomes.get('after'), ['unavailable']);
    assert.deepEqual(setting.outcomes.get('running'), ['worker_died']);
    assert.equal(setting.clock.timerCount, 0);
  });
});
