/** what is written when workers crash, where it cannot be written, and what may never be in it. */
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CrashReport } from '../../server/records/crash_reports.ts';
import { addKey, tokenFor } from '../support/access_setting.ts';
import {
  faultyWorker,
  startFaultyServer,
  temporaryFolder,
  upload,
  type Fault,
  type FaultRule,
  type FaultyServer,
} from '../support/faulty_worker.ts';
import { pcmMessages } from '../support/marked_speech.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { fetchSample } from '../support/real_server.ts';
import { markedSpeech } from './poisoned_crowd.ts';
import type { Outcome, Scenario } from './scenario.ts';
import { Verdict } from './verdict.ts';
import { timeUntil } from './waiting.ts';

const NODE_REPORT_MIN_BYTES = 5_000;
/** Deaths in a row after which slots are parked: who waits for one waits at most so long. */
const COUNTED_MAX_MS = 20_000;

export const CRASH_FAULTS: readonly Scenario[] = [
  { id: 'R-22', title: 'V8 out of heap', run: (tier) => exhaustHeaps(tier === 'p' ? 2 : 10) },
  {
    id: 'R-23',
    title: 'no crash report can be written',
    run: (tier) => crashUnrecorded(tier === 'p' ? 10 : 100),
  },
  {
    id: 'R-41',
    title: 'canaries in audio and credentials',
    run: (tier) => lookForCanaries(tier === 'p' ? 1 : 4),
  },
];

/** All reports in a folder. */
export async function readReports(folder: string): Promise<readonly CrashReport[]> {
  const names = (await readdir(folder)).filter((name) => /-\d+\.json$/.test(name));
  return Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8')) as CrashReport),
  );
}

/** Workers of 64 MB that run out of it in the middle of a job. */
export async function exhaustHeaps(times: number): Promise<Outcome> {
  const verdict = new Verdict();
  const folder = await temporaryFolder();
  const canary = 'canary-in-the-environment';
  const rules = rulesOf(times, 22_000, { folder: folder.path, fault: 'heap' });
  process.env['EARWITNESS_TEST_CANARY_OF_CRASHES'] = canary;
  const server = await startFaultyServer({
    folder: folder.path,
    worker: faultyWorker({ rules }, ['--max-old-space-size=64']),
  }).finally(() => {
    delete process.env['EARWITNESS_TEST_CANARY_OF_CRASHES'];
  });
  try {
    const lost = await uploadAll(server, rules);
    await server.close();
    const reports = await readReports(server.crashDir);
    verdict.expect(reports.length === times, `${reports.length} of ${times} reports`);
    for (const { cause, nodeReport } of reports) {
      verdict.expect(cause.startsWith('SIGABRT: V8 ran out of heap'), `the cause is "${cause}"`);
      const bytes = nodeReport?.bytes ?? 0;
      verdict.expect(bytes > NODE_REPORT_MIN_BYTES, `a report of Node's of ${bytes} bytes`);
    }
    for (const name of await readdir(server.crashDir)) {
      const path = join(server.crashDir, name);
      verdict.expect(!(await readFile(path, 'utf8')).includes(canary), 'the environment was reported');
      verdict.expect(((await stat(path)).mode & 0o777) === 0o600, 'a report that others may read');
      verdict.expect(!name.startsWith('report.'), "Node's own file was left");
    }
    return verdict.outcome(times, { utterances: times, lost, repeated: 0, wrong: 0 });
  } finally {
    await server.close();
    await folder.remove();
  }
}

/** Kills where there is no folder to write to: each is counted, and its report is in the log. */
export async function crashUnrecorded(times: number): Promise<Outcome> {
  const verdict = new Verdict();
  const folder = await temporaryFolder();
  const file = join(folder.path, 'a-file');
  await writeFile(file, '');
  const rules = rulesOf(times, 23_000, { folder: folder.path, fault: 'SIGKILL' });
  const settings = { crashDir: join(file, 'crashes'), quarantineDir: join(file, 'quarantine') };
  const server = await startFaultyServer({ folder: folder.path, worker: faultyWorker({ rules }), settings });
  try {
    const lost = await uploadAll(server, rules);
    const failures = 'earwitness_crash_record_write_failures_total';
    const areCounted = async (): Promise<boolean> => (await fetchSample(server, failures)) === times;
    const countedMs = await timeUntil(COUNTED_MAX_MS, areCounted);
    verdict.expect(countedMs < Infinity, `${await fetchSample(server, failures)} of ${times} counted`);
    const logged = server.log.lines.filter(({ event }) => event === 'crash report not written');
    const whole = logged.filter(({ fields }) =>
      (fields['report'] as CrashReport).cause.startsWith('SIGKILL: killed from outside'),
    );
    verdict.expect(whole.length === times, `${whole.length} of ${times} in the log`);
    const ownFaults = await fetchSample(server, 'earwitness_errors_total{class="internal"}');
    verdict.expect(ownFaults === 0, `${ownFaults} faults of our own`);
    return verdict.outcome(times, { utterances: times, lost, repeated: 0, wrong: 0 });
  } finally {
    await server.close();
    await folder.remove();
  }
}

