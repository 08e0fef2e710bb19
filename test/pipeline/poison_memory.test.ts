import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { msToSamples } from '../../pipeline/audio.ts';
import {
  JOB_DEATH_MAX_COUNT,
  POISON_HEAD_MS,
  POISON_MEMORY_MAX_COUNT,
  QUARANTINE_AGE_MAX_MS,
  SUSPECT_AGE_MAX_MS,
} from '../../pipeline/limits.ts';
import { contentHash, PoisonMemory, type Poison } from '../../pipeline/poison_memory.ts';
import type { JobAudio, PartialRequest, PartialSource } from '../../pipeline/job_requests.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { Strikes } from '../../pipeline/strikes.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { seededRandom } from '../support/random.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from '../support/scripted_pool.ts';

/** Noise; the same seed gives the same beginning at any length. */
function audio(seed: number, durationMs = 3_000): Int16Array {
  const random = seededRandom(seed);
  return Int16Array.from({ length: msToSamples(durationMs) }, () => Math.floor(random() * 2_000));
}

describe('what is remembered of audio that ended workers', () => {
  it('[QUA20] only the same content is poison; what begins alike is suspect; the rest is clean', () => {
    const memory = new PoisonMemory({ clock: new FakeClock() });
    assert.equal(memory.judge(audio(1)), 'clean');
    memory.condemn(audio(1), 2);
    assert.equal(memory.judge(audio(1)), 'poison');
    assert.equal(memory.judge(audio(1, 2_000)), 'suspect');
    assert.equal(memory.judge(audio(1, POISON_HEAD_MS)), 'suspect');
    assert.equal(memory.judge(audio(1, POISON_HEAD_MS / 2)), 'suspect', 'too short to tell');
    assert.equal(memory.judge(audio(2)), 'clean');
    // One sample of difference, far from the beginning.
    const other = audio(1);
    other[other.length - 1] = 3_000;
    assert.equal(memory.judge(other), 'suspect');
  });

  it('[QUA21] poison is forgotten after a day, a suspicion after minutes, or when a final came through', () => {
    const clock = new FakeClock();
    const memory = new PoisonMemory({ clock });
    memory.condemn(audio(1), 2);
    memory.suspect(audio(2));
    memory.suspect(audio(3));
    memory.absolve(audio(3));
    assert.equal(memory.judge(audio(2)), 'suspect');
    assert.equal(memory.judge(audio(3)), 'clean');
    clock.stall(SUSPECT_AGE_MAX_MS - 1);
    assert.equal(memory.judge(audio(2)), 'suspect');
    clock.stall(1);
    assert.equal(memory.judge(audio(2)), 'clean');
    clock.stall(QUARANTINE_AGE_MAX_MS - SUSPECT_AGE_MAX_MS - 1);
    assert.equal(memory.judge(audio(1)), 'poison');
    assert.equal(memory.count, 1);
    clock.stall(1);
    assert.equal(memory.judge(audio(1)), 'clean');
    assert.equal(memory.count, 0);
  });

  it('[QUA22] what an earlier process knew is refused for the rest of its day; what is cleared gets new tries', () => {
    const clock = new FakeClock();
    const told: Poison[] = [];
    const first = new PoisonMemory({ clock, quarantine: { keep: (poison) => told.push(poison) } });
    first.condemn(audio(1), 2);
    const [poison] = told;
    assert.ok(poison !== undefined);
    assert.equal(poison.contentHash, contentHash(audio(1)));
    assert.equal(poison.durationMs, 3_000);
    const second = new PoisonMemory({ clock });
    second.remember(poison, QUARANTINE_AGE_MAX_MS - 1_000);
    clock.stall(999);
    assert.equal(second.judge(audio(1)), 'poison');
    second.forget(poison.contentHash);
    assert.equal(second.judge(audio(1)), 'clean');
    const third = new PoisonMemory({ clock });
    third.remember(poison, QUARANTINE_AGE_MAX_MS - 1_000);
    clock.stall(1_000);
    assert.equal(third.judge(audio(1)), 'clean');
    first.forget(poison.contentHash);
    assert.equal(first.judge(audio(1)), 'clean');
  });

  it('[QUA23] memory is bounded: the oldest is forgotten', () => {
    const memory = new PoisonMemory({ clock: new FakeClock() });
    for (let i = 0; i <= POISON_MEMORY_MAX_COUNT; i++) memory.condemn(audio(i, 100), 2);
    assert.equal(memory.count, POISON_MEMORY_MAX_COUNT);
    assert.equal(memory.judge(audio(POISON_MEMORY_MAX_COUNT, 100)), 'poison');
    assert.notEqual(memory.judge(audio(0, 100)), 'poison');
  });
});

function partialOf(jobAudio: JobAudio): PartialRequest {
  return { audio: jobAudio, isWhole: false, done: () => true, failed: () => undefined };
}

class Setting {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly pool: ScriptedPool;
  readonly memory = new PoisonMemory({ clock: this.clock });
  readonly scheduler: Scheduler;
  readonly outcomes: string[] = [];

  constructor(slotCount = 1) {
    this.pool = new ScriptedPool(slotCount);
    this.scheduler = new Scheduler({
      pool: this.pool,
      clock: this.clock,
      telemetry: this.telemetry,
      partialIntervalMs: 500,
      onPartialsSuspended: () => undefined,
      poisonMemory: this.memory,
    });
  }

  final(pcm: Int16Array, strikes = new Strikes()): void {
    this.scheduler.submitFinal({
      isWanted: () => true,
      audio: { pcm, draft: [], strikes },
      deadlineAtMs: this.clock.nowMs(),
      done: ({ text }) => this.outcomes.push(text),
      failed: ({ code }) => this.outcomes.push(code),
    });
  }

