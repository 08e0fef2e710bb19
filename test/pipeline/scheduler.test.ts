import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  FINAL_OBJECTIVE_MS,
  FINAL_QUEUE_MAX_COUNT,
  JOB_DEATH_EXCUSED_MAX_COUNT,
  JOB_DEATH_MAX_COUNT,
  JOB_DEATH_SETBACK_MS,
} from '../../pipeline/limits.ts';
import { settle } from '../support/fake_clock.ts';
import { FakeSource, INTERVAL_MS, SchedulerSetting } from '../support/scheduler_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

describe('scheduler: order', () => {
  it('[SCH1] a final that finds a free slot starts at once', () => {
    const setting = new SchedulerSetting();
    setting.final('a', 1);
    assert.deepEqual(setting.started, [1]);
  });

  it('[SCH2] finals run in the order of their deadlines, equals in the order they came', async () => {
    const setting = new SchedulerSetting();
    setting.final('first', 1);
    setting.final('late', 2, 900);
    setting.final('soon', 3, 100);
    setting.final('soon too', 4, 100);
    setting.final('between', 5, 500);
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 3, 4, 5, 2]);
    assert.equal(setting.scheduler.finalCount, 0);
  });

  it('[SCH3] finals run before partials that have waited longer', async () => {
    const setting = new SchedulerSetting();
    setting.final('running', 1);
    setting.scheduler.addSource(new FakeSource(2));
    await setting.clock.advance(10 * INTERVAL_MS);
    setting.final('new', 3);
    setting.pool.first.succeed(hypothesisOf('x'));
    await settle();
    assert.deepEqual(setting.started, [1, 3]);
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 3, 2]);
  });

  it('[SCH4] among partials the one that has waited longest runs first', async () => {
    const setting = new SchedulerSetting();
    setting.final('running', 1);
    for (const samples of [2, 3, 4]) {
      setting.scheduler.addSource(new FakeSource(samples));
      await setting.clock.advance(10);
    }
    await setting.clock.advance(INTERVAL_MS);
    assert.equal(setting.scheduler.partialCount, 3);
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 2, 3, 4]);
  });

  it('[SCH27] a scheduler that is closed while it waits for a partial to be due leaves no timer behind', () => {
    const setting = new SchedulerSetting();
    setting.scheduler.addSource(new FakeSource(1));
    assert.equal(setting.clock.timerCount, 1);
    setting.scheduler.close();
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[SCH5] a partial has the newest audio there is when it starts, not what there was when it was due', async () => {
    const setting = new SchedulerSetting();
    setting.final('running', 1);
    const source = new FakeSource(10);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    assert.equal(source.askedCount, 0);
    source.samples = 20;
    setting.pool.first.succeed(hypothesisOf('x'));
    await settle();
    assert.deepEqual(setting.started, [1, 20]);
  });

  it('[SCH6] an utterance has its first partial after half an interval, one at a time, the next an interval after the start of the last', async () => {
    const setting = new SchedulerSetting(4);
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS / 2 - 1);
    assert.equal(setting.started.length, 0);
    await setting.clock.advance(1);
    assert.equal(setting.started.length, 1);
    await setting.clock.advance(3 * INTERVAL_MS);
    assert.equal(setting.started.length, 1);
    setting.pool.first.succeed(hypothesisOf('one'));
    await settle();
    assert.equal(setting.started.length, 2);
    assert.deepEqual(source.texts, ['one']);
  });

  it('[SCH7] an utterance with nothing new is asked again half an interval later, and never in a loop', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(1);
    source.samples = undefined;
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS / 2);
    assert.equal(source.askedCount, 1);
    await setting.clock.advance(INTERVAL_MS / 2);
    assert.equal(source.askedCount, 2);
    await setting.clock.advance(10 * INTERVAL_MS);
    assert.equal(source.askedCount, 22);
  });

  it('[SCH8] a partial is answered also when its source has gone; one that nobody waited for is counted', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    await setting.clock.advance(INTERVAL_MS);
    setting.scheduler.removeSource(source);
    source.isWaiting = false;
    setting.pool.first.succeed(hypothesisOf('late'));
    await settle();
    assert.deepEqual(source.texts, ['late']);
    assert.equal(setting.telemetry.total('jobs_total', { kind: 'partial', outcome: 'aborted' }), 1);
  });

  it('[SCH10] partials of one utterance have its number, and no other job has it', async () => {
    const setting = new SchedulerSetting();
    const source = new FakeSource(2);
    const numbers: (number | undefined)[] = [];
    const next = async (): Promise<void> => {
      while (setting.pool.running.length === 0) await setting.clock.advance(10);
      numbers.push(setting.pool.first.job.partialOf);
      setting.pool.first.succeed(hypothesisOf('x'));
      await settle();
    };
    setting.scheduler.addSource(source);
    await next();
    await next();
    source.isWhole = true;
    await next();
    source.isWhole = false;
    await next();
    setting.scheduler.removeSource(source);
    setting.scheduler.addSource(source);
    await next();
    setting.scheduler.removeSource(source);
    setting.final('final', 9);
    numbers.push(setting.pool.first.job.partialOf);
    const [number] = numbers;
    assert.notEqual(number, undefined);
    assert.deepEqual(numbers.slice(0, 4), [number, number, undefined, number], 'a whole one must be exact');
    assert(numbers[4] !== undefined && numbers[4] !== number, 'the next utterance has another');
    assert.equal(numbers[5], undefined, 'so must a final');
  });

  it('[SCH9] a slot that becomes free by itself is used when the pool says so', async () => {
    const setting = new SchedulerSetting(0);
    setting.final('a', 1);
    await setting.clock.advance(10_000);
    assert.deepEqual(setting.started, []);
    assert.equal(setting.scheduler.finalWaitMs, 10_000);
    setting.pool.slotCount = 1;
    setting.scheduler.pump();
    assert.deepEqual(setting.started, [1]);
    assert.equal(setting.scheduler.finalWaitMs, 0);
  });
});

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

  it('[SCH31] while no words are heard, the next look comes after half the interval', async () => {
    const setting = new SchedulerSetting();
    setting.scheduler.addSource(new FakeSource(1));
    await setting.clock.advance(INTERVAL_MS / 2);
    setting.pool.first.succeed(hypothesisOf(''));
    await setting.clock.advance(INTERVAL_MS / 2);
    assert.equal(setting.started.length, 2);
    setting.pool.first.succeed(hypothesisOf('one'));
    await setting.clock.advance(INTERVAL_MS / 2);
    assert.equal(setting.started.length, 2);
    await setting.clock.advance(INTERVAL_MS / 2);
    assert.equal(setting.started.length, 3);
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
    for (const [i, name] of names.entries()) setting.final(name, 1 + i, i * 1_000);
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
    setting.final('a little later', 2, FINAL_OBJECTIVE_MS + JOB_DEATH_SETBACK_MS - 1);
    setting.final('much later', 3, FINAL_OBJECTIVE_MS + JOB_DEATH_SETBACK_MS + 1);
    setting.pool.first.fail('worker_died');
    await settle();
    await setting.succeedAll();
    assert.deepEqual(setting.started, [1, 2, 1, 3]);
  });

  it('[SCH35] partials of an utterance cost two workers at most, excused or not: the other tries are left to its final', async () => {
    const setting = new SchedulerSetting();
    setting.pool.isDisturbed = true;
    const source = new FakeSource(1);
    setting.scheduler.addSource(source);
    for (let i = 0; i < JOB_DEATH_MAX_COUNT; i++) {
      await setting.clock.advance(INTERVAL_MS);
      setting.pool.first.fail('worker_died');
    }
    await setting.clock.advance(10 * INTERVAL_MS);
    assert.equal(setting.started.length, JOB_DEATH_MAX_COUNT);
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
    setting.final('a', 2);
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

describe('scheduler: whatever happens', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('final' as const), deadlineInMs: fc.nat(1_000) }),
    fc.record({ type: fc.constantFrom('speak', 'fallSilent'), speaker: fc.nat(3) }),
    fc.record({ type: fc.constantFrom('succeed', 'die', 'refuse'), index: fc.nat(1) }),
    fc.record({ type: fc.constant('wait' as const), ms: fc.nat(1_000) }),
    fc.record({ type: fc.constant('slots' as const), count: fc.nat(2) }),
  );

  it('[SCH60] every final has exactly one outcome, and no free slot is left idle while a final waits', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const setting = new SchedulerSetting(2);
        const { scheduler, pool, clock } = setting;
        const speakers = [1, 2, 3, 4].map((samples) => new FakeSource(samples));
        let finalCount = 0;
        for (const next of steps) {
          if (next.type === 'final') setting.final(`${++finalCount}`, 100, next.deadlineInMs);
          else if (next.type === 'wait') await clock.advance(next.ms);
          else if (next.type === 'slots') {
            pool.slotCount = next.count;
            scheduler.pump();
          } else if ('speaker' in next) {
            const source = speakers[next.speaker];
            assert(source);
            // As sessions do: one utterance at a time.
            scheduler.removeSource(source);
            if (next.type === 'speak') scheduler.addSource(source);
          } else {
            const running = pool.running[next.index];
            if (next.type === 'succeed') running?.succeed(hypothesisOf('text'));
            else running?.fail(next.type === 'die' ? 'worker_died' : 'invalid_pcm');
          }
          await settle();
          assert(scheduler.finalCount === 0 || pool.freeCount === 0);
        }
        pool.slotCount = 2;
        for (const source of speakers) scheduler.removeSource(source);
        scheduler.pump();
        await setting.succeedAll();
        assert.equal(setting.outcomes.size, finalCount);
        for (const outcomes of setting.outcomes.values()) assert.equal(outcomes.length, 1);
        assert.equal(clock.timerCount, 0);
      }),
      { numRuns: 150 },
    );
  });
});
