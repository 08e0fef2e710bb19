import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { DISK_QUEUE_MAX_COUNT, DISK_WAIT_MAX_MS, NODE_REPORT_MAX_BYTES } from '../../pipeline/limits.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { runCli } from '../../server/commands/cli.ts';
import { CrashReports, type CrashFacts, type CrashReport } from '../../server/records/crash_reports.ts';
import { diskFileSystem, type FileSystem } from '../../server/records/private_folder.ts';
import { scrub } from '../../server/records/scrubbing.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { FaultyFileSystem } from '../support/faulty_file_system.ts';
import { temporaryFolder } from '../support/faulty_worker.ts';
import { KeptLog } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

function factsOf(pid: number, changes: Partial<CrashFacts> = {}): CrashFacts {
  const job = { jobId: 7, durationMs: 1_500, contentHash: 'ab'.repeat(32) };
  return {
    role: 'inference',
    pid,
    generation: 3,
    uptimeMs: 61_000.4,
    code: null,
    signal: 'SIGSEGV',
    kind: 'signal',
    rssBytes: 150e6,
    jobs: [job],
    sessionsReplayed: 0,
    stderrTail: 'last words\n',
    ...changes,
  };
}

class Setting {
  readonly telemetry = new RecordingTelemetry();
  readonly log = new KeptLog();
  readonly clock = new FakeClock();
  readonly reports: CrashReports;
  #second = 0;

