import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { msToSamples } from '../../pipeline/audio.ts';
import { EXIT_DEVICE, type TranscriptionError } from '../../pipeline/errors.ts';
import { JOB_DEATH_MAX_COUNT } from '../../pipeline/limits.ts';
import { PoisonMemory } from '../../pipeline/poison_memory.ts';
import type { FinalRequest } from '../../pipeline/job_requests.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { settle } from '../support/fake_clock.ts';
import { PoolSetting } from '../support/pool_setting.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { FakeSource } from '../support/scheduler_setting.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const INTERVAL_MS = 500;
/** Time in which a worker that died has come back. */
const RESTART_MS = 1_000;

/** A scheduler on a real pool of one slot, over a process that the test plays. */
class BatchSetting {
  readonly outcomes = new Map<number, string>();
  readonly scheduler: Scheduler;
  readonly memory: PoisonMemory;
  readonly setting: PoolSetting;

  private constructor(setting: PoolSetting) {
    this.setting = setting;
    this.memory = new PoisonMemory({ clock: setting.clock });
    this.scheduler = new Scheduler({
      poisonMemory: this.memory,
      pool: setting.pool,
      clock: setting.clock,
      telemetry: new RecordingTelemetry(),
      partialIntervalMs: INTERVAL_MS,
      onPartialsSuspended: () => undefined,
    });
    setting.onChange = () => {
      this.scheduler.pump();
    };
  }

  static async ready(batchMaxCount: number): Promise<BatchSetting> {
    return new BatchSetting(await PoolSetting.ready(1, 0, { batchMaxCount }));
  }

  /** A final of so many milliseconds, by which its outcome is known. */
  final(ms: number): void {
    const request: FinalRequest = {
      // Content that is its own, for what is remembered of poison.
      audio: { pcm: new Int16Array(msToSamples(ms)).fill(ms), draft: [] },
      deadlineAtMs: this.setting.clock.nowMs() + ms,
      isWanted: () => true,
      done: ({ text }) => this.outcomes.set(ms, text),
      failed: ({ code }: TranscriptionError) => this.outcomes.set(ms, code),
    };
    this.scheduler.submitFinal(request);
  }

  /** Lengths in ms of the jobs of the batch that runs. */
  get running(): readonly number[] {
    const message = this.setting.launcher.last.received.findLast(({ type }) => type === 'batch');
    return message?.type === 'batch' ? message.jobs.map(({ pcm }) => pcm.length / 16) : [];
  }

  /** Answers all jobs of the batch that runs, or ends the process if one is of this length. */
  async play(poisonMs?: number): Promise<void> {
    const process = this.setting.launcher.last;
    const message = process.received.findLast(({ type }) => type === 'batch');
    if (message?.type !== 'batch') return;
    if (message.jobs.some(({ pcm }) => pcm.length / 16 === poisonMs)) process.end({ signal: 'SIGSEGV' });
    else {
      for (const { jobId, pcm } of message.jobs) {
        process.reply({ type: 'result', jobId, hypothesis: hypothesisOf(`heard ${pcm.length / 16}`) });
      }
    }
    await this.setting.clock.advance(RESTART_MS);
  }
}

describe('scheduler: batches', () => {
  it('[BAT9] a free slot gets all that waits: finals by their deadlines, then early finals, then partials', async () => {
    const of = await BatchSetting.ready(4);
    const [partial, early] = [new FakeSource(msToSamples(700)), new FakeSource(msToSamples(800))];
    of.final(400);
    await settle();
    assert.deepEqual(of.running, [400], 'an idle slot does not wait for a batch to fill');
    of.scheduler.addSource(partial);
    of.scheduler.addSource(early);
    await of.setting.clock.advance(INTERVAL_MS);
    of.scheduler.hurry(early);
    for (const ms of [600, 500]) of.final(ms);
    await of.play();
    assert.deepEqual(of.running, [500, 600, 800, 700]);
    await of.setting.pool.close();
  });

  it('[BAT9] partials fill a batch only where no final waits', async () => {
    const of = await BatchSetting.ready(2);
    of.final(400);
    await settle();
    of.scheduler.addSource(new FakeSource(msToSamples(700)));
    await of.setting.clock.advance(INTERVAL_MS);
    for (const ms of [500, 600, 650]) of.final(ms);
    await of.play();
    assert.deepEqual(of.running, [500, 600]);
    await of.play();
    assert.deepEqual(of.running, [650, 700]);
    await of.setting.pool.close();
  });

  it('[BAT3] of a batch that ended its worker each row is run alone: poison is found, and everybody else is heard', async () => {
    const of = await BatchSetting.ready(4);
    of.final(300);
    await settle();
    for (const ms of [400, 500, 600]) of.final(ms);
    await of.play();
    assert.deepEqual(of.running, [400, 500, 600]);
    await of.play(500);
    const alone: number[][] = [];
    while (of.outcomes.size < 4) {
      alone.push([...of.running]);
      await of.play(500);
    }
    assert.ok(
      alone.every(({ length }) => length === 1),
      JSON.stringify(alone),
    );
    assert.deepEqual(
      [300, 400, 500, 600].map((ms) => of.outcomes.get(ms)),
      ['heard 300', 'heard 400', 'poison', 'heard 600'],
    );
    // Once in company, which is held against nobody, and as often alone as anybody may.
    assert.equal(of.setting.deaths.length, 1 + JOB_DEATH_MAX_COUNT);
    await of.setting.pool.close();
  });

  it('[BAT7] a batch that is lost costs the slot its time once, however many rows it had', async () => {
    const of = await BatchSetting.ready(4);
    const partial = new FakeSource(msToSamples(700));
    of.final(300);
    await settle();
    of.scheduler.addSource(partial);
    await of.setting.clock.advance(INTERVAL_MS);
    for (const ms of [400, 500, 600]) of.final(ms);
    await of.play();
    assert.deepEqual(of.running, [400, 500, 600, 700]);
    const before = { ...of.scheduler.slotMs };
    await of.setting.clock.advance(200);
    of.setting.launcher.last.end({ signal: 'SIGSEGV' });
    await settle();
    const { final, partial: partialMs } = of.scheduler.slotMs;
    // It began with the wait of `play`, in which nothing was answered.
    const lostMs = RESTART_MS + 200;
    assert.deepEqual([final - before.final, partialMs - before.partial], [(lostMs * 3) / 4, lostMs / 4]);
    await of.setting.pool.close();
  });

  it('[DEV16] the loss of a device is not held against the audio that was on it: its final still comes', async () => {
    const of = await BatchSetting.ready(1);
    of.final(400);
    for (let losses = 0; losses < JOB_DEATH_MAX_COUNT; losses++) {
      await settle();
      assert.deepEqual(of.running, [400]);
      of.setting.launcher.last.end({ code: EXIT_DEVICE });
      await of.setting.clock.advance(RESTART_MS);
    }
    await of.play();
    assert.equal(of.outcomes.get(400), 'heard 400');
    assert.equal(of.memory.judge(new Int16Array(msToSamples(400)).fill(400)), 'clean');
    await of.setting.pool.close();
  });
});
