import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import { WorkerAudioPool, type AudioTrack } from '../../pipeline/audio_pool.ts';
import { blankAudio } from '../../pipeline/blank_audio.ts';
import { systemClock } from '../../pipeline/clock.ts';
import {
  AUDIO_POISON_REPEAT_MS,
  HEARTBEAT_MAX_MS,
  INPUT_COALESCE_MS,
  POISON_MEMORY_MAX_COUNT,
  POISON_MESSAGE_MIN_BYTES,
  QUARANTINE_AGE_MAX_MS,
  RESTART_INTENSITY_COUNT,
  RESTART_INTENSITY_WINDOW_MS,
} from '../../pipeline/limits.ts';
import { readOpusPacket } from '../../pipeline/codecs/opus_packet.ts';
import { PoisonMessages } from '../../pipeline/poison_messages.ts';
import { forkLauncher } from '../../pipeline/worker_process.ts';
import {
  AudioWorld,
  describeEvent,
  ENDPOINTING,
  FORMAT,
  inputsOf,
  type AudioWorldOptions,
  type Kill,
} from '../support/audio_world.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { POISON_BYTE, POISON_RATE_HZ, SAMPLES_PER_BYTE } from '../support/scripted_audio.ts';

const INNOCENT = `ssss${'v'.repeat(15)}${'s'.repeat(20)}f${'v'.repeat(20)}x${'v'.repeat(10)}${'s'.repeat(15)}f`;
const POISONED = `ssss${'v'.repeat(20)}k${'v'.repeat(15)}${'s'.repeat(20)}f`;
/** The same with the poison blank. */
const CURED = POISONED.replaceAll('k', 'b');

interface Spoken {
  readonly track: AudioTrack;
  readonly heard: readonly string[];
  readonly script: string;
}

function isAnswered({ heard, script }: Spoken): boolean {
  const has = (sign: string): number => heard.filter((line) => line.includes(sign)).length;
  return has('"flushed"') >= script.split('f').length - 1 || has('"poison"') + has('"internal"') > 0;
}

function withoutFaults(heard: readonly string[]): readonly string[] {
  return heard.filter((line) => !line.includes('"undecodable_packet"'));
}

/** All scripts at the same time through one world, in real time. */
async function speak(
  scripts: readonly string[],
  options: AudioWorldOptions,
): Promise<{ readonly world: AudioWorld; readonly spoken: readonly Spoken[] }> {
  const world = new AudioWorld(options);
  await settle();
  const spoken = scripts.map((script) => ({ ...world.open(), script }));
  await say(world, spoken);
  return { world, spoken };
}

async function say(world: AudioWorld, spoken: readonly Spoken[]): Promise<void> {
  const inputs = spoken.map(({ script }) => inputsOf(script));
  for (let at = 0; at < Math.max(...inputs.map(({ length }) => length)); at++) {
    for (const [index, { track }] of spoken.entries()) {
      const input = inputs[index]?.[at];
      if (input !== undefined) track.push(input);
    }
    await world.clock.advance(INPUT_COALESCE_MS);
  }
  await world.until(() => spoken.every(isAnswered));
  await world.clock.advance(100);
}

/** An innocent and, beside it, a session in which opening or restoring is poison; something makes them restore. */
async function speakBeside(options: AudioWorldOptions): Promise<{
  readonly world: AudioWorld;
  readonly innocent: Spoken;
  readonly guilty: Spoken;
}> {
  const kills = options.poisonPlace === 'restore' ? [{ at: 300, side: 'before' } as const] : [];
  const world = new AudioWorld({ ...options, kills });
  await settle();
  const innocent = { ...world.open(), script: INNOCENT };
  const format = { ...FORMAT, sampleRateHz: POISON_RATE_HZ };
  const guilty = { ...world.open(0, format), script: INNOCENT.repeat(3) };
  await say(world, [innocent, guilty]);
  return { world, innocent, guilty };
}

async function close(world: AudioWorld): Promise<void> {
  const closed = world.pool.close();
  await world.clock.advance(10_000);
  await closed;
  assert.equal(world.clock.timerCount, 0);
}

