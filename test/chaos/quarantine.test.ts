import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { forkLauncher, type WorkerLauncher } from '../../pipeline/worker_process.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { runCli } from '../../server/commands/cli.ts';
import { replayQuarantined } from '../../server/commands/quarantine_command.ts';
import type { QuarantineRecord } from '../../server/records/quarantine.ts';
import {
  faultyWorker,
  startFaultyServer,
  temporaryFolder,
  upload,
  type FaultRule,
  type FaultyServer,
  type TemporaryFolder,
} from '../support/faulty_worker.ts';
import { pcmMessages, withMark } from '../support/marked_speech.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { fetchSample } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { lookForCanaries } from './crash_faults.ts';
import { deathCount, markedSpeech, mixPoison } from './poisoned_crowd.ts';

const DEADLINE_DEATHS = 'earwitness_worker_deaths_total{role="inference",cause="deadline"}';

function launcher(rules: readonly FaultRule[]): WorkerLauncher<InferenceRequest, InferenceReply> {
  const { path, args = [] } = faultyWorker({ rules });
  return forkLauncher(path, { args: ['{}', ...args] });
}

/** A stream that keeps what is written to it. */
class KeptOutput extends Writable {
  text = '';
  override _write(part: Buffer, _encoding: string, done: () => void): void {
    this.text += part.toString('utf8');
    done();
  }
}

async function cli(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new KeptOutput(), new KeptOutput()];
  const status = await runCli(args, { stdout, stderr });
  return { status, stdout: stdout.text, stderr: stderr.text };
}

void describe('audio that ends workers is refused, and nobody else is charged for it', () => {
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

  it('[R-06] poison among good traffic: two deaths each, no good utterance lost, refused ever after', async () => {
    const { violations, lost } = await mixPoison({ poison: 2, good: 10 });
    assert.deepEqual(violations, []);
    assert.equal(lost, 0);
  });

  it('[QUA1] partials and the final of one utterance together end at most two workers; the session goes on', async () => {
    const rules = [{ mark: 27_001, fault: 'SIGSEGV' }] as const;
    server = await startFaultyServer({
      folder: folder.path,
      worker: faultyWorker({ rules }),
      settings: { partialIntervalMs: 200, quarantine: 'off' },
    });
    const client = await RawClient.enter(server.url, 'encoding=pcm_s16le');
    // Real time, so that partials run while the utterance grows past its mark.
    const words = await synthesise('the quick brown fox jumps over the lazy dog', { voice: 'rms' });
    for (const message of pcmMessages(concat(silence(300), withMark(words, 27_001, 0.3), silence(700)))) {
      client.sendBytes(message);
      await new Promise((resolve) => setTimeout(resolve, 18));
    }
    await client.next('notice');
    for (const message of pcmMessages(await markedSpeech(27_002))) client.sendBytes(message);
    const finals = await client.finish();
    assert.equal(client.of('notice').at(-1)?.code, 'utterance_failed');
    assert.match(joinedText(finals), /27002/);
    assert.equal(await deathCount(server), 2);
    await assert.rejects(stat(server.quarantineDir), 'off keeps nothing');
  });

  it('[QUA2] full keeps the audio, which replays in a worker of its own; the command line shows and clears it', async () => {
    const rules = [{ mark: 28_001, fault: 'SIGABRT' }] as const;
    server = await startFaultyServer({
      folder: folder.path,
      worker: faultyWorker({ rules }),
      settings: { quarantine: 'full' },
    });
    await upload(server, await markedSpeech(28_001));
    await server.close();
    const { quarantineDir } = server;
    for (const name of await readdir(quarantineDir)) {
      assert.equal((await stat(join(quarantineDir, name))).mode & 0o777, 0o600);
    }
    const flag = ['--quarantine-dir', quarantineDir];
    const [record] = JSON.parse(
      (await cli('quarantine', 'list', '--json', ...flag)).stdout,
    ) as readonly QuarantineRecord[];
    assert.ok(record !== undefined);
    assert.match(
      (await cli('quarantine', 'show', record.id.slice(0, 4), ...flag)).stdout,
      /workers ended +2/,
    );
    assert.match((await cli('quarantine', 'list', ...flag)).stdout, new RegExp(record.id));

    const stdout = new KeptOutput();
    const options = { quarantineDir, json: false, now: () => new Date(), stdout, stderr: new KeptOutput() };
    assert.equal(await replayQuarantined(record.id, { ...options, launch: launcher(rules) }), 3);
    assert.match(stdout.text, /ended the worker again: SIGABRT/);
    stdout.text = '';
    assert.equal(await replayQuarantined(record.id, { ...options, launch: launcher([]) }), 0);
    assert.match(stdout.text, /transcribed in .*: 28001/);

    assert.equal((await cli('quarantine', 'clear', ...flag)).status, 0);
    assert.deepEqual(await readdir(quarantineDir), []);
    assert.equal((await cli('quarantine', 'show', record.id, ...flag)).status, 1);
  });

  it('[QUA3] a job that never ends is poison too', async () => {
    const rules = [{ mark: 29_001, fault: 'loop' }] as const;
    server = await startFaultyServer({ folder: folder.path, worker: faultyWorker({ rules }) });
    const client = await upload(server, await markedSpeech(29_001));
    // A slot that hangs is load, too, and may be told before.
    assert(client.of('notice').some(({ code }) => code === 'utterance_failed'));
    assert.equal(await fetchSample(server, DEADLINE_DEATHS), 2);
  });

  it('[R-41] no word and no credential in logs, metrics, crash reports or the quarantine', async () => {
    const { violations, lost } = await lookForCanaries(1);
    assert.deepEqual([...violations, lost], [0]);
  });
});
