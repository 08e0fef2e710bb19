import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceRecord, judgeDevice } from '../../pipeline/device_policy.ts';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import { FallbackWorker } from '../../pipeline/fallback_worker.ts';
import {
  DEVICE_DEATH_MAX_COUNT,
  DEVICE_PROBE_INTERVAL_MS,
  JOB_DEATH_MAX_COUNT,
  RESTART_INTENSITY_WINDOW_MS,
} from '../../pipeline/limits.ts';
import type { DeathCause, WorkerDeath } from '../../pipeline/supervised_worker.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { actHealthy, FakeLauncher } from '../support/fake_worker.ts';

interface Job {
  readonly type: 'job';
}
interface Answer {
  readonly type: 'answer';
}

function death(cause: DeathCause, code: number | null = null): WorkerDeath {
  const exit = { code, signal: null, stderrTail: 'loading\nno such kernel\n' };
  return { pid: 1, generation: 1, cause, exit, uptimeMs: 1, rssBytes: 1, wasStopped: false };
}

/** A slot with an accelerator, a CPU, and a launcher for probes. */
class Setting {
  readonly clock = new FakeClock();
  readonly accelerator = new FakeLauncher<Job, Answer>();
  readonly cpu = new FakeLauncher<Job, Answer>();
  readonly probe = new FakeLauncher<Job, Answer>();
  readonly heard: string[] = [];
  readonly changes: (string | undefined)[] = [];
  readonly probes: string[] = [];
  isBusy = false;
  readonly worker = new FallbackWorker<Job, Answer>({
    launch: this.accelerator.launch,
    clock: this.clock,
    random: () => 0.5,
    rssMaxBytes: 1_000,
    owner: {
      ready: () => this.heard.push('ready'),
      message: ({ type }) => this.heard.push(type),
      lost: () => this.heard.push(`lost, then ${this.worker.state}`),
      startFailed: () => this.heard.push(`startFailed, then ${this.worker.state}`),
      isBusy: () => this.isBusy,
    },
    fallback: {
      device: 'fake',
      fallbackDevice: 'cpu',
      record: new DeviceRecord(),
      launch: this.cpu.launch,
      launchProbe: this.probe.launch,
      onChange: (reason) => this.changes.push(reason),
      onProbe: (outcome) => this.probes.push(outcome),
    },
  });

  constructor() {
    this.cpu.onLaunch = (process) => {
      actHealthy(process);
    };
  }

  get liveCount(): number {
    return this.accelerator.liveCount + this.cpu.liveCount + this.probe.liveCount;
  }

  /** Falls back at the first start. */
  async fallBack(): Promise<void> {
    this.worker.start();
    this.accelerator.last.end({ code: 1, stderrTail: 'no such kernel' });
    await settle();
  }
}

describe('device policy', () => {
  const READY = { atMs: 100_000, wasReady: true };

  it('[DEV1] a device is given up at the first failed start or refusal, or at the fourth death in the window, with the reason', () => {
    const failedStart = judgeDevice([], { ...death('start', 1), ...READY, wasReady: false });
    assert.equal(failedStart.fallback, 'its worker did not start: no such kernel');
    const refused = judgeDevice([], { ...death('start', EXIT_CONFIG), ...READY, wasReady: false });
    assert.equal(refused.fallback, 'its worker refused: no such kernel');
    let diedAtMs: readonly number[] = [];
    for (let i = 1; i <= DEVICE_DEATH_MAX_COUNT; i++) {
      const verdict = judgeDevice(diedAtMs, { ...death('signal'), ...READY, atMs: READY.atMs + i });
      assert.equal(verdict.fallback !== undefined, i === DEVICE_DEATH_MAX_COUNT);
      diedAtMs = verdict.diedAtMs;
    }
  });

  it('[DEV1] one poisonous utterance, which ends a batch and then workers of its own, does not cost a device', () => {
    let diedAtMs: readonly number[] = [];
    for (let i = 0; i < 1 + JOB_DEATH_MAX_COUNT; i++) {
      const verdict = judgeDevice(diedAtMs, { ...death('signal'), ...READY, atMs: READY.atMs + i });
      assert.equal(verdict.fallback, undefined);
      diedAtMs = verdict.diedAtMs;
    }
  });

  it('[DEV2] deaths far apart and workers that we replaced ourselves are not held against it', () => {
    let diedAtMs: readonly number[] = [];
    for (let i = 0; i < 20; i++) {
      const atMs = READY.atMs + i * Math.ceil(RESTART_INTENSITY_WINDOW_MS / (DEVICE_DEATH_MAX_COUNT - 1));
      const verdict = judgeDevice(diedAtMs, { ...death('signal'), ...READY, atMs });
      assert.equal(verdict.fallback, undefined);
      diedAtMs = verdict.diedAtMs;
      for (let k = 0; k < 5; k++)
        assert.equal(judgeDevice(diedAtMs, { ...death('memory'), ...READY, atMs }).fallback, undefined);
    }
  });
});

