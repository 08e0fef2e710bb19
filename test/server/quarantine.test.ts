import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  DISK_QUEUE_MAX_COUNT,
  DISK_WAIT_MAX_MS,
  QUARANTINE_AGE_MAX_MS,
  QUARANTINE_MAX_COUNT,
  QUARANTINE_SWEEP_INTERVAL_MS,
} from '../../pipeline/limits.ts';
import { contentHash, PoisonMemory } from '../../pipeline/poison_memory.ts';
import type { FileSystem } from '../../server/records/private_folder.ts';
import { DiskQuarantine } from '../../server/records/quarantine.ts';
import { readWav } from '../../server/commands/wav_file.ts';
import { renderWav } from '../../server/commands/wav_writer.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { FaultyFileSystem } from '../support/faulty_file_system.ts';
import { temporaryFolder } from '../support/faulty_worker.ts';
import { KeptLog } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { whiteNoise } from '../support/sound.ts';

const noise = (seed: number): Int16Array => whiteNoise({ durationMs: 800, dbfs: -20, seed });

class Setting {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly log = new KeptLog();
  readonly quarantine: DiskQuarantine;
  readonly memory: PoisonMemory;
  aheadMs = 0;

  constructor(folder: string, mode: 'off' | 'hash' | 'full', files?: FileSystem) {
    this.quarantine = new DiskQuarantine({
      folder,
      mode,
      model: 'a-model',
      clock: this.clock,
      now: () => new Date(new Date().getTime() + this.aheadMs),
      telemetry: this.telemetry,
      log: this.log,
      onKnown: (poison, ageMs) => {
        this.memory.remember(poison, ageMs);
      },
      onForgotten: (hash) => {
        this.memory.forget(hash);
      },
      ...(files === undefined ? {} : { files }),
    });
    this.memory = new PoisonMemory({ clock: this.clock, quarantine: this.quarantine });
  }
}