  constructor(folder: string, options: { maxCount?: number; files?: FileSystem; isReal?: boolean } = {}) {
    const { maxCount = 50, files = diskFileSystem, isReal = true } = options;
    this.reports = new CrashReports({
      folder,
      maxCount,
      files,
      clock: isReal ? systemClock : this.clock,
      now: () => new Date(Date.UTC(2030, 0, 1, 0, 0, this.#second++)),
      telemetry: this.telemetry,
      log: this.log,
    });
  }

  get failureCount(): number {
    return this.telemetry.total('crash_record_write_failures_total', {});
  }
}

async function cli(...args: string[]): Promise<{ status: number; stdout: string }> {
  const parts: string[] = [];
  const keep = (): Writable =>
    new Writable({
      write: (part: Buffer, _encoding, done) => {
        parts.push(part.toString('utf8'));
        done();
      },
    });
  return { status: await runCli(args, { stdout: keep(), stderr: keep() }), stdout: parts.join('') };
}

void describe('crash reports', () => {
  it('[CRA10] a report holds the facts and no more, is private, and the command line shows it', async () => {
    const { path, remove } = await temporaryFolder();
    const folder = join(path, 'state', 'crashes');
    const setting = new Setting(folder);
    await setting.reports.open();
    const id = setting.reports.record(factsOf(4_711));
    await setting.reports.close();
    const report = JSON.parse(await readFile(join(folder, `${id}.json`), 'utf8')) as CrashReport;
    assert.deepEqual(Object.keys(report).sort(), [
      ...['at', 'cause', 'code', 'generation', 'id', 'jobs', 'kind', 'nodeReport', 'pid', 'role', 'rssBytes'],
      ...['sessionsReplayed', 'signal', 'stderrTail', 'uptimeMs', 'version', 'versions'],
    ]);
    assert.equal((await stat(join(folder, `${id}.json`))).mode & 0o777, 0o600);
    const flag = ['--crash-dir', folder];
    assert.match((await cli('crashes', 'list', ...flag)).stdout, /inference +61\.0 s +signal +SIGSEGV: segm/);
    assert.match(
      (await cli('crashes', 'show', id.slice(0, 8), ...flag)).stdout,
      /sha256 (ab){32}[^]*last words/,
    );
    assert.deepEqual(JSON.parse((await cli('crashes', 'show', id, '--json', ...flag)).stdout), report);
    assert.equal((await cli('crashes', 'show', 'nothing', ...flag)).status, 1);
    assert.equal((await cli('crashes', 'list', '--crash-dir', join(path, 'none'))).status, 0);
    await remove();
  });

  it('[CRA4] the report of a worker that we killed says that it was us', async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(path);
    await setting.reports.open();
    setting.reports.record(factsOf(1, { signal: 'SIGKILL', kind: 'hang' }));
    await setting.reports.close();
    const { stdout } = await cli('crashes', 'list', '--crash-dir', path);
    assert.match(stdout, /hang +SIGKILL: ended by the server: it did not answer in time/);
    await remove();
  });

  it(
    '[CRA17] a folder that is there keeps its mode, with a warning if others can look into it',
    { skip: process.platform === 'win32' },
    async () => {
      const { path, remove } = await temporaryFolder();
      for (const [mode, warningCount] of [
        [0o755, 1],
        [0o700, 0],
      ] as const) {
        await chmod(path, mode);
        const setting = new Setting(path);
        await setting.reports.open();
        setting.reports.record(factsOf(1));
        await setting.reports.close();
        assert.equal((await stat(path)).mode & 0o777, mode);
        assert.equal(setting.log.lines.filter(({ level }) => level === 'warn').length, warningCount);
      }
      const [above, made] = [join(path, 'a'), join(path, 'a', 'b')];
      await new Setting(made).reports.open();
      for (const folder of [above, made]) assert.equal((await stat(folder)).mode & 0o777, 0o700);
      await remove();
    },
  );

  it('[R-23] a folder that cannot be made is a warning at once', { skip: !existsSync('/proc') }, async () => {
    const { path, remove } = await temporaryFolder();
    await writeFile(join(path, 'file'), '');
    for (const folder of ['/proc/nope', '/proc/nope/deep', '/dev/null/x', join(path, 'file')]) {
      const setting = new Setting(folder);
      await setting.reports.open();
      assert.deepEqual(
        setting.log.lines.map(({ event }) => event),
        ['crash reports cannot be written'],
        folder,
      );
    }
    await remove();
  });

  it('[CRA11] beyond the count the oldest goes; files of others stay', async () => {
    const { path, remove } = await temporaryFolder();
    await writeFile(join(path, 'README'), 'not ours');
    const setting = new Setting(path, { maxCount: 3 });
    await setting.reports.open();
    const ids = [1, 2, 3, 4, 5].map((pid) => setting.reports.record(factsOf(pid)));
    await setting.reports.close();
    assert.deepEqual(
      (await readdir(path)).sort(),
      [...ids.slice(-3).map((id) => `${id}.json`), 'README'].sort(),
    );
    await remove();
  });

  it('[CRA12] what an earlier process left half written, empty or unscrubbed is removed at the start', async () => {
    const { path, remove } = await temporaryFolder();
    await mkdir(join(path, 'c'));
    const folder = join(path, 'c');
    const empty = '20300101T000000000Z-audio-1.json';
    for (const name of [
      empty,
      '20300101T000000000Z-audio-2.json.tmp',
      'report.20300101.000000.9.0.001.json',
    ]) {
      await writeFile(join(folder, name), name === empty ? '' : '{');
    }
    await new Setting(folder).reports.open();
    assert.deepEqual(await readdir(folder), []);
    await remove();
  });

  it("[CRA13] of Node's own report only what helps is kept; an empty or cut one is removed", async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(path);
    await setting.reports.open();
    const whole = {
      header: { event: 'Allocation failed', processId: 1, host: 'a-host', commandLine: ['node', '--key=k'] },
      javascriptStack: { message: 'No stack.', stack: ['at token=abc'] },
      environmentVariables: { SECRET: 'canary' },
    };
    await writeFile(join(path, 'report.20300101.000000.1.0.001.json'), JSON.stringify(whole));
    await writeFile(join(path, 'report.20300101.000000.2.0.001.json'), '');
    await writeFile(join(path, 'report.20300101.000000.3.0.001.json'), '{"header":');
    const ids = [1, 2, 3].map((pid) => setting.reports.record(factsOf(pid)));
    await setting.reports.close();
    const names = await readdir(path);
    assert.deepEqual(
      names.filter((name) => name.includes('node') || name.startsWith('report')),
      [`${ids[0] ?? ''}.node.json`],
    );
    const kept = await readFile(join(path, `${ids[0] ?? ''}.node.json`), 'utf8');
    assert.match(kept, /Allocation failed/);
    for (const secret of ['canary', 'a-host', '--key', 'abc']) assert.ok(!kept.includes(secret), secret);
    await remove();
  });

  it("[CRA13] a report of Node's that is too large is removed", async () => {
    const { path, remove } = await temporaryFolder();
    const setting = new Setting(path);
    await setting.reports.open();
    const ids: string[] = [];
    for (const [pid, bytes] of [
      [1, NODE_REPORT_MAX_BYTES],
      [2, NODE_REPORT_MAX_BYTES + 1],
    ] as const) {
      const json = '{"header":{"event":"Allocation failed"}}';
      await writeFile(join(path, `report.20300101.000000.${pid}.0.001.json`), json.padEnd(bytes));
      ids.push(setting.reports.record(factsOf(pid)));
    }
    await setting.reports.close();
    const [fits = '', tooLarge = ''] = ids;
    assert.deepEqual(
      (await readdir(path)).sort(),
      [`${fits}.json`, `${fits}.node.json`, `${tooLarge}.json`].sort(),
    );
    await remove();
  });

  for (const tellsFull of [true, false]) {
    it(`[CRA14] a full disk that ${tellsFull ? 'says so' : 'keeps it to itself'}: counted, logged, nothing partial left`, async () => {
      const files = new FaultyFileSystem();
      const setting = new Setting('/full', { files });
      await setting.reports.open();
      files.freeBytes = 100;
      files.tellsFull = tellsFull;
      setting.reports.record(factsOf(1));
      await setting.reports.close();
      assert.equal(setting.failureCount, 1);
      assert.deepEqual([...files.contents.keys()], []);
      const line = setting.log.lines.find(({ event }) => event === 'crash report not written');
      assert.equal((line?.fields['report'] as CrashReport).stderrTail, 'last words\n');
    });
  }

  it('[CRA15] a disk that stands still: reports wait up to the bound, the others are logged, close does not wait for ever', async () => {
    const files = new FaultyFileSystem();
    const setting = new Setting('/slow', { files, isReal: false });
    await setting.reports.open();
    let release = (): void => undefined;
    files.hold = new Promise((resolve) => {
      release = resolve;
    });
    for (let i = 0; i < DISK_QUEUE_MAX_COUNT + 5; i++) setting.reports.record(factsOf(i));
    assert.equal(setting.failureCount, 5);
    let isClosed = false;
    const closed = setting.reports.close().then(() => {
      isClosed = true;
    });
    await setting.clock.advance(DISK_WAIT_MAX_MS - 1);
    assert.equal(isClosed, false);
    await setting.clock.advance(1);
    await closed;
    release();
    await setting.reports.close();
    assert.equal(files.contents.size, DISK_QUEUE_MAX_COUNT);
    // What has been written waits no more: there is room again.
    for (let i = 0; i < DISK_QUEUE_MAX_COUNT; i++) setting.reports.record(factsOf(1_000 + i));
    assert.equal(setting.failureCount, 5);
    await setting.reports.close();
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[CRA16] credentials, quoted speech and long encoded stretches are taken out of last words; stacks stay', () => {
    const stack = 'Error: boom\n    at run (/srv/app/dist/pipeline/inference_worker.js:30:11)\n';
    assert.equal(scrub(stack), stack);
    const secret = 'S3CR3T-value';
    for (const text of [
      `Authorization: Bearer ${secret}`,
      `?token=${secret}&x=1`,
      `{"apiKey":"${secret}"}`,
      `EARWITNESS_ACCESS_KEY='${secret}'`,
      `https://user:${secret}@host/path`,
      `eyJhbGciOiJIUzI1NiJ9.eyJ${secret}.sig`,
      `"text": "${secret} two three"`,
      `${'QUJD'.repeat(20)}S3CR3T`,
    ]) {
      assert.ok(!/S3CR3T/.test(scrub(text)), scrub(text));
    }
  });
});