describe('worker slot with a fallback', () => {
  it('[DEV3] a slot that cannot start on its device goes on on the CPU at once, and its owner never sees it fail', async () => {
    const setting = new Setting();
    await setting.fallBack();
    assert.deepEqual(setting.heard, ['startFailed, then starting', 'ready']);
    assert.deepEqual(setting.changes, ['its worker did not start: no such kernel']);
    const { status } = setting.worker;
    assert.deepEqual([status.state, status.device, status.restarts], ['ready', 'cpu', 1]);
    assert.match(status.fallback ?? '', /fake is not used: .*no such kernel/);
    await setting.worker.close();
    assert.equal(setting.liveCount, 0);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[DEV4] a refused configuration falls back too, instead of failing for good', async () => {
    const setting = new Setting();
    setting.worker.start();
    setting.accelerator.last.end({ code: EXIT_CONFIG });
    await settle();
    assert.equal(setting.worker.state, 'ready');
    assert.deepEqual(setting.heard, ['startFailed, then starting', 'ready']);
    await setting.worker.close();
  });

  it('[DEV5] the device is tried every ten seconds; failed probes cost the slot nothing and are told to nobody', async () => {
    const setting = new Setting();
    await setting.fallBack();
    for (let tries = 1; tries <= 3; tries++) {
      await setting.clock.advance(DEVICE_PROBE_INTERVAL_MS - 1);
      assert.equal(setting.probe.processes.length, tries - 1);
      await setting.clock.advance(1);
      assert.equal(setting.probe.processes.length, tries);
      setting.probe.last.end({ code: tries === 2 ? EXIT_CONFIG : 1 });
      await settle();
    }
    assert.equal(setting.worker.status.device, 'cpu');
    assert.deepEqual(setting.probes, ['failed', 'failed', 'failed']);
    assert.deepEqual(setting.heard, ['startFailed, then starting', 'ready']);
    await setting.worker.close();
    assert.equal(setting.liveCount, 0);
  });

  it('[DEV6] a probe that passes takes the slot over, and what it replaces ends in order', async () => {
    const setting = new Setting();
    await setting.fallBack();
    await setting.clock.advance(DEVICE_PROBE_INTERVAL_MS);
    assert.equal(setting.worker.status.device, 'cpu');
    actHealthy(setting.probe.last);
    await settle();
    const { status } = setting.worker;
    assert.deepEqual([status.device, status.fallback, status.restarts], ['fake', undefined, 2]);
    assert.equal(setting.cpu.last.countOf('stop'), 1);
    assert.deepEqual(setting.changes.length, 2);
    assert.equal(setting.changes[1], undefined);
    setting.worker.send({ type: 'job' });
    assert.equal(setting.probe.last.countOf('job'), 1);
    assert.deepEqual(setting.heard, ['startFailed, then starting', 'ready', 'ready']);
    await setting.worker.close();
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[DEV7] a job in progress is finished first; a CPU worker that dies meanwhile is replaced by the candidate', async () => {
    for (const how of ['rest', 'death'] as const) {
      const setting = new Setting();
      await setting.fallBack();
      setting.isBusy = true;
      await setting.clock.advance(DEVICE_PROBE_INTERVAL_MS);
      setting.probe.last.ready();
      assert.equal(setting.worker.status.device, 'cpu');
      setting.isBusy = false;
      if (how === 'rest') setting.worker.rest();
      else setting.cpu.last.end({ signal: 'SIGSEGV' });
      assert.equal(setting.worker.status.device, 'fake');
      setting.worker.send({ type: 'job' });
      assert.equal(setting.probe.last.countOf('job'), 1);
      const closed = setting.worker.close();
      await setting.clock.advance(10_000);
      await closed;
      assert.equal(setting.liveCount, 0);
    }
  });

  it('[DEV8] a device that breaks again is given up again', async () => {
    const setting = new Setting();
    await setting.fallBack();
    await setting.clock.advance(DEVICE_PROBE_INTERVAL_MS);
    actHealthy(setting.probe.last);
    await settle();
    setting.probe.onLaunch = (process) => {
      actHealthy(process);
    };
    for (let i = 0; i < DEVICE_DEATH_MAX_COUNT; i++) {
      assert.equal(setting.worker.status.device, 'fake');
      setting.probe.last.end({ signal: 'SIGSEGV' });
      await setting.clock.advance(500);
    }
    assert.equal(setting.worker.status.device, 'cpu');
    assert.equal(setting.worker.state, 'ready');
    await setting.worker.close();
    assert.equal(setting.liveCount, 0);
  });
});
