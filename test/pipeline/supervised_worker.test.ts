import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import {
  HEARTBEAT_INTERVAL_MS,
  HEARTBEAT_MAX_MS,
  LATE_MESSAGE_GRACE_MS,
  RESTART_BACKOFF_MAX_MS,
  RESTART_BACKOFF_MIN_MS,
  RESTART_INTENSITY_COUNT,
  RESTART_INTENSITY_WINDOW_MS,
  STOP_KILL_MAX_MS,
  WORKER_START_MAX_MS,
} from '../../pipeline/limits.ts';
import { actHealthy } from '../support/fake_worker.ts';
import { RSS_MAX_BYTES, WorkerSetting } from '../support/worker_setting.ts';

describe('supervised worker: start', () => {
  it('[SUP10] a worker is ready when its process says so, and not before', async () => {
    const { worker, launcher, clock, heard } = new WorkerSetting();
    worker.start();
    worker.start();
    worker.send({ type: 'job', id: 1 });
    await clock.advance(WORKER_START_MAX_MS);
    assert.equal(launcher.processes.length, 1);
    assert.equal(worker.state, 'starting');
    launcher.last.ready();
    assert.equal(worker.state, 'ready');
    worker.send({ type: 'job', id: 2 });
    launcher.last.reply({ type: 'answer', id: 2 });
    assert.deepEqual(heard, ['ready', { type: 'answer', id: 2 }]);
    assert.deepEqual(
      launcher.last.received.filter(({ type }) => type === 'job'),
      [{ type: 'job', id: 2 }],
    );
  });

  it('[SUP11] a process that is not ready in time is killed, also when it ignores everything but SIGKILL', async () => {
    const { worker, launcher, clock, heard, deaths } = new WorkerSetting();
    worker.start();
    launcher.last.onSigterm = 'survives';
    await clock.advance(WORKER_START_MAX_MS + LATE_MESSAGE_GRACE_MS - 1);
    assert.deepEqual(launcher.at(0).signals, []);
    await clock.advance(1);
    assert.deepEqual(launcher.at(0).signals, ['SIGKILL']);
    assert.deepEqual(heard, ['startFailed']);
    assert.equal(deaths[0]?.cause, 'start');
    assert.equal(deaths[0].uptimeMs, WORKER_START_MAX_MS + LATE_MESSAGE_GRACE_MS);
  });

  it('[SUP12] a start whose ready waited unread while we stood still is not killed', async () => {
    const { worker, launcher, clock, heard } = new WorkerSetting();
    worker.start();
    clock.stall(WORKER_START_MAX_MS + 5_000);
    await clock.advance(1);
    launcher.last.ready();
    await clock.advance(LATE_MESSAGE_GRACE_MS);
    assert.deepEqual(heard, ['ready']);
    assert.equal(worker.state, 'ready');
  });

  it('[SUP13] a ready that comes after the verdict is not believed', async () => {
    const { worker, launcher, clock, heard } = new WorkerSetting();
    worker.start();
    launcher.last.onSigkill = 'survives';
    await clock.advance(WORKER_START_MAX_MS + LATE_MESSAGE_GRACE_MS);
    launcher.last.ready();
    launcher.last.end({ signal: 'SIGKILL' });
    assert.deepEqual(heard, ['startFailed']);
    assert.notEqual(worker.state, 'ready');
  });

  it('[SUP14] a process that ends before ready is a failed start; the next is tried after a back-off', async () => {
    const { worker, launcher, clock, heard, deaths } = new WorkerSetting();
    worker.start();
    launcher.last.end({ code: 1, stderrTail: 'no model' });
    assert.equal(worker.state, 'backoff');
    assert.deepEqual(heard, ['startFailed']);
    assert.equal(deaths[0]?.cause, 'start');
    assert.equal(deaths[0].exit.stderrTail, 'no model');
    await clock.advance(RESTART_BACKOFF_MIN_MS - 1);
    assert.equal(launcher.processes.length, 1);
    await clock.advance(1);
    assert.equal(launcher.processes.length, 2);
    assert.equal(worker.status.restarts, 1);
  });

  it('[SUP15] a wrong configuration is not tried again', async () => {
    const { worker, launcher, clock, heard } = new WorkerSetting();
    worker.start();
    launcher.last.end({ code: EXIT_CONFIG });
    await clock.advance(3_600_000);
    assert.equal(worker.state, 'failed');
    assert.equal(launcher.processes.length, 1);
    assert.deepEqual(heard, ['startFailed']);
    await worker.close();
    assert.equal(worker.state, 'closed');
  });
});

