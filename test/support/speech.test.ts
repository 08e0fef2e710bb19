import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { samplesToMs } from '../../pipeline/audio.ts';
import { Synthesiser } from '../../server/load/synthesiser.ts';
import { concat, hum, mix, silence, tone, whiteNoise } from './sound.ts';
import { synthesise } from './speech.ts';

const LEAVING_CHILD = new URL('leaving_child_main.js', import.meta.url).href;
/** Enough for a process that leaves to have left. */
const LEAVING_MS = 500;

function dbfsOf(pcm: Int16Array): number {
  const square = pcm.reduce((sum, sample) => sum + (sample / 32_768) ** 2, 0) / pcm.length;
  return 10 * Math.log10(square);
}

describe('synthesised speech', () => {
  const warnings: string[] = [];
  const collect = (warning: Error): void => {
    warnings.push(warning.message);
  };
  before(() => process.on('warning', collect));
  after(() => process.off('warning', collect));

  it('[SPK1] a sentence becomes seconds of audible 16 kHz PCM, other words become other samples', async () => {
    const speech = await synthesise('the birch canoe slid on the smooth planks');
    const durationMs = samplesToMs(speech.length);
    assert.ok(durationMs > 1_500 && durationMs < 5_000, `${durationMs} ms`);
    assert.ok(dbfsOf(speech) > -35, `${dbfsOf(speech)} dBFS`);
    const other = await synthesise('the birch canoe slid on the smooth planks', { voice: 'rms' });
    assert.notDeepEqual(speech, other);
  });

  it(
    '[SPK6] a folder that is open to others is refused',
    { skip: process.platform === 'win32' },
    async (test) => {
      const folder = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
      test.after(() => rm(folder, { recursive: true }));
      await chmod(folder, 0o777);
      await assert.rejects(new Synthesiser(folder).speak('good morning'), /open to others: remove it/);
    },
  );

  it('[SPK2] the same sentence is spoken once, and nothing warns of it', async () => {
    const first = synthesise('glue the sheet to the dark blue background');
    assert.equal(synthesise('glue the sheet to the dark blue background'), first);
    await first;
    assert.deepEqual(warnings, []);
  });
});

describe('a synthesiser whose process ends between two sentences', () => {
  it('[SPK5] speaks the next one with another', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-speaker-'));
    const { NODE_OPTIONS = '', TMPDIR = tmpdir() } = process.env;
    Object.assign(process.env, { NODE_OPTIONS: `--import ${LEAVING_CHILD}`, TMPDIR: folder });
    const synthesiser = new Synthesiser();
    test.after(() => {
      Object.assign(process.env, { NODE_OPTIONS, TMPDIR });
      synthesiser.close();
      return rm(folder, { recursive: true });
    });
    assert.ok((await synthesiser.speak('a rod is used to catch pink salmon')).length > 0);
    await pause(LEAVING_MS);
    assert.ok((await synthesiser.speak('four hours of steady work faced us')).length > 0);
  });
});

describe('generated sound', () => {
  it('[SPK3] noise, tone and hum have the level and duration asked for', () => {
    const level = { durationMs: 2_000, dbfs: -30 };
    for (const pcm of [whiteNoise({ ...level, seed: 7 }), tone({ ...level, hz: 440 }), hum(level)]) {
      assert.equal(pcm.length, 32_000);
      assert.ok(Math.abs(dbfsOf(pcm) + 30) < 0.2, `${dbfsOf(pcm)} dBFS`);
    }
    assert.deepEqual(whiteNoise({ ...level, seed: 7 }), whiteNoise({ ...level, seed: 7 }));
    assert.notDeepEqual(whiteNoise({ ...level, seed: 7 }), whiteNoise({ ...level, seed: 8 }));
  });

  it('[SPK4] sounds are joined and mixed', () => {
    assert.deepEqual(concat(Int16Array.of(1, 2), silence(0), Int16Array.of(3)), Int16Array.of(1, 2, 3));
    assert.deepEqual(mix(Int16Array.of(32_000, 5), Int16Array.of(32_000)), Int16Array.of(32_767, 5));
    assert.equal(silence(20).length, 320);
  });
});
