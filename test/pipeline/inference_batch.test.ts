import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InferenceError, SharedDeathError } from '../../pipeline/errors.ts';
import { JOB_DEADLINE_AUDIO_RATIO, LATE_MESSAGE_GRACE_MS } from '../../pipeline/limits.ts';
import { settle } from '../support/fake_clock.ts';
import { codeOf, PoolSetting } from '../support/pool_setting.ts';

describe('inference pool: batches', () => {
  it('[BAT1] what is submitted in one turn is one batch, as large as the slot takes; the rest finds no room', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 3 });
    assert.deepEqual([setting.pool.freeCount, setting.pool.idleCount], [3, 1]);
    const jobs = [setting.run(), setting.run()];
    assert.deepEqual([setting.pool.freeCount, setting.pool.idleCount], [1, 0]);
    assert.equal(setting.launcher.last.countOf('batch'), 0);
    await settle();
    assert.deepEqual(setting.batches(), [[1, 2]]);
    // One that was sent takes no more, full or not.
    assert.equal(setting.pool.freeCount, 0);
    assert.equal(codeOf(await setting.run().outcome), 'unavailable');
    for (const { jobId } of jobs) setting.answer(jobId);
    assert.deepEqual(await Promise.all(jobs.map(async ({ outcome }) => codeOf(await outcome))), [
      'done',
      'done',
    ]);
    assert.equal(setting.pool.freeCount, 3);
    const full = [setting.run(), setting.run(), setting.run()];
    // A full batch does not wait for the end of the turn.
    assert.deepEqual(setting.batches(), [
      [1, 2],
      [4, 5, 6],
    ]);
    await setting.pool.close();
    for (const { outcome } of full) assert.equal(codeOf(await outcome), 'unavailable');
  });

  it('[BAT1] several idle devices share what comes in one turn', async () => {
    const setting = await PoolSetting.ready(2, 0, { batchMaxCount: 4 });
    for (let i = 0; i < 4; i++) setting.run();
    await settle();
    assert.deepEqual(setting.batches(), [
      [1, 3],
      [2, 4],
    ]);
    await setting.pool.close();
  });

  it('[BAT2] rows are answered one by one, and the slot is free when the last of them is', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 2 });
    const [first, second] = [setting.run(), setting.run()];
    setting.answer(second.jobId);
    assert.equal(codeOf(await second.outcome), 'done');
    assert.equal(setting.pool.freeCount, 0);
    setting.launcher.last.reply({
      type: 'jobFailed',
      jobId: first.jobId,
      code: 'invalid_pcm',
      message: 'no',
    });
    assert.equal(codeOf(await first.outcome), 'invalid_pcm');
    assert.equal(setting.pool.freeCount, 2);
    await setting.pool.close();
  });

  it('[BAT3] a worker that ends on a batch fails its rows as shared, and a row alone as its own', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 2 });
    const shared = [setting.run(), setting.run()];
    setting.launcher.last.end({ signal: 'SIGSEGV' });
    for (const { outcome } of shared) assert.ok((await outcome) instanceof SharedDeathError);
    assert.deepEqual(setting.deaths[0]?.jobIds, [1, 2]);
    await setting.clock.advance(1_000);
    const alone = setting.run(1_000, { isAlone: true });
    assert.deepEqual(setting.batches().at(-1), [3]);
    assert.equal(setting.pool.freeCount, 0);
    setting.launcher.last.end({ signal: 'SIGSEGV' });
    const outcome = await alone.outcome;
    assert.ok(outcome instanceof InferenceError && !(outcome instanceof SharedDeathError));
    await setting.pool.close();
  });

  it('[BAT4] a batch has the deadline of its longest job', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 2 });
    const longMs = 20_000;
    const jobs = [setting.run(), setting.run(longMs)];
    await setting.clock.advance(longMs * JOB_DEADLINE_AUDIO_RATIO - 1);
    assert.equal(setting.deaths.length, 0);
    await setting.clock.advance(LATE_MESSAGE_GRACE_MS + 1);
    for (const { outcome } of jobs) assert.equal(codeOf(await outcome), 'deadline_exceeded');
    await setting.pool.close();
  });

  it('[BAT5] a worker that says it takes less at once is given less', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 4 });
    const jobs = [setting.run(), setting.run(), setting.run(), setting.run()];
    const work = { samples: 1, paddingSamples: 0, movedBytes: 0, halvings: 1 };
    setting.launcher.last.reply({ type: 'batchDone', work, batchMaxCount: 2 });
    for (const { jobId } of jobs) setting.answer(jobId);
    assert.equal(setting.pool.freeCount, 2);
    await setting.pool.close();
  });

  it('[BAT5] what is taken at once can grow again, and a new process is given what the first was', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 4 });
    const work = { samples: 1, paddingSamples: 0, movedBytes: 0, halvings: 0 };
    const runFull = async (batchMaxCount: number): Promise<void> => {
      const jobs = Array.from({ length: setting.pool.freeCount }, () => setting.run());
      await settle();
      setting.launcher.last.reply({ type: 'batchDone', work, batchMaxCount });
      for (const { jobId } of jobs) setting.answer(jobId);
    };
    await runFull(1);
    assert.equal(setting.pool.freeCount, 1);
    await runFull(4);
    assert.equal(setting.pool.freeCount, 2);
    await runFull(1);
    const { outcome } = setting.run();
    setting.launcher.last.end({ signal: 'SIGSEGV' });
    await outcome;
    await setting.clock.advance(1_000);
    assert.equal(setting.pool.freeCount, 4);
    await setting.pool.close();
  });

  it('[BAT7] jobs that are answered before the batch is over and those after are together charged for all of it', async () => {
    const setting = await PoolSetting.ready(1, 0, { batchMaxCount: 4 });
    const jobs = [setting.run(), setting.run(), setting.run(), setting.run()];
    const chargedMs: number[] = [];
    const answer = async ({ jobId, outcome }: (typeof jobs)[number], atMs: number): Promise<void> => {
      setting.answer(jobId);
      const heard = await outcome;
      chargedMs.push(atMs * ('slotShare' in heard ? (heard.slotShare ?? 1) : 1));
    };
    await setting.clock.advance(80);
    for (const job of jobs.slice(0, 2)) await answer(job, 80);
    await setting.clock.advance(20);
    const work = { samples: 1, paddingSamples: 0, movedBytes: 0, halvings: 0 };
    setting.launcher.last.reply({ type: 'batchDone', work, batchMaxCount: 4 });
    for (const job of jobs.slice(2)) await answer(job, 100);
    assert.deepEqual(chargedMs, [20, 20, 30, 30]);
    await setting.pool.close();
  });
});