describe('supervised worker: a configuration that was right', () => {
  it('[SUP16] one that has worked is tried again: its files may come back', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.launcher.last.end({ signal: 'SIGKILL' });
    await setting.clock.advance(RESTART_BACKOFF_MIN_MS);
    setting.launcher.last.end({ code: EXIT_CONFIG });
    assert.equal(setting.worker.state, 'backoff');
    await setting.clock.advance(RESTART_BACKOFF_MAX_MS);
    setting.launcher.last.ready();
    assert.equal(setting.worker.state, 'ready');
  });
});

describe('supervised worker: watching', () => {
  it('[SUP20] a worker that answers its heartbeats lives for ever', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    await setting.liveFor(60_000);
    assert.deepEqual(setting.heard, ['ready']);
    assert.equal(setting.launcher.last.countOf('ping'), 61);
  });

  it('[SUP28] it is known to be alive at the answer to its own question, not at an earlier one', async () => {
    const setting = new WorkerSetting();
    setting.worker.ask(() => assert.fail('it is not ready'));
    setting.startReady();
    let answerCount = 0;
    setting.worker.ask(() => answerCount++);
    setting.launcher.last.pong();
    assert.equal(answerCount, 0, 'that was the answer to the first heartbeat');
    setting.launcher.last.pong();
    assert.equal(answerCount, 1);
    setting.worker.ask(() => assert.fail('it died first'));
    setting.launcher.last.end({ signal: 'SIGSEGV' });
    await setting.clock.advance(RESTART_BACKOFF_MAX_MS);
    setting.launcher.last.ready();
    setting.launcher.last.pong();
    setting.launcher.last.pong();
    assert.equal(answerCount, 1);
  });

  it('[SUP21] an idle worker that falls silent is killed with SIGKILL, for SIGTERM would not reach it', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.launcher.last.onSigterm = 'survives';
    const latestMs = HEARTBEAT_MAX_MS + HEARTBEAT_INTERVAL_MS + LATE_MESSAGE_GRACE_MS;
    await setting.clock.advance(HEARTBEAT_MAX_MS);
    assert.deepEqual(setting.launcher.at(0).signals, []);
    await setting.clock.advance(latestMs - HEARTBEAT_MAX_MS);
    assert.deepEqual(setting.launcher.at(0).signals, ['SIGKILL']);
    assert.deepEqual(setting.heard, ['ready', 'lost']);
    assert.equal(setting.deaths[0]?.cause, 'hang');
  });

  it('[SUP22] a busy worker may be silent; its silence is counted from the end of its work', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.isBusy = true;
    await setting.clock.advance(10 * HEARTBEAT_MAX_MS);
    setting.isBusy = false;
    await setting.clock.advance(HEARTBEAT_MAX_MS);
    assert.deepEqual(setting.launcher.at(0).signals, []);
    await setting.clock.advance(HEARTBEAT_INTERVAL_MS + LATE_MESSAGE_GRACE_MS);
    assert.deepEqual(setting.launcher.at(0).signals, ['SIGKILL']);
  });

  it('[SUP23] when it was we who stood still, the answers that waited unread save the worker', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    await setting.liveFor(10_000);
    setting.clock.stall(10 * HEARTBEAT_MAX_MS);
    // The timers fire first; what waits in the channel is read a moment later.
    await setting.clock.advance(1);
    setting.launcher.last.pong();
    await setting.liveFor(LATE_MESSAGE_GRACE_MS + 10_000);
    assert.deepEqual(setting.heard, ['ready']);
    assert.deepEqual(setting.launcher.last.signals, []);
  });

  it('[SUP24] what a dead process still says is not heard, nor taken for its successor', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    const first = setting.launcher.last;
    first.end({ signal: 'SIGSEGV' });
    first.haunt({ type: 'answer', id: 1 });
    await setting.clock.advance(0);
    assert.equal(setting.launcher.processes.length, 2);
    first.haunt({ type: 'ready', detail: '' });
    assert.equal(setting.worker.state, 'starting');
    setting.launcher.last.ready();
    first.haunt({ type: 'answer', id: 2 });
    first.haunt({ type: 'pong', rssBytes: 10 * RSS_MAX_BYTES, cpuMs: 1 });
    assert.deepEqual(setting.heard, ['ready', 'lost', 'ready']);
    assert.equal(setting.worker.state, 'ready');
    assert.equal(setting.deaths[0]?.cause, 'signal');
  });

  it('[SUP25] a killed worker gets nothing more to do, and is lost with the cause it was killed for', () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.launcher.last.onSigkill = 'survives';
    setting.worker.kill('deadline');
    setting.worker.kill('hang');
    assert.notEqual(setting.worker.state, 'ready');
    setting.worker.send({ type: 'job', id: 1 });
    assert.equal(setting.launcher.last.countOf('job'), 0);
    setting.launcher.last.end({ signal: 'SIGKILL' });
    assert.deepEqual(
      setting.deaths.map(({ cause }) => cause),
      ['deadline'],
    );
  });

  it('[SUP26] a process that even SIGKILL does not end is given up, and its slot goes on', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.launcher.last.onSigkill = 'survives';
    setting.worker.kill('deadline');
    await setting.clock.advance(STOP_KILL_MAX_MS);
    assert.deepEqual(setting.heard, ['ready', 'lost']);
    assert.equal(setting.launcher.processes.length, 2);
    setting.launcher.at(0).end({ signal: 'SIGKILL' });
    assert.deepEqual(setting.heard, ['ready', 'lost']);
  });
});

