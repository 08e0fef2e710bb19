import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
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
    setting.final('late', 2, { deadlineInMs: 900 });
    setting.final('soon', 3, { deadlineInMs: 100 });
    setting.final('soon too', 4, { deadlineInMs: 100 });
    setting.final('between', 5, { deadlineInMs: 500 });
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

/** Finals of speakers are longer than their partials by this. */
const FINAL_SAMPLES = 1_000;

describe('scheduler: whatever happens', () => {
  const step = fc.oneof(
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('final' as const), deadlineInMs: fc.nat(1_000) }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ type: fc.constantFrom('speak', 'fallSilent'), speaker: fc.nat(1) }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ type: fc.constantFrom('succeed', 'die', 'die', 'refuse'), index: fc.nat(1) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 250, max: 1_000 }) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('slots' as const), count: fc.nat(3) }) },
  );

  it('[SCH60] every final has exactly one outcome, and no free slot is left idle while a final waits that may run', async () => {
    let besideFreeSlotCount = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const setting = new SchedulerSetting(2);
        const { scheduler, pool, clock } = setting;
        const speakers = new Map<number, FakeSource>();
        const ended = new Map<number, string>();
        /** Of finals that speakers have, those still without outcome, by the length of their partials' audio. */
        const owed = () => [...ended.entries()].filter(([, name]) => !setting.outcomes.has(name));
        let finalCount = 0;
        let utteranceCount = 0;
        for (const next of steps) {
          if (next.type === 'final')
            setting.final(`${++finalCount}`, 100, { deadlineInMs: next.deadlineInMs });
          else if (next.type === 'wait') await clock.advance(next.ms);
          else if (next.type === 'slots') {
            pool.slotCount = next.count;
            scheduler.pump();
          } else if ('speaker' in next) {
            // As sessions do: one utterance at a time, whose final has its strikes.
            const source = speakers.get(next.speaker);
            if (source !== undefined) {
              scheduler.removeSource(source);
              speakers.delete(next.speaker);
              const { samples = 0, strikes } = source;
              ended.set(samples, `${++finalCount}`);
              setting.final(`${finalCount}`, FINAL_SAMPLES + samples, { strikes });
            }
            if (next.type === 'speak') {
              const utterance = new FakeSource(++utteranceCount);
              speakers.set(next.speaker, utterance);
              scheduler.addSource(utterance);
            }
          } else {
            const running = pool.running[next.index];
            if (next.type === 'succeed') running?.succeed(hypothesisOf('text'));
            else running?.fail(next.type === 'die' ? 'worker_died' : 'invalid_pcm');
          }
          await settle();
          if (pool.freeCount === 0) continue;
          const running = pool.running.map(({ job }) => job.pcm.length);
          const waiting = owed().filter(([samples]) => !running.includes(FINAL_SAMPLES + samples));
          assert.equal(scheduler.finalCount, waiting.length);
          for (const [samples] of waiting) assert(running.includes(samples), 'what it waits for runs');
          besideFreeSlotCount += waiting.length;
        }
        pool.slotCount = 2;
        for (const source of speakers.values()) scheduler.removeSource(source);
        scheduler.pump();
        await setting.succeedAll();
        assert.equal(setting.outcomes.size, finalCount);
        for (const outcomes of setting.outcomes.values()) assert.equal(outcomes.length, 1);
        assert.equal(clock.timerCount, 0);
      }),
      { numRuns: 150 },
    );
    assert(besideFreeSlotCount > 0, 'one that may not run waited beside a free slot');
  });
});
