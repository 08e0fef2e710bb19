import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  FINAL_WAIT_FULL_MS,
  LOAD_SAMPLE_INTERVAL_MS,
  LOAD_WINDOW_COUNT,
  QUIET_MIN_MS,
} from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import { LoadMonitor, loadOfScheduler, type LoadReading } from '../../server/load_monitor.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { ScriptedPool } from '../support/scripted_pool.ts';
import { ScriptedTrack, SessionSetting } from '../support/session_setting.ts';

const WINDOW_MS = LOAD_SAMPLE_INTERVAL_MS * LOAD_WINDOW_COUNT;

class Setting {
  readonly clock = new FakeClock();
  readonly rungs: string[] = [];
  /** Sessions that can be shed, and when it was done. */
  quietCount = 0;
  readonly shedAtMs: number[] = [];
  reading: LoadReading = {
    finalSlotMs: 0,
    partialSlotMs: 0,
    slotCount: 2,
    finalWaitMs: 0,
    audioBusyMs: 0,
    audioWorkerCount: 1,
    loopBusyMs: 0,
    memoryRatio: 0.1,
  };
  /** Slot time of finals, of partials, of audio workers and of the loop that each sample adds. */
  readonly busyMs = { final: 0, partial: 0, audio: 0, loop: 0 };
  readonly monitor = new LoadMonitor({
    clock: this.clock,
    read: () => {
      const { final, partial, audio, loop } = this.busyMs;
      this.reading = {
        ...this.reading,
        finalSlotMs: this.reading.finalSlotMs + final,
        partialSlotMs: this.reading.partialSlotMs + partial,
        audioBusyMs: this.reading.audioBusyMs + audio,
        loopBusyMs: this.reading.loopBusyMs + loop,
      };
      return this.reading;
    },
    shed: () => {
      if (this.quietCount === 0) return false;
      this.quietCount--;
      this.shedAtMs.push(this.clock.nowMs());
      return true;
    },
    onRung: (rung, { source }) => this.rungs.push(`${rung} by ${source}`),
  });
}

describe('load monitor', () => {
  it('[LAD6] every source leads up the ladder by itself: finals, their wait, audio, the event loop, memory', async () => {
    const sources: readonly (readonly [string, (setting: Setting) => void])[] = [
      ['finals', ({ busyMs }) => (busyMs.final = 2 * 240)],
      [
        'final_wait',
        (setting) => (setting.reading = { ...setting.reading, finalWaitMs: FINAL_WAIT_FULL_MS }),
      ],
      ['audio', ({ busyMs }) => (busyMs.audio = 240)],
      ['event_loop', ({ busyMs }) => (busyMs.loop = 240)],
      ['memory', (setting) => (setting.reading = { ...setting.reading, memoryRatio: 0.95 })],
    ];
    for (const [source, press] of sources) {
      const setting = new Setting();
      setting.monitor.start();
      press(setting);
      await setting.clock.advance(WINDOW_MS);
      const expected = ['partials_suspended', 'refusing', 'shedding'].map((rung) => `${rung} by ${source}`);
      assert.deepEqual(setting.rungs, expected);
      setting.monitor.close();
      assert.equal(setting.clock.timerCount, 0);
    }
  });

  it('[LAD7] partials alone are no load, for they yield by themselves; nor are finals while there is no worker', async () => {
    const setting = new Setting();
    setting.busyMs.partial = 2 * LOAD_SAMPLE_INTERVAL_MS;
    setting.monitor.start();
    await setting.clock.advance(WINDOW_MS);
    setting.reading = { ...setting.reading, slotCount: 0, finalWaitMs: 60_000 };
    await setting.clock.advance(WINDOW_MS);
    assert.equal(setting.monitor.rung, 'calm');
    setting.monitor.close();
  });

  it('[LAD8] pressure, shares, rung and headroom are exported', async () => {
    const setting = new Setting();
    setting.busyMs.final = LOAD_SAMPLE_INTERVAL_MS / 2;
    setting.busyMs.partial = LOAD_SAMPLE_INTERVAL_MS / 4;
    setting.monitor.start();
    await setting.clock.advance(WINDOW_MS);
    const telemetry = new RecordingTelemetry();
    setting.monitor.report(telemetry, { count: 12, freeCount: 50 });
    assert.equal(telemetry.gauge('load_pressure', {}), 0.25);
    assert.equal(telemetry.gauge('load_ratio', { source: 'finals' }), 0.25);
    assert.equal(telemetry.gauge('load_rung', {}), 0);
    // With partials 0.375 is used by 12: up to 0.85 another 15 fit.
    assert.equal(telemetry.gauge('sessions_headroom', {}), 15);
    setting.monitor.close();
  });
});

