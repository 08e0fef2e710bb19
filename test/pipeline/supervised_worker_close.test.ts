import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import { STOP_ASK_MAX_MS, STOP_KILL_MAX_MS, STOP_TERM_MAX_MS } from '../../pipeline/limits.ts';
import { settle } from '../support/fake_clock.ts';
import { RSS_MAX_BYTES, WorkerSetting } from '../support/worker_setting.ts';

describe('supervised worker: close', () => {
  it('[SUP40] a worker is asked, then SIGTERM, then SIGKILL, each after its time', async () => {
    const { worker, launcher, clock } = new WorkerSetting();
    worker.start();
    const process = launcher.last;
    process.ready();
    process.onSigterm = 'survives';
    const closed = worker.close();
    assert.equal(process.countOf('stop'), 1);
    await clock.advance(STOP_ASK_MAX_MS - 1);
    assert.deepEqual(process.signals, []);
    await clock.advance(1);
    assert.deepEqual(process.signals, ['SIGTERM']);
    await clock.advance(STOP_TERM_MAX_MS - 1);
    assert.deepEqual(process.signals, ['SIGTERM']);
    await clock.advance(1);
    assert.deepEqual(process.signals, ['SIGTERM', 'SIGKILL']);
    await closed;
    assert.equal(worker.state, 'closed');
    assert.equal(clock.timerCount, 0);
  });

  it('[SUP41] a worker that ends when it is asked is not signalled, and the last ready has its lost', async () => {
    const { worker, launcher, clock, heard } = new WorkerSetting();
    worker.start();
    launcher.last.ready();
    const closed = worker.close();
    launcher.last.end({ code: 0 });
    await closed;
    await clock.advance(60_000);
    assert.deepEqual(heard, ['ready', 'lost']);
    assert.deepEqual(launcher.last.signals, []);
    assert.equal(launcher.processes.length, 1);
  });

  it('[SUP42] close is idempotent, settles in every state, and nothing starts after it', async () => {
    const prepare: readonly ((setting: WorkerSetting) => void)[] = [
      () => undefined,
      ({ worker }) => {
        worker.start();
      },
      (setting) => {
        setting.startReady();
      },
      (setting) => {
        setting.startReady();
        setting.launcher.last.onSigkill = 'survives';
        setting.worker.kill('deadline');
      },
      (setting) => {
        setting.startReady();
        setting.launcher.last.pong(RSS_MAX_BYTES + 1);
      },
      ({ worker, launcher }) => {
        worker.start();
        launcher.last.end({ code: 1 });
      },
    ];
    for (const act of prepare) {
      const setting = new WorkerSetting();
      setting.launcher.onLaunch = (process) => {
        process.onSigterm = 'survives';
        process.onSigkill = 'survives';
      };
      act(setting);
      const count = setting.launcher.processes.length;
      const closed = setting.worker.close();
      assert.equal(setting.worker.close(), closed);
      await setting.clock.advance(STOP_ASK_MAX_MS + STOP_TERM_MAX_MS + STOP_KILL_MAX_MS);
      await closed;
      setting.worker.start();
      await setting.clock.advance(60_000);
      assert.equal(setting.worker.state, 'closed');
      assert.equal(setting.launcher.processes.length, count);
      assert.equal(setting.clock.timerCount, 0);
    }
  });

  it('[SUP43] a ready that crosses the close is not told', async () => {
    const { worker, launcher, heard } = new WorkerSetting();
    worker.start();
    const closed = worker.close();
    launcher.last.ready();
    launcher.last.end({ code: 0 });
    await closed;
    assert.deepEqual(heard, []);
  });
});

describe('supervised worker: whatever happens', () => {
  const step = fc.oneof(
    fc.constantFrom('ready', 'crash', 'exitConfig', 'kill', 'pong', 'large', 'answer', 'busy', 'idle'),
    fc.nat(3_000),
  );
  it('[SUP50] every ready is followed by exactly one lost before the next, one process lives, and close settles', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const setting = new WorkerSetting();
        const { worker, launcher, clock } = setting;
        worker.start();
        for (const next of steps) {
          await act(setting, next);
          assert(launcher.liveCount <= 1);
        }
        const closed = worker.close();
        await clock.advance(STOP_ASK_MAX_MS + STOP_TERM_MAX_MS + STOP_KILL_MAX_MS);
        await closed;
        const told = setting.heard.filter((event) => event === 'ready' || event === 'lost');
        told.forEach((event, index) => {
          assert.equal(event, index % 2 === 0 ? 'ready' : 'lost');
        });
        assert.equal(told.length % 2, 0);
        assert.equal(clock.timerCount, 0);
        assert.equal(launcher.liveCount, 0);
      }),
      { numRuns: 150 },
    );
  });

  async function act(setting: WorkerSetting, next: string | number): Promise<void> {
    const { worker, launcher, clock } = setting;
    if (typeof next === 'number') await clock.advance(next);
    else if (next === 'ready') launcher.last.ready();
    else if (next === 'crash') launcher.last.end({ signal: 'SIGSEGV' });
    else if (next === 'exitConfig') launcher.last.end({ code: EXIT_CONFIG });
    else if (next === 'kill') worker.kill('deadline');
    else if (next === 'pong') launcher.last.pong();
    else if (next === 'large') launcher.last.pong(RSS_MAX_BYTES + 1);
    else if (next === 'answer') launcher.last.reply({ type: 'answer', id: 1 });
    else {
      setting.isBusy = next === 'busy';
      worker.rest();
    }
    await settle();
  }
});
