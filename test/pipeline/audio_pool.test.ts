import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { AudioTrack } from '../../pipeline/audio_pool.ts';
import type { TrackInput } from '../../pipeline/contracts.ts';
import {
  INPUT_COALESCE_MS,
  INPUT_OVERHEAD_BYTES,
  SESSION_INFLIGHT_MAX_BYTES,
} from '../../pipeline/limits.ts';
import { AudioWorld, inputsOf, type AudioWorldOptions, type Kill } from '../support/audio_world.ts';
import { settle } from '../support/fake_clock.ts';

/** About 3 s: speech, pauses long and short, damage, a long utterance that is split, flushes in speech and silence. */
const SCRIPT = 's4 v12 x1 v4 s13 f v8 f v6 p s2 v30 x v30 s6 v4 s13 x2 s2 v9 f'
  .split(' ')
  .map((run) => run.charAt(0).repeat(Number(run.slice(1) || 1)))
  .join('');

async function pushAll(world: AudioWorld, track: AudioTrack, inputs: readonly TrackInput[]): Promise<void> {
  for (const [index, input] of inputs.entries()) {
    assert.equal(track.push(input), 'accepted');
    if (index % 8 === 7) await world.clock.advance(INPUT_COALESCE_MS);
  }
}

/** Runs one track through a world; what it heard, and how many messages crossed. */
async function hear(
  script: string,
  options: AudioWorldOptions,
): Promise<{ heard: readonly string[]; crossed: number }> {
  const world = new AudioWorld(options);
  await settle();
  const { track, heard } = world.open();
  const inputs = inputsOf(script);
  await pushAll(world, track, inputs);
  const flushCount = inputs.filter(({ type }) => type === 'flush').length;
  await world.until(() => heard.filter((line) => line.includes('"flushed"')).length >= flushCount);
  // What would come twice would come now.
  await world.clock.advance(100);
  track.close();
  const closed = world.pool.close();
  await world.clock.advance(10_000);
  await closed;
  assert.equal(world.clock.timerCount, 0);
  return { heard, crossed: world.crossedCount };
}