describe('shedding', () => {
  const late = (setting: Setting): void => {
    setting.reading = { ...setting.reading, finalWaitMs: 3 * FINAL_WAIT_FULL_MS };
  };

  it('[LAD11] while finals come late one session is shed in a window, and then it is measured again', async () => {
    const setting = new Setting();
    setting.quietCount = 10;
    setting.monitor.start();
    late(setting);
    await setting.clock.advance(4 * WINDOW_MS - 1);
    const gapsMs = setting.shedAtMs.map((atMs, i) => atMs - (setting.shedAtMs[i - 1] ?? atMs));
    assert.deepEqual(gapsMs, [0, WINDOW_MS, WINDOW_MS, WINDOW_MS]);
    setting.reading = { ...setting.reading, finalWaitMs: 0 };
    await setting.clock.advance(4 * WINDOW_MS);
    assert.equal(setting.shedAtMs.length, 4);
    setting.monitor.close();
  });

  it('[LAD11] no load of another kind sheds anybody; who becomes quiet later is found', async () => {
    const setting = new Setting();
    setting.quietCount = 1;
    setting.busyMs.final = 2 * LOAD_SAMPLE_INTERVAL_MS;
    setting.reading = { ...setting.reading, memoryRatio: 5 };
    setting.monitor.start();
    await setting.clock.advance(3 * WINDOW_MS);
    assert.deepEqual([setting.monitor.rung, setting.shedAtMs], ['shedding', []]);
    setting.quietCount = 0;
    late(setting);
    await setting.clock.advance(3 * WINDOW_MS);
    setting.quietCount = 1;
    await setting.clock.advance(LOAD_SAMPLE_INTERVAL_MS);
    assert.equal(setting.shedAtMs.length, 1);
    setting.monitor.close();
  });

  it('[LAD12] what is read never counts for more than all there is', async () => {
    const setting = new Setting();
    setting.busyMs.final = 100 * LOAD_SAMPLE_INTERVAL_MS;
    setting.reading = { ...setting.reading, memoryRatio: 100 };
    setting.monitor.start();
    await setting.clock.advance(WINDOW_MS);
    const telemetry = new RecordingTelemetry();
    setting.monitor.report(telemetry, { count: 1, freeCount: 1 });
    assert.equal(telemetry.gauge('load_ratio', { source: 'finals' }), 1);
    assert.equal(telemetry.gauge('load_ratio', { source: 'memory' }), 1);
    setting.monitor.close();
  });

  it('[LAD13] refusal that lasts longer than a window is told, with what it is for', async () => {
    const setting = new Setting();
    setting.busyMs.audio = LOAD_SAMPLE_INTERVAL_MS;
    setting.monitor.start();
    await setting.clock.advance(WINDOW_MS);
    assert.deepEqual([setting.monitor.rung, setting.monitor.refusedFor], ['shedding', undefined]);
    await setting.clock.advance(WINDOW_MS);
    assert.equal(setting.monitor.refusedFor, 'audio');
    setting.busyMs.audio = 0;
    await setting.clock.advance(WINDOW_MS);
    assert.equal(setting.monitor.refusedFor, undefined);
    setting.monitor.close();
  });

  it('[LAD14] early finals alone are a load of finals, also while they never wait for their end', async () => {
    const setting = new SessionSetting();
    const { clock, track, scheduler } = setting;
    const rungs: string[] = [];
    const idle = { audioBusyMs: 0, audioWorkerCount: 1, loopBusyMs: 0, memoryRatio: 0, slotCount: 1 };
    const monitor = new LoadMonitor({
      clock,
      read: () => loadOfScheduler(scheduler, idle),
      onRung: (rung, { source }) => rungs.push(`${rung} by ${source}`),
      shed: () => false,
    });
    monitor.start();
    for (let i = 0; i < 15; i++) {
      track.start();
      track.speak(1_000);
      track.speak(230, 30);
      await clock.advance(390);
      await setting.succeed('good morning');
      track.end(1_000, 30);
      await clock.advance(10);
    }
    assert.equal(setting.of('final').length, 15);
    assert.equal(setting.telemetry.total('early_finals_total', { outcome: 'used' }), 15);
    assert.equal(rungs[0], 'partials_suspended by finals');
    monitor.close();
  });
});

describe('session registry under load', () => {
  const clock = new FakeClock();
  const telemetry = new RecordingTelemetry();

  function registryOf(track: ScriptedTrack, isRefusing = (): boolean => false): SessionRegistry {
    const scheduler = new Scheduler({
      ...{ pool: new ScriptedPool(1), clock, telemetry, partialIntervalMs: 500 },
      onPartialsSuspended: () => undefined,
    });
    return new SessionRegistry({
      ...{ audioPool: track, scheduler, clock, telemetry, maxSessions: 100, isReady: () => true, isRefusing },
    });
  }

  const settings = {
    format: { encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 },
    endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
    ...{ partials: true, words: false, originAudioMs: 0, firstUtteranceId: 1 },
    ...{ dialect: 'native' as const, idleMaxMs: 10_000, finalObjectiveMs: 500, isPaced: false },
  } as const;

  it('[LAD9] new sessions are refused as overloaded, with a time to come back', () => {
    const registry = registryOf(new ScriptedTrack(), () => true);
    const refusal = registry.refusal();
    assert.equal(refusal?.reason, 'overloaded');
    assert(refusal.retryAfterSeconds > 0 && refusal.error.retryable);
    registry.close();
  });

  it('[LAD10] only a session quiet for long is shed, told where to go on; who speaks, is owed or is not heard yet stays', async () => {
    const track = new ScriptedTrack();
    const registry = registryOf(track);
    const events: SessionEvent[] = [];
    const quiet = registry.open(settings, (event) => events.push(event));
    await clock.advance(QUIET_MIN_MS);
    assert(!registry.shedQuietest(), 'at the bound it is not quiet yet');
    await clock.advance(1);
    quiet.keepAlive();
    const speaking = registry.open(settings, () => undefined);
    track.isBehind = true;
    assert(!registry.shedQuietest(), 'what it sent may be speech');
    track.isBehind = false;
    assert(registry.shedQuietest());
    assert.deepEqual(
      events.map(({ type }) => type),
      ['goAway', 'failed'],
    );
    const [, failed] = events;
    assert(failed?.type === 'failed' && failed.error.code === 'shed' && failed.error.retryable);
    assert.equal(quiet.state, 'closed');
    track.emit({ type: 'speechStart', startSamples: 0, decidedAtSamples: 0 });
    await clock.advance(2 * QUIET_MIN_MS);
    assert(!registry.shedQuietest());
    assert.equal(speaking.state, 'open');
    registry.close();
  });
});
