import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runCli } from '../../server/commands/cli.ts';
import { StubServer, toneFolder } from '../support/stub_server.ts';

const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
const TEXTS = ['two green tigers', 'nine wooden ladders'];

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function load(
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly interruptAfterMs?: number } = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, 'load', ...args], { env: { ...process.env, ...options.env } });
  const outputs = Promise.all([text(child.stdout), text(child.stderr)]);
  if (options.interruptAfterMs !== undefined) {
    await pause(options.interruptAfterMs);
    child.kill('SIGINT');
  }
  const [status] = (await once(child, 'exit')) as [number];
  const [stdout, stderr] = await outputs;
  return { status, stdout, stderr };
}

/** They spend their time in waiting, so they wait at once. */
void describe('earwitness load', { concurrency: 6 }, () => {
  let folder: string;
  let tones: Awaited<ReturnType<typeof toneFolder>>;
  let server: StubServer;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'earwitness-load-'));
    tones = await toneFolder(TEXTS);
    server = await StubServer.start({ texts: TEXTS, delayMsOf: () => 200 });
  });
  after(async () => {
    await server.close();
    await tones.remove();
    await rm(folder, { recursive: true });
  });

  function argsFor({ url }: StubServer): readonly string[] {
    return ['--url', url, '--speech', tones.path, '--encoding', 'pcm_s16le', '--ramp', '0s'];
  }

  it('[LOAD24] prints the report, writes it as JSON and as a page, and its status is that of the assertions', async () => {
    const [json, html] = [join(folder, 'report.json'), join(folder, 'report.html')];
    const args = [...argsFor(server), '--sessions', '2', '--duration', '4s', '--talk-ratio', '0.5'];
    const kept = await load([...args, '--assert', 'true_end_p95<10s,lost=0', '--json', json, '--html', html]);
    assert.equal(kept.status, 0, kept.stderr);
    assert.match(kept.stderr, /^earwitness: the load goes to ws:\/\/127\.0\.0\.1:\d+ \(this machine\)\n$/);
    assert.match(kept.stdout, /^2 sessions \(at most 2 at a time\) in \d+ s: 2 done, 0 refused/);
    const report = JSON.parse(await readFile(json, 'utf8')) as { sentences: number; missed: string[] };
    assert.ok(report.sentences > 0);
    assert.deepEqual(report.missed, []);
    assert.match(await readFile(html, 'utf8'), /Every assertion was kept/);
    const broken = await load([...args, '--assert', 'true_end_p95<50ms']);
    assert.equal(broken.status, 1);
    assert.match(broken.stderr, /missed: true_end_p95<50ms, but it is \d+\.\dms/);
  });

  it('[LOAD25] a token from the option or the environment reaches the server and nothing else', async (test) => {
    const keyed = await StubServer.start({ texts: TEXTS, delayMsOf: () => 200 });
    test.after(() => keyed.close());
    const json = join(folder, 'keyed.json');
    const args = [...argsFor(keyed), '--sessions', '1', '--duration', '1s', '--json', json];
    const outcomes = [
      await load([...args, '--token', 'ew_from_option'], { env: { EARWITNESS_TOKEN: 'ew_from_env' } }),
      await load(args, { env: { EARWITNESS_TOKEN: 'ew_from_env' } }),
      await load(args, { env: { EARWITNESS_TOKEN: '' } }),
    ];
    const sent = keyed.requests.map(({ headers }) => headers.authorization);
    assert.deepEqual(sent, ['Bearer ew_from_option', 'Bearer ew_from_env', undefined]);
    const written = JSON.stringify([outcomes, await readFile(json, 'utf8')]);
    assert.doesNotMatch(written, /ew_from/);
  });

  it('[LOAD26] an option that makes no sense is status 2 with the rule, before anything is started', async () => {
    for (const [args, rule] of [
      [['--url', 'localhost'], /--url: expected an address such as ws:/],
      [['--sessions', '0'], /--sessions: expected a whole number from 1 to 20000, got '0'/],
      [['--duration', '5'], /--duration: expected a time such as 30s, 10m or 1h, got '5'/],
      [['--duration', '9h'], /expected at most 10800 s in all, got '32402 s'/],
      [['--stages', '5:10s:2s:1'], /--stages: expected COUNT:HOLD or COUNT:HOLD:RAMP/],
      [['--talk-ratio', '2'], /--talk-ratio: expected a number above 0/],
      [['--processes', '99'], /--processes: expected a whole number from 1 to 64/],
      [['--assert', 'final<1s'], /--assert: 'final<1s': expected a quantile, such as final_p95/],
      [['--token', 'two words'], /--token: expected an API key or token, got something else/],
      [['--url', 'ws://127.0.0.1:1', '--speech', '/nowhere'], /--speech: expected a folder with a refs\.tsv/],
    ] as const) {
      const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
      const told = text(streams.stderr);
      assert.equal(await runCli(['load', ...args], streams), 2);
      streams.stderr.end();
      assert.match(await told, rule);
      assert.doesNotMatch(await told, /\n {4}at /);
    }
  });

  it('[LOAD28] --find-capacity tries loads until it is known how many sessions the server takes', async (test) => {
    const small: StubServer = await StubServer.start({
      texts: TEXTS,
      delayMsOf: () => 100,
      dialect: 'deepgram',
      refusalOf: () => (small.openCount < 3 ? undefined : { status: 503, retryAfter: '1' }),
    });
    test.after(() => small.close());
    const html = join(folder, 'capacity.html');
    const { status, stdout, stderr } = await load([
      ...[...argsFor(small), '--sessions', '2', '--duration', '3s', '--talk-ratio', '1', '--find-capacity'],
      ...['--dialect', 'deepgram', '--html', html],
    ]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^capacity: 3 sessions with true_end_p95<1s,.*\n3 sessions \(at most 3 at a time\)/);
    assert.match(stderr, /2 sessions: borne\n.*4 sessions: refused=0, but it is 1\n.*3 sessions: borne\n$/s);
    assert.match(await readFile(html, 'utf8'), /Every assertion was kept/);
  });

  it('[LOAD34] without --url a server of its own hears the speech, and ends', async () => {
    const { status, stdout, stderr } = await load([
      '--sessions',
      '1',
      '--duration',
      '6s',
      '--talk-ratio',
      '1',
    ]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^1 sessions .* 1 done, 0 refused/);
  });

  it('[LOAD27] Ctrl-C ends it with the report of what was done, and status 130', async () => {
    const args = [
      ...argsFor(server),
      '--sessions',
      '2',
      '--duration',
      '10m',
      '--talk-ratio',
      '0.5',
      '--processes',
      '2',
    ];
    const { status, stdout, stderr } = await load(args, { interruptAfterMs: 8_000 });
    assert.equal(status, 130, stderr);
    assert.match(stdout, /2 interrupted\n/);
    assert.match(stdout, /interrupted: these are the figures until then\n/);
  });
});