  /** Starts a partial of this audio. */
  async partial(pcm: Int16Array, strikes: Strikes): Promise<PartialSource> {
    const source = { takePartial: () => partialOf({ pcm, draft: [], strikes }) };
    this.scheduler.addSource(source);
    await this.clock.advance(500);
    return source;
  }

  refusals(kind: 'partial' | 'final'): number {
    return this.telemetry.total('quarantine_refusals_total', { kind });
  }
}

describe('the scheduler and poison', () => {
  it('[QUA30] the third upload of 30 s of poison is refused within 5 ms, and no worker is touched', async () => {
    const setting = new Setting();
    const pcm = audio(1, 30_000);
    setting.final(pcm);
    for (let i = 0; i < JOB_DEATH_MAX_COUNT; i++) {
      setting.pool.first.fail('worker_died');
      await settle();
    }
    assert.deepEqual(setting.outcomes, ['poison']);
    setting.pool.slotCount = 0;
    // The least of many: what came on top was somebody else's.
    const attempts = Array.from({ length: 20 }, () => audioAgain(pcm));
    const elapsedMs = Math.min(
      ...attempts.map((again) => {
        const startedAtMs = performance.now();
        setting.final(again);
        return performance.now() - startedAtMs;
      }),
    );
    assert.ok(elapsedMs <= 5, `${elapsedMs} ms`);
    assert.deepEqual(setting.outcomes, new Array(1 + attempts.length).fill('poison'));
    assert.equal(setting.pool.started.length, JOB_DEATH_MAX_COUNT);
    assert.equal(setting.refusals('final'), attempts.length);
  });

  it('[QUA31] the death of a partial leaves the final one try: together two workers, never three', async () => {
    const setting = new Setting();
    const strikes = new Strikes();
    const source = await setting.partial(audio(1, 1_000), strikes);
    setting.pool.first.fail('worker_died');
    await setting.clock.advance(5_000);
    assert.equal(setting.pool.started.length, 1, 'no more partials of this utterance');
    setting.scheduler.removeSource(source);
    setting.final(audio(1), strikes);
    setting.pool.first.fail('deadline_exceeded');
    await settle();
    assert.deepEqual(setting.outcomes, ['poison']);
    assert.equal(setting.pool.started.length, 2);
    assert.equal(setting.memory.judge(audio(1)), 'poison');
  });

  it('[QUA36] a partial too short to be known again leaves the final its try, too', async () => {
    const setting = new Setting();
    const strikes = new Strikes();
    let durationMs = POISON_HEAD_MS / 2;
    const takePartial = (): PartialRequest =>
      partialOf({ pcm: audio(1, (durationMs += 200)), draft: [], strikes });
    setting.scheduler.addSource({ takePartial });
    await setting.clock.advance(500);
    setting.pool.first.fail('worker_died');
    await setting.clock.advance(5_000);
    assert.equal(setting.pool.started.length, 1);
  });

  it('[QUA32] a final whose partial still runs is not tried again before that has ended', async () => {
    const setting = new Setting(2);
    const strikes = new Strikes();
    const source = await setting.partial(audio(1, 1_000), strikes);
    setting.scheduler.removeSource(source);
    setting.final(audio(1), strikes);
    const [partial, final] = [...setting.pool.running];
    final?.fail('worker_died');
    await settle();
    assert.equal(setting.pool.started.length, 2, 'partial, final, and no third job at risk');
    setting.final(audio(2));
    assert.equal(setting.pool.started.length, 3, 'others do not wait for it');
    partial?.fail('worker_died');
    await settle();
    assert.deepEqual(setting.outcomes, ['poison']);
  });

  it('[QUA33] the same, and the partial survives: the final is tried again and delivered', async () => {
    const setting = new Setting(2);
    const strikes = new Strikes();
    setting.scheduler.removeSource(await setting.partial(audio(1, 1_000), strikes));
    setting.final(audio(1), strikes);
    const [partial, final] = [...setting.pool.running];
    final?.fail('worker_died');
    await settle();
    partial?.succeed(hypothesisOf('one'));
    await settle();
    setting.pool.first.succeed(hypothesisOf('one two'));
    await settle();
    assert.deepEqual(setting.outcomes, ['one two']);
    assert.equal(setting.memory.judge(audio(1)), 'clean');
  });

  it('[QUA34] audio that begins like poison gets no partials, its final is tried; other audio gets both', async () => {
    const setting = new Setting(2);
    setting.memory.condemn(audio(1), 2);
    const source = await setting.partial(audio(1, 1_500), new Strikes());
    await setting.clock.advance(5_000);
    assert.equal(setting.pool.started.length, 0);
    assert.ok(setting.refusals('partial') >= 5);
    setting.scheduler.removeSource(source);
    setting.final(audio(1, 2_000));
    await setting.partial(audio(2, 1_500), new Strikes());
    assert.equal(setting.pool.started.length, 2);
  });

  it('[QUA35] the same audio that waits in another session is refused once it is known to be poison', async () => {
    const setting = new Setting();
    setting.final(audio(1));
    setting.final(audio(1));
    // The retry of the first has the earlier deadline, and so has its turn first.
    setting.pool.first.fail('worker_died');
    await settle();
    setting.pool.first.fail('worker_died');
    await settle();
    setting.pool.running[0]?.fail('worker_died');
    await settle();
    setting.pool.running[0]?.fail('worker_died');
    await settle();
    assert.deepEqual(setting.outcomes, ['poison', 'poison']);
    assert.ok(setting.pool.started.length <= 3);
  });
});

function audioAgain(pcm: Int16Array): Int16Array {
  return pcm.slice();
}
