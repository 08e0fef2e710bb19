import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { CRASH_REPORTS_MAX_BYTES, QUARANTINE_MAX_BYTES } from '../../pipeline/limits.ts';
import { CrashReports } from '../../server/records/crash_reports.ts';
import { openQuarantineFolder } from '../../server/records/quarantine.ts';
import { PrivateFolder } from '../../server/records/private_folder.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { FaultyFileSystem } from '../support/faulty_file_system.ts';
import { KeptLog } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

/** When the files of the disk were made. */
const now = (): Date => new Date(0);

/** A disk with files of these sizes in `/folder`; of equal age the first by name counts as the oldest. */
function diskWith(sizes: Readonly<Record<string, number>>): FaultyFileSystem {
  const files = new FaultyFileSystem();
  for (const [name, bytes] of Object.entries(sizes)) {
    files.contents.set(`/folder/${name}`, new Uint8Array(bytes));
  }
  return files;
}

function namesIn(files: FaultyFileSystem): readonly string[] {
  return [...files.contents.keys()].map((path) => path.replace('/folder/', '')).sort();
}

void describe('private folder', () => {
  it('[FLD1] beyond its bytes the oldest records go, whole, and no more of them than need be', async () => {
    const files = diskWith({
      'a.json': 10,
      'a.wav': 30,
      'b.json': 10,
      'b.wav': 40,
      'c.json': 10,
      'c.wav': 40,
    });
    const folder = new PrivateFolder({
      ...{ path: '/folder', bounds: { maxCount: 10, maxBytes: 100 } },
      ...{ isOurs: () => true, now, files },
    });
    await folder.prune();
    assert.deepEqual(namesIn(files), ['b.json', 'b.wav', 'c.json', 'c.wav']);
    files.contents.set('/folder/d.json', new Uint8Array(1));
    await folder.prune();
    assert.deepEqual(namesIn(files), ['c.json', 'c.wav', 'd.json']);
  });

  it('[QUA43] the quarantine holds 64 MB at most', async () => {
    const id = (digit: string): string => digit.repeat(16);
    const half = QUARANTINE_MAX_BYTES / 2;
    const files = diskWith({ [`${id('1')}.wav`]: half, [`${id('2')}.wav`]: half, [`${id('3')}.wav`]: half });
    await openQuarantineFolder('/folder', { now, files }).prune();
    assert.deepEqual(namesIn(files), [`${id('2')}.wav`, `${id('3')}.wav`]);
  });

  it('[CRA11] the folder of crash reports holds 200 MB at most', async () => {
    const nameOf = (second: number): string => `2030010${second}T000000000Z-audio-1.json`;
    const half = CRASH_REPORTS_MAX_BYTES / 2;
    const files = diskWith({ [nameOf(1)]: half, [nameOf(2)]: half, [nameOf(3)]: half });
    const reports = new CrashReports({
      ...{ folder: '/folder', maxCount: 50, files, now, clock: new FakeClock() },
      ...{ telemetry: new RecordingTelemetry(), log: new KeptLog() },
    });
    await reports.open();
    await reports.close();
    assert.deepEqual(namesIn(files), [nameOf(2), nameOf(3)]);
  });

  describe('when the clock has gone back', () => {
    const HOUR_MS = 3_600_000;

    /** A folder of two records at most, on a disk whose clock the test sets. */
    function clockedFolder(clock: { nowMs: number }) {
      const files = new FaultyFileSystem(() => clock.nowMs);
      const folder = new PrivateFolder({
        ...{ path: '/folder', bounds: { maxCount: 2, maxBytes: 100, maxAgeMs: 24 * HOUR_MS } },
        ...{ isOurs: () => true, now: () => new Date(clock.nowMs), files },
      });
      const write = async (...names: readonly string[]): Promise<void> => {
        for (const name of names) await folder.write(name, new Uint8Array(1));
        await folder.prune();
      };
      return { files, write };
    }

    it('[FLD2] the record written last is still the last to go, file for file', async () => {
      const clock = { nowMs: 100 * HOUR_MS };
      const { files, write } = clockedFolder(clock);
      await write('c.json');
      await write('d.json');
      clock.nowMs -= HOUR_MS;
      await write('a.wav', 'a.json');
      assert.deepEqual(namesIn(files), ['a.json', 'a.wav', 'd.json']);
      clock.nowMs -= HOUR_MS;
      await write('b.json');
      assert.deepEqual(namesIn(files), ['a.json', 'a.wav', 'b.json']);
    });

    it('[FLD2] no record is dated after one from a clock that was wrong, so that its age stays bounded', async () => {
      const clock = { nowMs: 100_000 * HOUR_MS };
      const { files, write } = clockedFolder(clock);
      await write('wrong.json');
      clock.nowMs = 100 * HOUR_MS;
      await write('right.json');
      assert.deepEqual(namesIn(files), ['right.json', 'wrong.json']);
      clock.nowMs += 24 * HOUR_MS;
      await write('next.json');
      assert.deepEqual(namesIn(files), ['next.json', 'wrong.json']);
    });

    it('[FLD2] [CRA11] a real disk keeps the newest crash report', async (test) => {
      const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
      test.after(() => rm(folder, { recursive: true }));
      const reports = new CrashReports({
        ...{ folder, maxCount: 1, now: () => new Date(), clock: new FakeClock() },
        ...{ telemetry: new RecordingTelemetry(), log: new KeptLog() },
      });
      const record = async (pid: number): Promise<void> => {
        const exit = { code: 1, signal: null, kind: 'exit', generation: 1, uptimeMs: 1 } as const;
        reports.record({
          ...{ role: 'audio', pid, ...exit, rssBytes: 0, jobs: [], sessionsReplayed: 0, stderrTail: '' },
        });
        await reports.close();
      };
      await reports.open();
      await record(1);
      const [first = ''] = await readdir(folder);
      const { mtimeMs } = await stat(join(folder, first));
      const aheadSeconds = (mtimeMs + HOUR_MS) / 1_000;
      await utimes(join(folder, first), aheadSeconds, aheadSeconds);
      await record(2);
      assert.match((await readdir(folder)).join(), /^[^,]*-audio-2\.json$/);
    });
  });
});