void describe('quarantine on disk', () => {
  it('[QUA46] a disk that does not answer holds up neither the start nor the end, and its queue is bounded', async () => {
    const files = new FaultyFileSystem();
    const setting = new Setting('/q', 'full', files);
    await setting.quarantine.open();
    let answer = (): void => undefined;
    files.hold = new Promise((resolve) => {
      answer = resolve;
    });
    for (let seed = 0; seed < DISK_QUEUE_MAX_COUNT + 3; seed++) setting.memory.condemn(noise(seed), 2);
    assert.equal(setting.telemetry.total('quarantine_write_failures_total', {}), 3);
    let isClosed = false;
    const closed = setting.quarantine.close().then(() => (isClosed = true));
    await setting.clock.advance(DISK_WAIT_MAX_MS - 1);
    assert.equal(isClosed, false);
    await setting.clock.advance(1);
    await closed;
    assert.equal(setting.clock.timerCount, 0);
    answer();
  });

  it('[QUA40] hash keeps the facts and never the audio; a later process knows them', async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(join(path, 'q'), 'hash');
    await setting.quarantine.open();
    setting.memory.condemn(noise(1), 2);
    await setting.quarantine.close();
    const names = await readdir(join(path, 'q'));
    assert.deepEqual(names, [`${contentHash(noise(1)).slice(0, 16)}.json`]);
    const later = new Setting(join(path, 'q'), 'hash');
    await later.quarantine.open();
    await later.quarantine.close();
    assert.equal(later.memory.judge(noise(1)), 'poison');
    await remove();
  });

  it('[QUA41] full keeps the audio too, sample for sample, and private; off keeps nothing', async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(join(path, 'q'), 'full');
    await setting.quarantine.open();
    setting.memory.condemn(noise(1), 2);
    await setting.quarantine.close();
    const wav = join(path, 'q', `${contentHash(noise(1)).slice(0, 16)}.wav`);
    assert.deepEqual(readWav(new Uint8Array(await readFile(wav))), noise(1));
    assert.equal((await stat(wav)).mode & 0o777, 0o600);
    assert.equal((await stat(join(path, 'q'))).mode & 0o777, 0o700);
    const off = new Setting(join(path, 'off'), 'off');
    await off.quarantine.open();
    off.memory.condemn(noise(1), 2);
    await off.quarantine.close();
    await assert.rejects(stat(join(path, 'off')));
    await remove();
  });

  it('[QUA42] after a day it is gone from the disk and from memory; what an operator clears is forgotten too', async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(path, 'full');
    await setting.quarantine.open();
    for (const seed of [1, 2]) setting.memory.condemn(noise(seed), 2);
    await setting.quarantine.sweep();
    assert.equal((await readdir(path)).length, 4);
    const id = contentHash(noise(1)).slice(0, 16);
    await rm(join(path, `${id}.json`));
    await rm(join(path, `${id}.wav`));
    await setting.clock.advance(QUARANTINE_SWEEP_INTERVAL_MS);
    await setting.quarantine.sweep();
    assert.equal(setting.memory.judge(noise(1)), 'clean');
    assert.equal(setting.memory.judge(noise(2)), 'poison');
    setting.aheadMs = QUARANTINE_AGE_MAX_MS - 60_000;
    await setting.quarantine.sweep();
    assert.equal((await readdir(path)).length, 2);
    setting.aheadMs = QUARANTINE_AGE_MAX_MS;
    await setting.quarantine.sweep();
    assert.deepEqual(await readdir(path), []);
    assert.equal(setting.memory.judge(noise(2)), 'clean');
    await setting.quarantine.close();
    assert.equal(setting.clock.timerCount, 0);
    await remove();
  });

  it('[QUA43] the folder is bounded: the oldest go, on disk and in memory', async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(path, 'hash');
    await setting.quarantine.open();
    const short = (seed: number): Int16Array => noise(seed).subarray(0, 1_600);
    setting.memory.condemn(short(0), 2);
    await setting.quarantine.sweep();
    await utimes(
      join(path, `${contentHash(short(0)).slice(0, 16)}.json`),
      1_000,
      new Date(Date.UTC(2026, 0)),
    );
    setting.aheadMs = Date.UTC(2026, 0) + 60_000 - new Date().getTime();
    for (let seed = 1; seed <= QUARANTINE_MAX_COUNT; seed++) {
      setting.memory.condemn(short(seed), 2);
      await setting.quarantine.sweep();
    }
    assert.equal((await readdir(path)).length, QUARANTINE_MAX_COUNT);
    assert.notEqual(setting.memory.judge(short(0)), 'poison');
    assert.equal(setting.memory.judge(short(1)), 'poison');
    await setting.quarantine.close();
    await remove();
  });

  it('[QUA44] a full disk: counted, nothing partial left, and the audio is refused all the same', async () => {
    const files = new FaultyFileSystem();
    files.freeBytes = 100;
    const setting = new Setting('/full', 'full', files);
    await setting.quarantine.open();
    setting.memory.condemn(noise(1), 2);
    await setting.quarantine.close();
    assert.equal(setting.telemetry.total('quarantine_write_failures_total', {}), 1);
    assert.deepEqual([...files.contents.keys()], []);
    assert.equal(setting.memory.judge(noise(1)), 'poison');
    assert.ok(setting.log.lines.some(({ event }) => event === 'the quarantine cannot be kept on disk'));
  });

  it('[QUA47] what is condemned after the end is not written any more', async () => {
    const files = new FaultyFileSystem();
    const setting = new Setting('/ended', 'full', files);
    await setting.quarantine.open();
    await setting.quarantine.close();
    setting.memory.condemn(noise(1), 2);
    await setting.quarantine.close();
    assert.deepEqual([...files.contents.keys()], []);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[QUA45] a WAV file that was written is read back as it was', () => {
    for (const pcm of [new Int16Array(0), Int16Array.of(0, 1, -1, 32_767, -32_768)]) {
      assert.deepEqual(readWav(renderWav(pcm)), pcm);
    }
  });
});