async function hearAlone(script: string): Promise<readonly string[]> {
  const { world, spoken } = await speak([script], {});
  await close(world);
  return spoken[0]?.heard ?? [];
}

describe('audio pool: poison', () => {
  for (const [poison, cause] of [
    ['kills', 'signal'],
    ['hangs', 'hang'],
  ] as const) {
    for (const shape of [{ workerCount: 1 }, { workerCount: 2, spareCount: 1 }]) {
      it(`[AUD20] audio that ${poison} every worker costs two of ${shape.workerCount} and itself, and nobody else anything`, async () => {
        const innocents = Array.from({ length: 20 }, (_, index) => 's'.repeat(index) + INNOCENT);
        const alone = await Promise.all(innocents.map(hearAlone));
        const cured = await hearAlone(CURED);
        const { world, spoken } = await speak([...innocents, POISONED], { ...shape, poison });
        for (const [index, heard] of alone.entries()) assert.deepEqual(spoken[index]?.heard, heard);
        const heard = spoken.at(-1)?.heard ?? [];
        assert.equal(heard.filter((line) => line.includes('"undecodable_packet"')).length, 1);
        assert.deepEqual(
          world.deaths.map(({ death }) => death.cause),
          [cause, cause],
        );
        assert.equal(world.telemetry.total('audio_poisons_total', { outcome: 'concealed' }), 1);
        assert.deepEqual(
          withoutFaults(heard),
          cured,
          'the one message is blank, and nothing else is changed',
        );
        await close(world);
      });
    }
  }

  it('[AUD21] a session that is poison again soon is ended; the others, and one that was long ago, go on', async () => {
    const alone = await hearAlone(INNOCENT);
    const { world, spoken } = await speak([INNOCENT, POISONED, POISONED], { poison: 'kills' });
    const [, once, twice] = spoken;
    assert(once !== undefined && twice !== undefined);
    await say(world, [{ ...world.open(), script: INNOCENT }, twice]);
    assert.match(twice.heard.at(-1) ?? '', /"poison"/);
    assert.equal(world.telemetry.total('audio_poisons_total', { outcome: 'ended' }), 1);
    assert.deepEqual(spoken[0]?.heard, alone);
    await world.clock.advance(AUDIO_POISON_REPEAT_MS);
    const heardCount = once.heard.length;
    for (const input of inputsOf('k')) once.track.push(input);
    once.track.push({ type: 'flush', id: 'last' });
    await world.until(() => once.heard.some((line) => line.includes('"last"')));
    assert(once.heard.slice(heardCount).some((line) => line.includes('"undecodable_packet"')));
    await close(world);
  });

  it('[AUD22] a storm of kills and stops condemns nobody and changes nothing', async () => {
    const alone = await hearAlone(INNOCENT);
    const kill = fc.record({
      at: fc.nat(250),
      side: fc.constantFrom<Kill['side']>('before', 'after'),
      how: fc.constantFrom('killed' as const, 'stopped' as const),
    });
    const shape = fc.record({
      workerCount: fc.integer({ min: 1, max: 3 }),
      spareCount: fc.nat(1),
      // One after another: the second takes what the first has left a worker to try.
      kills: fc.tuple(fc.array(kill, { minLength: 2, maxLength: 8 }), fc.nat(200)).map(([kills, from]) => [
        ...kills,
        ...[0, 1, 2, 3].map((more) => ({
          ...{ at: from + more, side: 'before' as const },
          how: more % 2 === 0 ? ('killed' as const) : ('stopped' as const),
        })),
      ]),
    });
    await fc.assert(
      fc.asyncProperty(shape, async (options) => {
        const { world, spoken } = await speak([INNOCENT, INNOCENT, INNOCENT], options);
        for (const { heard } of spoken) assert.deepEqual(heard, alone);
        for (const outcome of ['concealed', 'ended'] as const)
          assert.equal(world.telemetry.total('audio_poisons_total', { outcome }), 0);
        await close(world);
      }),
      { numRuns: 25 },
    );
  });

  it('[AUD22] two deaths beside somebody else condemn nobody', async () => {
    const world = new AudioWorld({ poison: 'kills' });
    await settle();
    // Messages so long that a checkpoint holds them while they are judged: there is nothing of them to try.
    const innocent = world.open();
    const long = Uint8Array.from({ length: 20_000 }, (_, at) => at % 100);
    for (let time = 1; time <= 2; time++) {
      const culprit = world.open();
      innocent.track.push({ type: 'audio', bytes: long });
      await world.clock.advance(INPUT_COALESCE_MS);
      for (const input of inputsOf('k')) culprit.track.push(input);
      culprit.track.push({ type: 'flush', id: 'last' });
      await world.until(() => culprit.heard.some((line) => line.includes('"last"')));
      assert.equal(world.deaths.length, 2 * time);
    }
    innocent.track.push({ type: 'flush', id: 'last' });
    await world.until(() => innocent.heard.length > 0);
    const atSamples = 2 * long.length * SAMPLES_PER_BYTE;
    assert.deepEqual(innocent.heard, [JSON.stringify({ type: 'flushed', id: 'last', atSamples })]);
    await close(world);
  });

  it('[AUD23] an exception in one track ends that track, not its worker', async () => {
    const alone = await hearAlone(INNOCENT);
    const { world, spoken } = await speak([INNOCENT, POISONED], { poison: 'throws' });
    assert.deepEqual(spoken[0]?.heard, alone);
    assert.match(spoken[1]?.heard.at(-1) ?? '', /"internal"/);
    assert.deepEqual(world.deaths, []);
    assert.equal(world.telemetry.total('track_failures_total', {}), 1);
    await close(world);
  });

  for (const poisonPlace of ['open', 'restore'] as const) {
    it(`[AUD23] an exception in ${poisonPlace} of a track ends that track, not its worker`, async () => {
      const { innocent, guilty, world } = await speakBeside({ poison: 'throws', poisonPlace });
      assert.deepEqual(innocent.heard, await hearAlone(INNOCENT));
      assert.match(guilty.heard.at(-1) ?? '', /"internal"/);
      assert.equal(world.deaths.length, poisonPlace === 'open' ? 0 : 1, 'the one that made it restore');
      assert.equal(world.telemetry.total('track_failures_total', {}), 1);
      await close(world);
    });

    for (const shape of [{ workerCount: 1 }, { workerCount: 1, spareCount: 1 }]) {
      it(`[AUD26] a track whose ${poisonPlace} ends workers (${shape.spareCount ?? 0} spare) ends at the second death`, async () => {
        const { innocent, guilty, world } = await speakBeside({ ...shape, poison: 'kills', poisonPlace });
        assert.deepEqual(innocent.heard, await hearAlone(INNOCENT));
        assert.match(guilty.heard.at(-1) ?? '', /"internal"/);
        const crashes = world.deaths.filter(({ death }) => death.exit.signal === 'SIGSEGV');
        assert.equal(crashes.length, 2);
        assert.equal(world.telemetry.total('audio_poisons_total', { outcome: 'ended' }), 1);
        await close(world);
      });
    }
  }

  it('[AUD29] a worker that was dying already when it took a track over does not speak against it', async () => {
    for (const time of [1, 10, INPUT_COALESCE_MS + 5]) {
      const alone = await hearAlone(INNOCENT);
      const world = new AudioWorld({ workerCount: 1, spareCount: 1 });
      await settle();
      const innocent = { ...world.open(), script: INNOCENT };
      for (const input of inputsOf(INNOCENT)) innocent.track.push(input);
      await world.clock.advance(INPUT_COALESCE_MS);
      const [first, second] = [world.launcher.at(0), world.launcher.at(1)];
      // Both are ended at the same time; the system takes longer over the second.
      second.onMessage = () => undefined;
      first.end({ signal: 'SIGSEGV' });
      await world.clock.advance(time);
      second.end({ signal: 'SIGSEGV' });
      await world.until(() => isAnswered(innocent));
      assert.deepEqual(innocent.heard, alone);
      assert.equal(world.telemetry.total('audio_poisons_total', { outcome: 'ended' }), 0);
      await close(world);
    }
  });

  it('[AUD29] what a worker does with the end of one session does not speak against the one that is tried next', async () => {
    const world = new AudioWorld({ workerCount: 1, spareCount: 1 });
    await settle();
    const [innocent, leaving] = [{ ...world.open(), script: INNOCENT }, world.open()];
    for (const input of inputsOf(INNOCENT)) innocent.track.push(input);
    await world.clock.advance(INPUT_COALESCE_MS);
    const [first, second] = [world.launcher.at(0), world.launcher.at(1)];
    const pass = second.onMessage;
    let behindCloseCount: number | undefined;
    second.onMessage = (message) => {
      if (message.type !== 'entries') pass(message);
      else if (behindCloseCount !== undefined) behindCloseCount++;
      else if (message.entries.some(({ type }) => type === 'close')) behindCloseCount = 0;
      else pass(message);
    };
    first.end({ signal: 'SIGSEGV' });
    leaving.track.close();
    await world.until(() => behindCloseCount !== undefined);
    await world.clock.advance(10 * INPUT_COALESCE_MS);
    assert.equal(behindCloseCount, 0, 'nothing is tried while a message about another is unanswered');
    second.end({ signal: 'SIGSEGV' });
    await world.until(() => isAnswered(innocent));
    assert.deepEqual(innocent.heard, await hearAlone(INNOCENT));
    assert.equal(world.telemetry.total('audio_poisons_total', { outcome: 'concealed' }), 0);
    await close(world);
  });

  it('[AUD27] the same poison in session after session costs two workers, once, and parks none', async () => {
    const world = new AudioWorld({ workerCount: 1, spareCount: 1, poison: 'kills' });
    await settle();
    const message = Uint8Array.from({ length: POISON_MESSAGE_MIN_BYTES }, (_, at) => POISON_BYTE - at);
    for (let session = 0; session < 20; session++) {
      const { track, heard } = world.open();
      for (let time = 0; time < 3; time++) track.push({ type: 'audio', bytes: message });
      track.push({ type: 'flush', id: 'last' });
      await world.until(() => heard.some((line) => line.includes('"last"')));
      assert.equal(heard.filter((line) => line.includes('"undecodable_packet"')).length, 1);
      assert.match(heard.at(-1) ?? '', new RegExp(`"atSamples":${3 * message.length * SAMPLES_PER_BYTE}\\b`));
      track.close();
    }
    assert.equal(world.deaths.length, 2);
    assert.equal(world.telemetry.total('audio_poisons_total', { outcome: 'refused' }), 20 * 3 - 1);
    await world.clock.advance(QUARANTINE_AGE_MAX_MS);
    world.open().track.push({ type: 'audio', bytes: message });
    await world.until(() => world.deaths.length === 4);
    await close(world);
  });

  it('[AUD27] the same poison in many sessions at a time costs two workers', async () => {
    const world = new AudioWorld({ workerCount: 1, spareCount: 1, poison: 'kills' });
    await settle();
    const message = new Uint8Array(POISON_MESSAGE_MIN_BYTES).fill(POISON_BYTE);
    const opened = Array.from({ length: 10 }, () => world.open());
    for (const { track } of opened) {
      track.push({ type: 'audio', bytes: message });
      track.push({ type: 'flush', id: 'last' });
    }
    await world.until(() => opened.every(({ heard }) => heard.some((line) => line.includes('"last"'))));
    for (const { heard } of opened)
      assert.equal(heard.filter((line) => line.includes('"undecodable_packet"')).length, 1);
    assert.equal(world.deaths.length, 2);
    await close(world);
  });

  it('[AUD27] what is short or in another encoding is not taken for poison, nor what went out of the bound', () => {
    const memory = new PoisonMessages(new FakeClock());
    const short = new Uint8Array(POISON_MESSAGE_MIN_BYTES - 1);
    memory.remember(short, FORMAT);
    assert.equal(memory.has(short, FORMAT), false);
    const message = (value: number): Uint8Array => new Uint8Array(POISON_MESSAGE_MIN_BYTES).fill(value);
    memory.remember(message(0), FORMAT);
    assert.equal(memory.has(message(0), FORMAT), true);
    assert.equal(memory.has(message(0), { encoding: 'opus', sampleRateHz: 48_000, channels: 1 }), false);
    for (let i = 1; i <= POISON_MEMORY_MAX_COUNT; i++)
      memory.remember(Uint8Array.of(i >> 8, ...message(i & 255)), FORMAT);
    assert.equal(memory.has(message(0), FORMAT), false);
  });

  it('[AUD28] deaths in a trial do not park workers: with new poison in every session all are served', async () => {
    const world = new AudioWorld({ workerCount: 1, poison: 'kills' });
    const startedAtMs = world.clock.nowMs();
    await settle();
    for (let session = 0; session < RESTART_INTENSITY_COUNT; session++) {
      const { track, heard } = world.open();
      for (const input of inputsOf('ssk')) track.push(input);
      track.push({ type: 'flush', id: 'last' });
      await world.until(() => heard.some((line) => line.includes('"last"')));
      track.close();
    }
    assert.equal(world.deaths.length, 2 * RESTART_INTENSITY_COUNT);
    assert(
      world.clock.nowMs() - startedAtMs < RESTART_INTENSITY_WINDOW_MS,
      'nobody waited for a parked worker',
    );
    await close(world);
  });

  it('[AUD24] a message that is given up is replaced by one that lasts as long', () => {
    const pcm = blankAudio(Uint8Array.of(1, 2, 3), FORMAT);
    assert.deepEqual(pcm, new Uint8Array(3));
    for (const [encoding, silence] of [
      ['pcm_f32le', 0],
      ['mulaw', 0xff],
      ['alaw', 0xd5],
      ['auto', 0],
      ['webm_opus', 0],
    ] as const) {
      const blank = blankAudio(Uint8Array.of(1, 2, 3), { ...FORMAT, encoding });
      assert.deepEqual(blank, new Uint8Array(3).fill(silence));
    }
    const opus = { encoding: 'opus', sampleRateHz: 48_000, channels: 1 } as const;
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        const blank = readOpusPacket(blankAudio(bytes, opus));
        assert.equal(blank?.durationSamples, readOpusPacket(bytes)?.durationSamples);
      }),
    );
  });
});

