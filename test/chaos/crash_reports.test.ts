import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  faultyWorker,
  startFaultyServer,
  temporaryFolder,
  upload,
  type Fault,
  type FaultyServer,
  type TemporaryFolder,
} from '../support/faulty_worker.ts';
import { joinedText } from '../support/raw_client.ts';
import { crashUnrecorded, exhaustHeaps, readReports } from './crash_faults.ts';
import { markedSpeech } from './poisoned_crowd.ts';

void describe('a worker that crashes leaves a report and costs nobody a word', () => {
  let folder: TemporaryFolder;
  let server: FaultyServer | undefined;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(async () => {
    await server?.close();
    server = undefined;
    await folder.remove();
  });

  it('[R-02] SIGSEGV, SIGABRT, SIGBUS and exit(1) in the middle of a job: all finals, all causes', async () => {
    const faults: readonly Fault[] = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'exit'];
    const rules = faults.map((fault, i) => ({
      mark: 21_000 + i,
      fault,
      onceFile: join(folder.path, fault),
      lastWords: `about to ${fault}`,
    }));
    server = await startFaultyServer({ folder: folder.path, worker: faultyWorker({ rules }) });
    for (const { mark } of rules) {
      const client = await upload(server, await markedSpeech(mark));
      assert.equal(joinedText(client.of('final')), String(mark));
      assert.deepEqual(client.of('notice'), []);
    }
    await server.close();
    const { crashDir } = server;
    const reports = await readReports(crashDir);
    for (const fault of faults) {
      const report = reports.find(({ stderrTail }) => stderrTail.includes(`about to ${fault}`));
      assert.ok(report !== undefined, `${fault} left a report`);
      assert.match(report.cause, fault === 'exit' ? /^exit 1: / : new RegExp(`^${fault}: `));
      assert.equal(report.role, 'inference');
      assert.equal(report.jobs.length, 1);
      assert.match(report.jobs[0]?.contentHash ?? '', /^[\da-f]{64}$/);
      const facts = await stat(join(crashDir, `${report.id}.json`));
      assert.equal(facts.mode & 0o777, 0o600);
    }
    assert.equal(reports.length, faults.length);
    assert.equal((await stat(crashDir)).mode & 0o777, 0o700);
  });

  it('[LOG16] the log line of a death names the session whose job it was', async () => {
    const rules = [{ mark: 21_000, fault: 'SIGSEGV', onceFile: join(folder.path, 'once') }] as const;
    server = await startFaultyServer({ folder: folder.path, worker: faultyWorker({ rules }) });
    const client = await upload(server, await markedSpeech(21_000));
    const death = server.log.lines.find(({ event }) => event === 'inference worker died');
    assert.deepEqual(
      death?.fields['sessionIds'],
      client.of('ready').map(({ sessionId }) => sessionId),
    );
  });

  it("[R-22] V8 out of heap: SIGABRT in words, Node's report kept without the environment, nothing lost", async () => {
    const { violations, lost } = await exhaustHeaps(1);
    assert.deepEqual([...violations, lost], [0]);
  });

  it('[R-23] a folder that cannot be written to: every failure counted, the record in the log, nothing lost', async () => {
    const { violations, lost } = await crashUnrecorded(4);
    assert.deepEqual([...violations, lost], [0]);
  });
});
