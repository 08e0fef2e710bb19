import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Hypothesis } from '../../pipeline/contracts.ts';
import { DeviceRecord } from '../../pipeline/device_policy.ts';
import { InferenceError } from '../../pipeline/errors.ts';
import type { Fallback } from '../../pipeline/fallback_worker.ts';
import { jobDeadlineMs, type InferenceReply, type InferenceRequest } from '../../pipeline/inference_pool.ts';
import {
  DEVICE_DEATH_MAX_COUNT,
  DISTURBANCE_MS,
  HEARTBEAT_INTERVAL_MS,
  HEARTBEAT_MAX_MS,
  JOB_DEADLINE_AUDIO_RATIO,
  JOB_DEADLINE_EXTENSION_MAX_COUNT,
  JOB_DEADLINE_MIN_MS,
  LATE_MESSAGE_GRACE_MS,
  STOP_ASK_MAX_MS,
  STOP_KILL_MAX_MS,
  STOP_TERM_MAX_MS,
} from '../../pipeline/limits.ts';
import { settle } from '../support/fake_clock.ts';
import { actHealthy, FakeLauncher } from '../support/fake_worker.ts';
import { codeOf, PoolSetting, RSS_MAX_BYTES, type Outcome } from '../support/pool_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

describe('inference pool', () => {
  it('[POOL1] a job goes to a worker and its hypothesis comes back', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    assert.equal(setting.pool.busyCount, 1);
    const hypothesis = hypothesisOf('hello there');
    setting.processOf(jobId).reply({ type: 'result', jobId, hypothesis });
    assert.deepEqual(await outcome, hypothesis);
    assert.equal(setting.pool.freeCount, 1);
    await setting.pool.close();
  });

  it('[POOL2] a worker has one batch at a time, and there are never more jobs than slots, spares or not', async () => {
    const setting = await PoolSetting.ready(2, 1);
    const { pool, launcher } = setting;
    const jobs = [setting.run(), setting.run()];
    assert.equal(pool.slotCount, 2);
    assert.equal(pool.freeCount, 0);
    assert.equal(launcher.processes.length, 3);
    assert.deepEqual(launcher.processes.map((process) => process.countOf('batch')).sort(), [0, 1, 1]);
    await assert.rejects(pool.run({ jobId: 99, pcm: new Int16Array(1), draft: [] }), {
      code: 'unavailable',
      retryable: true,
    });
    await pool.close();
    await Promise.all(jobs.map(({ outcome }) => outcome));
  });

  it('[POOL3] a death rejects its job at once, charges no other, and the spare takes the next', async () => {
    const setting = await PoolSetting.ready(2, 1);
    const [dying, living] = [setting.run(), setting.run()];
    setting.processOf(dying.jobId).end({ signal: 'SIGSEGV' });
    assert.equal(codeOf(await dying.outcome), 'worker_died');
    assert(((await dying.outcome) as InferenceError).retryable);
    assert.deepEqual(setting.deaths.map(({ jobIds }) => jobIds).flat(), [dying.jobId]);
    assert.equal(setting.pool.freeCount, 1);
    const next = setting.run();
    setting
      .processOf(next.jobId)
      .reply({ type: 'jobFailed', jobId: next.jobId, code: 'internal', message: '' });
    assert.equal(codeOf(await next.outcome), 'internal');
    setting
      .processOf(living.jobId)
      .reply({ type: 'result', jobId: living.jobId, hypothesis: hypothesisOf('fine') });
    assert.equal(codeOf(await living.outcome), 'done');
    await setting.pool.close();
  });

  it('[POOL4] a job that outlives its deadline is rejected, and its worker is killed, not asked', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    const process = setting.processOf(jobId);
    await setting.clock.advance(JOB_DEADLINE_MIN_MS - 1);
    assert.deepEqual(process.signals, []);
    await setting.clock.advance(1);
    assert.deepEqual(process.signals, ['SIGKILL']);
    assert.equal(codeOf(await outcome), 'deadline_exceeded');
    assert.equal(setting.deaths[0]?.death.cause, 'deadline');
    await setting.pool.close();
  });

  it('[POOL16] a worker that had no processor for its job is given more time, but not for ever', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    const process = setting.processOf(jobId);
    for (let i = 0; i < JOB_DEADLINE_EXTENSION_MAX_COUNT; i++) {
      process.fakeActivity = { isStopped: false, isRunnable: true, cpuMs: i * (JOB_DEADLINE_MIN_MS / 2 - 1) };
      await setting.clock.advance(JOB_DEADLINE_MIN_MS);
      assert.deepEqual(process.signals, [], `extension ${i}`);
    }
    await setting.clock.advance(JOB_DEADLINE_MIN_MS);
    assert.equal(codeOf(await outcome), 'deadline_exceeded');
    await setting.pool.close();
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[POOL16] one that computed all the time, or waits for something, is not', async () => {
    for (const activity of [
      { isStopped: false, isRunnable: true, cpuMs: JOB_DEADLINE_MIN_MS / 2 },
      { isStopped: false, isRunnable: false, cpuMs: 0 },
    ]) {
      const setting = await PoolSetting.ready();
      const { jobId, outcome } = setting.run();
      setting.processOf(jobId).fakeActivity = activity;
      await setting.clock.advance(JOB_DEADLINE_MIN_MS);
      assert.equal(codeOf(await outcome), 'deadline_exceeded');
      assert.equal(setting.pool.isDisturbed, false);
      await setting.pool.close();
    }
  });

  it('[POOL17] one that was stopped from outside is killed at its deadline, and that is a disturbance', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    setting.processOf(jobId).fakeActivity = { isStopped: true, isRunnable: false, cpuMs: 0 };
    await setting.clock.advance(JOB_DEADLINE_MIN_MS);
    assert.equal(codeOf(await outcome), 'deadline_exceeded');
    assert.equal(setting.deaths[0]?.death.wasStopped, true);
    assert.equal(setting.pool.isDisturbed, true);
    await setting.pool.close();
  });

  it('[POOL18] a worker that has ended gets no job, although its end is not told yet', async () => {
    const setting = await PoolSetting.ready(2);
    setting.launcher.at(0).leave();
    assert.deepEqual([setting.pool.freeCount, setting.pool.slotCount], [1, 1]);
    const { jobId } = setting.run();
    assert.equal(setting.processOf(jobId), setting.launcher.at(1));
    setting.launcher.at(0).end({ signal: 'SIGSEGV' });
    assert.equal(setting.deaths[0]?.death.cause, 'signal');
    await setting.pool.close();
  });

  it('[POOL19] partials of an utterance go to one and the same worker if it is free, else to another', async () => {
    const setting = await PoolSetting.ready(2, 1);
    const processes = new Set<number>();
    for (const partialOf of [4, 4, 5, 5]) {
      const { jobId, outcome } = setting.run(1_000, { partialOf });
      const process = setting.processOf(jobId);
      assert.equal(setting.launcher.processes.indexOf(process), partialOf % 2);
      processes.add(process.pid);
      process.reply({ type: 'result', jobId, hypothesis: hypothesisOf('x') });
      await outcome;
    }
    assert.equal(processes.size, 2);
    const busy = setting.run(1_000, { partialOf: 4 });
    const other = setting.run(1_000, { partialOf: 4 });
    assert.notEqual(setting.processOf(other.jobId), setting.processOf(busy.jobId));
    await setting.pool.close();
    await Promise.all([busy.outcome, other.outcome]);
  });

  it('[POOL5] a result that waited unread while we stood still counts, and its worker lives', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    setting.clock.stall(10 * JOB_DEADLINE_MIN_MS);
    await setting.clock.advance(1);
    setting.processOf(jobId).reply({ type: 'result', jobId, hypothesis: hypothesisOf('late') });
    assert.equal(codeOf(await outcome), 'done');
    await setting.clock.advance(LATE_MESSAGE_GRACE_MS + 100);
    assert.deepEqual(setting.launcher.last.signals, []);
    await setting.pool.close();
  });

  it('[POOL6] a job that came back in time leaves no deadline behind for the next one', async () => {
    const setting = await PoolSetting.ready();
    const first = setting.run();
    await setting.clock.advance(JOB_DEADLINE_MIN_MS - 10);
    const process = setting.processOf(first.jobId);
    process.reply({ type: 'result', jobId: first.jobId, hypothesis: hypothesisOf('one') });
    const second = setting.run();
    await setting.clock.advance(JOB_DEADLINE_MIN_MS - 10);
    assert.deepEqual(process.signals, []);
    process.reply({ type: 'result', jobId: second.jobId, hypothesis: hypothesisOf('two') });
    assert.equal(codeOf(await second.outcome), 'done');
    await setting.pool.close();
  });

  it('[POOL7] the deadline grows with the audio', () => {
    assert.equal(jobDeadlineMs(new Int16Array(0)), JOB_DEADLINE_MIN_MS);
    assert.equal(jobDeadlineMs(new Int16Array(msToSamples(1_000))), JOB_DEADLINE_MIN_MS);
    assert.equal(jobDeadlineMs(new Int16Array(msToSamples(30_000))), 30_000 * JOB_DEADLINE_AUDIO_RATIO);
  });

  it('[POOL8] a result for another job than the one that runs is dropped', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    const process = setting.processOf(jobId);
    process.reply({ type: 'result', jobId: jobId + 1, hypothesis: hypothesisOf('not mine') });
    assert.equal(setting.pool.busyCount, 1);
    process.reply({ type: 'result', jobId, hypothesis: hypothesisOf('mine') });
    process.reply({ type: 'result', jobId, hypothesis: hypothesisOf('twice') });
    assert.equal(((await outcome) as Hypothesis).text, 'mine');
    assert.equal(setting.pool.busyCount, 0);
    await setting.pool.close();
  });

  it('[POOL9] a worker that is being killed gets no job, so that none is charged for its death', async () => {
    const setting = await PoolSetting.ready();
    setting.launcher.last.onMessage = () => undefined;
    setting.launcher.last.onSigkill = 'survives';
    await setting.clock.advance(HEARTBEAT_MAX_MS + 2 * HEARTBEAT_INTERVAL_MS);
    assert.deepEqual(setting.launcher.at(0).signals, ['SIGKILL']);
    assert.equal(setting.pool.freeCount, 0);
    assert.equal(codeOf(await setting.run().outcome), 'unavailable');
    await setting.clock.advance(STOP_KILL_MAX_MS);
    assert.equal(setting.pool.freeCount, 1);
    await setting.pool.close();
  });

  it('[POOL10] a worker that grew too large under load is replaced between two jobs, and no job fails for it', async () => {
    const setting = await PoolSetting.ready();
    const { jobId, outcome } = setting.run();
    const process = setting.processOf(jobId);
    process.reply({ type: 'pong', rssBytes: RSS_MAX_BYTES + 1, cpuMs: 1 });
    assert.equal(process.countOf('stop'), 0);
    process.reply({ type: 'result', jobId, hypothesis: hypothesisOf('done') });
    assert.equal(setting.pool.freeCount, 0);
    assert.equal(process.countOf('stop'), 1);
    assert.equal(codeOf(await outcome), 'done');
    await setting.clock.advance(0);
    assert.equal(setting.launcher.processes.length, 2);
    assert.equal(setting.pool.freeCount, 1);
    assert.equal(setting.deaths[0]?.death.cause, 'memory');
    await setting.pool.close();
  });

  it('[POOL11] close rejects what runs, is idempotent, starts nothing, and is no death', async () => {
    const setting = await PoolSetting.ready(2, 1);
    const jobs = [setting.run(), setting.run()];
    const closed = [setting.pool.close(), setting.pool.close()];
    for (const { outcome } of jobs) assert.equal(codeOf(await outcome), 'unavailable');
    await Promise.all(closed);
    assert.equal(codeOf(await setting.run().outcome), 'unavailable');
    assert.deepEqual(setting.deaths, []);
    assert.equal(setting.launcher.liveCount, 0);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[POOL12] whoever waits for a slot is told when one comes: at ready, at a result, at a death', async () => {
    const setting = await PoolSetting.ready();
    assert.equal(setting.changeCount, 1);
    const first = setting.run();
    setting
      .processOf(first.jobId)
      .reply({ type: 'result', jobId: first.jobId, hypothesis: hypothesisOf('one') });
    assert.equal(setting.changeCount, 2);
    setting.launcher.last.end({ signal: 'SIGKILL' });
    assert.equal(setting.changeCount, 3);
    await setting.clock.advance(0);
    assert.equal(setting.changeCount, 4);
    await setting.pool.close();
  });

  it('[POOL14] the death of a worker without a job is a disturbance, for a while; that of one with a job is none', async () => {
    const setting = await PoolSetting.ready(1, 1);
    const { pool, launcher, clock } = setting;
    const { jobId, outcome } = setting.run();
    setting.processOf(jobId).end({ signal: 'SIGSEGV' });
    await outcome;
    assert.equal(pool.isDisturbed, false);
    await settle();
    launcher.processes.find(({ hasExited }) => !hasExited)?.end({ signal: 'SIGKILL' });
    assert.equal(pool.isDisturbed, true);
    await clock.advance(DISTURBANCE_MS - 1);
    assert.equal(pool.isDisturbed, true);
    await clock.advance(1);
    assert.equal(pool.isDisturbed, false);
  });

  it('[DEV10] the death with which a device is given up is a disturbance, and its job runs again elsewhere', async () => {
    const cpu = new FakeLauncher<InferenceRequest, InferenceReply>();
    const fallback: Fallback<InferenceRequest, InferenceReply> = {
      ...{ device: 'fake', fallbackDevice: 'cpu', record: new DeviceRecord() },
      ...{ launch: cpu.launch, launchProbe: cpu.launch },
      onChange: () => undefined,
      onProbe: () => undefined,
    };
    const setting = new PoolSetting(1, 0, { fallback });
    cpu.onLaunch = (process) => {
      actHealthy(process);
    };
    setting.pool.start();
    await settle();
    for (let deaths = 1; deaths <= DEVICE_DEATH_MAX_COUNT; deaths++) {
      const { jobId, outcome } = setting.run();
      setting.processOf(jobId).end({ signal: 'SIGSEGV' });
      assert.equal(codeOf(await outcome), 'worker_died');
      assert.equal(setting.pool.isDisturbed, deaths === DEVICE_DEATH_MAX_COUNT);
      await setting.clock.advance(500);
    }
    assert.equal(setting.pool.freeCount, 1);
    assert.equal(setting.pool.statuses()[0]?.device, 'cpu');
    // What ends workers on the fallback too is audio after all.
    await setting.clock.advance(DISTURBANCE_MS);
    const { jobId, outcome } = setting.run();
    const process = cpu.processes.findLast(({ hasExited }) => !hasExited);
    assert.ok(process !== undefined);
    assert.ok(
      process.received.some(
        (message) => message.type === 'batch' && message.jobs.some((job) => job.jobId === jobId),
      ),
    );
    process.end({ signal: 'SIGSEGV' });
    assert.equal(codeOf(await outcome), 'worker_died');
    assert.equal(setting.pool.isDisturbed, false);
    await setting.pool.close();
  });

  it('[POOL15] a worker that is killed from outside is a disturbance also in the middle of a job; one that we kill is none', async () => {
    const setting = await PoolSetting.ready(1, 0);
    const hung = setting.run();
    await setting.clock.advance(JOB_DEADLINE_MIN_MS + LATE_MESSAGE_GRACE_MS);
    assert.equal(codeOf(await hung.outcome), 'deadline_exceeded');
    assert.equal(setting.pool.isDisturbed, false);
    await setting.clock.advance(1_000);
    const killed = setting.run();
    setting.processOf(killed.jobId).end({ signal: 'SIGKILL' });
    assert.equal(codeOf(await killed.outcome), 'worker_died');
    assert.equal(setting.pool.isDisturbed, true);
  });

  it('[POOL13] whatever the workers do, every job settles exactly once and none gets the text of another', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant('run' as const) },
      { weight: 3, arbitrary: fc.tuple(fc.constantFrom('answer', 'crash', 'wrongJob'), fc.nat(2)) },
      { weight: 1, arbitrary: fc.nat(2_500) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const setting = await PoolSetting.ready(2, 1, { batchMaxCount: 2 });
        const settled = new Map<number, Outcome[]>();
        let runCount = 0;
        for (const next of steps) {
          if (next === 'run') {
            const { jobId, outcome } = setting.run();
            runCount++;
            void outcome.then((result) => settled.set(jobId, [...(settled.get(jobId) ?? []), result]));
          } else if (typeof next === 'number') {
            await setting.clock.advance(next);
          } else {
            act(setting, next);
          }
          await settle();
          assert(setting.pool.busyCount <= 2);
        }
        const closed = setting.pool.close();
        await setting.clock.advance(STOP_ASK_MAX_MS + STOP_TERM_MAX_MS + STOP_KILL_MAX_MS);
        await closed;
        assert.equal(settled.size, runCount);
        for (const [jobId, outcomes] of settled) {
          assert.equal(outcomes.length, 1);
          const [outcome] = outcomes;
          if (!(outcome instanceof InferenceError)) assert.equal(outcome?.text, `text ${jobId}`);
        }
      }),
      { numRuns: 150 },
    );
  });

  function act({ launcher }: PoolSetting, [what, index]: readonly [string, number]): void {
    const living = launcher.processes.filter(({ hasExited }) => !hasExited);
    const process = living[index];
    if (process === undefined) return;
    if (what === 'crash') {
      process.end({ signal: 'SIGSEGV' });
      return;
    }
    const batch = process.received.findLast((message) => message.type === 'batch');
    const job = batch?.type === 'batch' ? batch.jobs.at(-1) : undefined;
    if (job === undefined) return;
    const jobId = what === 'answer' ? job.jobId : job.jobId - 1;
    process.reply({ type: 'result', jobId, hypothesis: hypothesisOf(`text ${jobId}`) });
  }
});