describe('audio pool: poison in real processes', () => {
  for (const fault of ['SIGSEGV', 'heap', 'loop']) {
    it(`[AUD25] real workers that end by ${fault} on one session's audio end twice, and the others hear everything`, async () => {
      const alone = await hearAlone(INNOCENT);
      const telemetry = new RecordingTelemetry();
      const path = fileURLToPath(new URL('../support/faulty_audio_worker_main.js', import.meta.url));
      const execArgv = ['--max-old-space-size=48'];
      let deathCount = 0;
      const pool = new WorkerAudioPool({
        launch: forkLauncher<AudioRequest, AudioReply>(path, { args: [fault], execArgv }),
        clock: systemClock,
        random: Math.random,
        telemetry,
        ...{ workerCount: 1, spareCount: 1, rssMaxBytes: 1e10, onChange: () => undefined },
        onDeath: () => deathCount++,
      });
      pool.start();
      const scripts = [INNOCENT, INNOCENT, INNOCENT, POISONED];
      const spoken = await Promise.all(scripts.map((script) => hearPool(pool, script)));
      for (const heard of spoken.slice(0, 3)) assert.deepEqual(heard, alone);
      assert.equal(spoken[3]?.at(-1), (await hearAlone(CURED)).at(-1));
      assert.equal(telemetry.total('audio_poisons_total', { outcome: 'concealed' }), 1);
      assert.equal(deathCount, 2, `a hang is told after ${HEARTBEAT_MAX_MS} ms`);
      await pool.close();
    });
  }

  function hearPool(pool: WorkerAudioPool, script: string): Promise<readonly string[]> {
    const heard: string[] = [];
    return new Promise((resolve) => {
      const settings = { format: FORMAT, endpointing: ENDPOINTING, originSamples: 0 };
      const track = pool.open(settings, (event) => {
        heard.push(describeEvent(event));
        if (isAnswered({ track, heard, script })) resolve(heard);
      });
      for (const input of inputsOf(script)) track.push(input);
    });
  }
});