describe('supervised worker: restarts', () => {
  it('[SUP30] the first death restarts at once, those after it with growing delays, and a storm is parked', async () => {
    const { worker, launcher, clock } = new WorkerSetting();
    worker.start();
    const delays: number[] = [];
    for (let death = 0; death < RESTART_INTENSITY_COUNT; death++) {
      launcher.last.ready();
      launcher.last.end({ code: 1 });
      const count = launcher.processes.length;
      const diedAtMs = clock.nowMs();
      while (launcher.processes.length === count) await clock.advance(1);
      delays.push(clock.nowMs() - diedAtMs);
    }
    assert.deepEqual(delays, [1, 100, 200, 400, 800]);
    launcher.last.ready();
    launcher.last.end({ code: 1 });
    assert.equal(worker.state, 'parked');
    const parkedCount = launcher.processes.length;
    await clock.advance(RESTART_INTENSITY_WINDOW_MS - 1);
    assert.equal(launcher.processes.length, parkedCount);
    await clock.advance(1);
    assert.equal(launcher.processes.length, parkedCount + 1);
    launcher.last.ready();
    assert.equal(worker.state, 'ready');
  });

  it('[SUP34] a death that is known to be no fault of the worker, and a failed start after it, do not count', async () => {
    const setting = new WorkerSetting();
    const { worker, launcher, clock } = setting;
    worker.start();
    setting.isExcused = true;
    for (let death = 0; death < 2 * RESTART_INTENSITY_COUNT; death++) {
      launcher.last.ready();
      launcher.last.end({ code: 1 });
      await clock.advance(1);
      launcher.last.end({ code: 1 });
      await clock.advance(1);
      assert.equal(worker.state, 'starting');
    }
    launcher.last.end({ code: 1 });
    await clock.advance(1);
    assert.equal(worker.state, 'backoff', 'one more failed start does');
  });

  it('[SUP31] a worker that has grown too large is replaced when it is idle, and never while it works', async () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.isBusy = true;
    setting.launcher.last.pong(RSS_MAX_BYTES + 1);
    assert.equal(setting.worker.state, 'ready');
    assert.equal(setting.worker.status.rssBytes, RSS_MAX_BYTES + 1);
    setting.isBusy = false;
    setting.worker.rest();
    assert.equal(setting.worker.state, 'stopping');
    assert.equal(setting.launcher.last.countOf('stop'), 1);
    setting.launcher.last.end({ code: 0 });
    await setting.clock.advance(0);
    assert.equal(setting.deaths[0]?.cause, 'memory');
    assert.deepEqual(setting.heard, ['ready', 'lost']);
    assert.equal(setting.launcher.processes.length, 2);
  });

  it('[SUP32] at its bound a worker is not too large yet', () => {
    const setting = new WorkerSetting();
    setting.startReady();
    setting.launcher.last.pong(RSS_MAX_BYTES);
    assert.equal(setting.worker.state, 'ready');
  });

  it('[SUP33] a worker that is too large from its start is not replaced without end', async () => {
    const { worker, launcher, clock } = new WorkerSetting();
    launcher.onLaunch = (process) => {
      actHealthy(process);
      const { onMessage } = process;
      process.onMessage = (message) => {
        if (message.type === 'ping') process.pong(2 * RSS_MAX_BYTES);
        else onMessage(message);
      };
    };
    worker.start();
    await clock.advance(RESTART_INTENSITY_WINDOW_MS);
    assert(launcher.processes.length <= RESTART_INTENSITY_COUNT + 1, String(launcher.processes.length));
    assert.equal(worker.state, 'parked');
    await worker.close();
  });
});