describe('audio pool: replay', () => {
  it('[AUD1] undisturbed, the script is heard with every kind of event', async () => {
    const { heard } = await hear(SCRIPT, {});
    for (const sign of [
      'speechStart',
      '"silence"',
      '"split"',
      '"flush"',
      '"audioStopped"',
      '"fault"',
      'pcm',
    ]) {
      assert(
        heard.some((line) => line.includes(sign)),
        sign,
      );
    }
  });

  it('[AUD2] a kill at every message boundary changes nothing of what a session hears', async () => {
    const undisturbed = await hear(SCRIPT, {});
    assert(undisturbed.crossed > 50, `${undisturbed.crossed} boundaries`);
    const runs = Array.from({ length: 2 * undisturbed.crossed }, async (_, index) => {
      const kill: Kill = { at: index >> 1, side: index % 2 === 0 ? 'before' : 'after' };
      const { heard } = await hear(SCRIPT, { kills: [kill] });
      assert.deepEqual(heard, undisturbed.heard, `killed ${kill.side} message ${kill.at}`);
    });
    // At the same time, for they mostly wait for the next turn of the event loop.
    await Promise.all(runs);
  });

  it('[AUD5] wherever in the audio the checkpoint falls, a replay goes on from it without a trace', async () => {
    const runs = Array.from({ length: 100 }, async (_, delay) => {
      const script = 's'.repeat(delay) + SCRIPT;
      const undisturbed = await hear(script, {});
      const { heard } = await hear(script, { kills: [{ at: undisturbed.crossed - 4, side: 'before' }] });
      assert.deepEqual(heard, undisturbed.heard, `delayed by ${delay} messages`);
    });
    await Promise.all(runs);
  });

  it('[AUD3] whatever number of workers dies whenever, every session hears what it would have heard alone', async () => {
    const piece = fc.constantFrom('s', 'v', 'x', 'f', 'p', 'v'.repeat(20), 's'.repeat(20), 'v'.repeat(55));
    const script = fc.array(piece, { minLength: 5, maxLength: 14 }).map((parts) => `${parts.join('')}f`);
    const kill = fc.record({ at: fc.nat(120), side: fc.constantFrom<Kill['side']>('before', 'after') });
    const world = fc.record({
      workerCount: fc.integer({ min: 1, max: 3 }),
      spareCount: fc.nat(1),
      kills: fc.array(kill, { minLength: 1, maxLength: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(script, { minLength: 1, maxLength: 4 }), world, async (scripts, options) => {
        const alone = await Promise.all(scripts.map((one) => hear(one, {})));
        const together = await hearTogether(scripts, options);
        scripts.forEach((_, index) => {
          assert.deepEqual(together[index], alone[index]?.heard);
        });
      }),
      { numRuns: 25 },
    );
  });

  async function hearTogether(
    scripts: readonly string[],
    options: AudioWorldOptions,
  ): Promise<readonly (readonly string[])[]> {
    const world = new AudioWorld(options);
    await settle();
    const sessions = scripts.map((script) => ({ ...world.open(), inputs: inputsOf(script) }));
    const length = Math.max(...sessions.map(({ inputs }) => inputs.length));
    for (let i = 0; i < length; i++) {
      for (const { track, inputs } of sessions) {
        const input = inputs[i];
        if (input !== undefined) track.push(input);
      }
      if (i % 4 === 3) await world.clock.advance(INPUT_COALESCE_MS);
    }
    await world.until(() =>
      sessions.every(
        ({ heard, inputs }) =>
          heard.filter((line) => line.includes('"flushed"')).length ===
          inputs.filter(({ type }) => type === 'flush').length,
      ),
    );
    await world.clock.advance(100);
    const closed = world.pool.close();
    await world.clock.advance(10_000);
    await closed;
    return sessions.map(({ heard }) => heard);
  }

  it('[AUD4] a replay starts at the last checkpoint: the log is trimmed to about its interval', async () => {
    const world = new AudioWorld();
    await settle();
    const { track, heard } = world.open();
    await pushAll(world, track, inputsOf('v'.repeat(1_000)));
    await world.until(() => heard.length > 600);
    await world.clock.advance(100);
    world.launcher.last.end({ signal: 'SIGSEGV' });
    await world.clock.advance(5);
    const [replay] = world.launcher.last.received.filter((message) => message.type === 'entries');
    assert(replay?.type === 'entries');
    const [open, ...inputs] = replay.entries;
    assert(open?.type === 'open' && open.state !== undefined);
    // 2 s of audio are 100 to 125 messages; what was cut off is not sent again.
    assert(inputs.length < 160, `${inputs.length} inputs replayed`);
    assert.equal(world.telemetry.total('replays_total', {}), 1);
    assert.deepEqual(
      world.deaths.map(({ death, trackCount }) => [death.cause, trackCount]),
      [['signal', 1]],
    );
    const closed = world.pool.close();
    await world.clock.advance(5_000);
    await closed;
  });
});

describe('audio pool: where tracks run', () => {
  /** Tracks that each process was asked to open, by their ids. */
  function opened(world: AudioWorld): readonly (readonly number[])[] {
    return world.launcher.processes.map((process) =>
      process.received.flatMap((message) =>
        message.type === 'entries'
          ? message.entries.filter(({ type }) => type === 'open').map(({ track }) => track)
          : [],
      ),
    );
  }

  async function close(world: AudioWorld): Promise<void> {
    const closed = world.pool.close();
    await world.clock.advance(10_000);
    await closed;
    assert.equal(world.clock.timerCount, 0);
    assert.equal(world.launcher.liveCount, 0);
  }

  it('[MET13] the way of a message through its worker is timed, one message at a time, and what is kept is told', async () => {
    const world = new AudioWorld({});
    await settle();
    const { track } = world.open();
    await pushAll(world, track, inputsOf('s6'));
    assert(world.pool.keptBytes >= INPUT_OVERHEAD_BYTES, String(world.pool.keptBytes));
    await world.clock.advance(100);
    const timed = world.telemetry.values('audio_path_seconds', {});
    assert(
      timed.length > 0 && timed.every((seconds) => seconds >= INPUT_COALESCE_MS / 1_000 && seconds < 0.2),
      String(timed),
    );
    track.close();
    assert.equal(world.pool.keptBytes, 0);
    const closed = world.pool.close();
    await world.clock.advance(10_000);
    await closed;
  });

  it('[AUD10] tracks are spread over the workers, and spares stay empty', async () => {
    const world = new AudioWorld({ workerCount: 2, spareCount: 1 });
    await settle();
    for (let i = 0; i < 6; i++) world.open();
    await world.clock.advance(INPUT_COALESCE_MS);
    assert.deepEqual(
      opened(world)
        .map((ids) => ids.length)
        .sort(),
      [0, 3, 3],
    );
    await close(world);
  });

  it('[AUD11] tracks of a dead worker move to one that is ready, without waiting for the restart', async () => {
    const world = new AudioWorld({ workerCount: 1, spareCount: 1 });
    await settle();
    world.open();
    await world.clock.advance(INPUT_COALESCE_MS);
    world.launcher.onLaunch = () => undefined;
    world.launcher.at(0).end({ signal: 'SIGKILL' });
    await world.clock.advance(INPUT_COALESCE_MS);
    assert.deepEqual(opened(world), [[1], [1], []]);
    await close(world);
  });

  it('[AUD12] tracks stranded with a worker that does not come back move to the first one that does', async () => {
    const world = new AudioWorld({ workerCount: 2 });
    await settle();
    world.open();
    world.open();
    await world.clock.advance(INPUT_COALESCE_MS);
    world.launcher.onLaunch = (process) => {
      world.launcher.onLaunch = () => undefined;
      setImmediate(() => {
        process.ready();
      });
    };
    world.launcher.at(0).end({ signal: 'SIGKILL' });
    await world.clock.advance(0);
    world.launcher.at(1).end({ signal: 'SIGKILL' });
    await world.clock.advance(2 * INPUT_COALESCE_MS);
    assert.deepEqual(
      opened(world)
        .slice(2)
        .map((ids) => [...ids].sort()),
      [[1, 2], []],
    );
    await close(world);
  });

  it('[AUD13] what is pushed while no worker is ready is not lost', async () => {
    const world = new AudioWorld();
    const { track, heard } = world.open();
    for (const input of inputsOf(`${'v'.repeat(20)}f`)) track.push(input);
    assert.equal(world.crossedCount, 0);
    await world.until(() => heard.some((line) => line.includes('"flushed"')));
    assert(heard.some((line) => line.includes('speechEnd')));
    await close(world);
  });

  it('[AUD14] inputs are sent together, not one by one', async () => {
    const world = new AudioWorld();
    await settle();
    const { track } = world.open();
    for (const input of inputsOf('s'.repeat(50))) track.push(input);
    await world.clock.advance(INPUT_COALESCE_MS);
    assert.equal(world.launcher.last.countOf('entries'), 1);
    await close(world);
  });

  it('[AUD15] a track whose worker is behind takes audio up to its bound, then no more, but always a flush', async () => {
    const world = new AudioWorld();
    const { track } = world.open();
    const bytes = new Uint8Array(65_536 - INPUT_OVERHEAD_BYTES);
    const fitting = SESSION_INFLIGHT_MAX_BYTES / 65_536;
    for (let i = 0; i < fitting; i++) assert.equal(track.push({ type: 'audio', bytes }), 'accepted');
    assert.equal(track.push({ type: 'audio', bytes: new Uint8Array(1) }), 'full');
    assert.equal(track.push({ type: 'flush', id: 'x' }), 'accepted');
    await close(world);
  });

  it('[AUD16] many tiny messages are bounded like few large ones', () => {
    const world = new AudioWorld();
    const { track } = world.open();
    let count = 0;
    while (track.push({ type: 'audio', bytes: new Uint8Array(0) }) === 'accepted') count++;
    assert.equal(count, SESSION_INFLIGHT_MAX_BYTES / INPUT_OVERHEAD_BYTES);
  });

  it('[AUD17] a closed track says nothing more, and its worker frees it; closing twice is harmless', async () => {
    const world = new AudioWorld();
    await settle();
    const { track, heard } = world.open();
    for (const input of inputsOf(`${'v'.repeat(20)}f`)) track.push(input);
    await world.clock.advance(INPUT_COALESCE_MS - 1);
    track.close();
    track.close();
    await world.clock.advance(100);
    assert.deepEqual(heard, []);
    const closes = world.launcher.last.received.flatMap((message) =>
      message.type === 'entries' ? message.entries.filter(({ type }) => type === 'close') : [],
    );
    assert.equal(closes.length, 1);
    world.launcher.last.end({ signal: 'SIGKILL' });
    await world.clock.advance(100);
    assert.deepEqual(opened(world).at(-1), []);
    await close(world);
  });

  it('[AUD18] an orderly end is no death', async () => {
    const world = new AudioWorld({ workerCount: 2 });
    await settle();
    world.open();
    await close(world);
    assert.deepEqual(world.deaths, []);
    assert.equal(world.telemetry.total('replays_total', {}), 0);
  });

  it('[AUD19] a worker that has grown too large is replaced, and its sessions hear nothing of it', async () => {
    const undisturbed = await hear(SCRIPT, {});
    const world = new AudioWorld({ workerCount: 1, spareCount: 1 });
    await settle();
    const { track, heard } = world.open();
    const inputs = inputsOf(SCRIPT);
    await pushAll(world, track, inputs.slice(0, 90));
    world.launcher.at(0).pong(1_001);
    await pushAll(world, track, inputs.slice(90));
    await world.until(() => heard.length >= undisturbed.heard.length);
    assert.deepEqual(heard, undisturbed.heard);
    assert.deepEqual(
      world.deaths.map(({ death }) => death.cause),
      ['memory'],
    );
    await close(world);
  });
});