/** A server with keys whose workers crash at every stage, with all that must be kept secret in their last words. */
export async function lookForCanaries(rounds: number): Promise<Outcome> {
  const verdict = new Verdict();
  const folder = await temporaryFolder();
  const phrase = 'quixotic zephyr canary';
  const keysFile = join(folder.path, 'keys.json');
  const { key, secret } = await addKey(keysFile, { name: 'canary' });
  const token = await tokenFor(keysFile, { keyId: key.id, now: new Date() });
  const lastWords = `GET /v1/stream?token=${token} Authorization: Bearer ${secret} "text": "${phrase}"`;
  const once = (fault: Fault, i: number): FaultRule => ({
    ...{ mark: 30_100 + i, fault, lastWords, onceFile: join(folder.path, `once-${i}`) },
  });
  const rules: readonly FaultRule[] = [
    { mark: 30_001, fault: 'SIGSEGV', lastWords },
    ...Array.from({ length: rounds }, (_, i) =>
      once((['exit', 'SIGABRT', 'SIGKILL', 'loop'] as const)[i % 4] ?? 'exit', i),
    ),
  ];
  const server = await startFaultyServer({
    folder: folder.path,
    worker: faultyWorker({ rules, text: phrase }),
    settings: { keysFile, logLevel: 'debug' },
  });
  const stderr = listenToStderr();
  try {
    let lost = 0;
    for (const { mark } of rules) {
      const client = await RawClient.enter(server.url);
      client.send({ type: 'start', version: 1, token, audio: { encoding: 'pcm_s16le' } });
      await client.next('ready');
      for (const message of pcmMessages(await markedSpeech(mark))) client.sendBytes(message);
      if (joinedText(await client.finish()) !== (mark === 30_001 ? '' : phrase)) lost++;
    }
    const stranger = await RawClient.enter(server.url);
    stranger.send({ type: 'start', version: 1, token: `${token}x`, audio: { encoding: 'pcm_s16le' } });
    await stranger.closed;
    const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
    await server.close();
    const kept = [metrics, JSON.stringify(server.log.lines), stderr.end(), ...(await filesIn(server))];
    const wanted = 3 + rounds + 2 + 1;
    verdict.expect(kept[1]?.includes('GET /v1/stream') === true, 'last words were not passed on to the log');
    verdict.expect(kept.length >= wanted, `${kept.length} of ${wanted} places to look in`);
    for (const canary of [phrase, 'zephyr', token, secret]) {
      const leaks = kept.filter((text) => text.includes(canary)).length;
      verdict.expect(
        leaks === 0,
        `${canary === phrase ? 'what was said' : 'a canary'} was kept in ${leaks} places`,
      );
    }
    const audio = (await readdir(server.quarantineDir)).filter((name) => !name.endsWith('.json'));
    verdict.expect(audio.length === 0, 'audio was kept');
    verdict.expect(
      ((await stat(server.quarantineDir)).mode & 0o777) === 0o700,
      'others may read the quarantine',
    );
    verdict.figure(`${kept.length} places searched`);
    return verdict.outcome(rules.length, { utterances: rules.length, lost, repeated: 0, wrong: 0 });
  } finally {
    stderr.end();
    await server.close();
    await folder.remove();
  }
}

/** Keeps what this process writes to stderr until `end`, which returns it. */
function listenToStderr(): { readonly end: () => string } {
  const { stderr } = process;
  const parts: string[] = [];
  const write = stderr.write.bind(stderr);
  stderr.write = (words: string | Uint8Array) => {
    parts.push(Buffer.from(words).toString());
    return true;
  };
  return {
    end: () => {
      stderr.write = write;
      return parts.join('');
    },
  };
}

async function filesIn({ crashDir, quarantineDir }: FaultyServer): Promise<readonly string[]> {
  const texts: string[] = [];
  for (const dir of [crashDir, quarantineDir]) {
    for (const name of await readdir(dir)) texts.push(await readFile(join(dir, name), 'utf8'));
  }
  return texts;
}

/** A fault for each of so many marks, which only the first worker to meet it has. */
function rulesOf(
  count: number,
  firstMark: number,
  { folder, fault }: { readonly folder: string; readonly fault: Fault },
): readonly FaultRule[] {
  return Array.from({ length: count }, (_, i) => ({
    ...{ mark: firstMark + i, fault, onceFile: join(folder, `once-${i}`) },
  }));
}

/** One after the other; how many were not heard as they should be. */
async function uploadAll(server: FaultyServer, rules: readonly FaultRule[]): Promise<number> {
  let lost = 0;
  for (const { mark } of rules) {
    const client = await upload(server, await markedSpeech(mark));
    if (joinedText(client.of('final')) !== String(mark)) lost++;
  }
  return lost;
}
