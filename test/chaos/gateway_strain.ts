/** nobody reads the log, the event loop stands still, the metrics are abused and scraped. */
import { execFile, execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DRAIN_MAX_MS } from '../../pipeline/limits.ts';
import { createMetrics } from '../../server/records/metrics.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { temporaryFolder } from '../support/faulty_worker.ts';
import { RawClient } from '../support/raw_client.ts';
import { fetchSample, fetchWorkers } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { speak } from './crowd.ts';
import { digestSpeech, startDigestServer } from './digest_crowd.ts';
import { freePort } from './free_port.ts';
import { percentile, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { ServeProcess } from './serve_process.ts';
import { compare } from './undisturbed.ts';
import { Verdict } from './verdict.ts';
import { answersOk, timeUntil } from './waiting.ts';
import { sendSignal } from './worker_deaths.ts';

const BLOCKED_MAIN = fileURLToPath(new URL('../server/blocked_log_main.js', import.meta.url));
const LAG_P99 = 'earwitness_nodejs_eventloop_lag_p99_seconds';
const LOOP_LAG_MAX_MS = 50;
const SCRAPE_MAX_MS = 50;
const BLOCKED_RSS_MAX_BYTES = 100e6;
const START_MAX_MS = 60_000;
const STALL_MS = 500;
const STALL_EVERY_MS = 1_500;
const STALLED_SAMPLE_MIN_SECONDS = 0.4;
const SCRAPE_LANES = 8;

export const GATEWAY_STRAIN: readonly Scenario[] = [
  { id: 'R-24', title: 'nobody reads stdout and stderr', run: blockOutput },
  { id: 'R-36', title: 'the event loop stands still for 500 ms', run: stallLoop },
  { id: 'R-37', title: 'metrics abused, scraped in a storm', run: abuseMetrics },
];

/**
 * A server whose output is a pipe that was full before it wrote a byte: it starts, serves, loses workers and drains as
 * ever. The log itself is made to overflow in a process of its own, for a server says too little.
 */
async function blockOutput(tier: Tier): Promise<Outcome> {
  const verdict = new Verdict();
  await overflowLog(verdict);
  const folder = await temporaryFolder();
  const fifo = openFullPipe(join(folder.path, 'pipe'));
  const [port, adminPort] = [await freePort(), await freePort()];
  const [url, adminUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${adminPort}`];
  const flags = ['--port', String(port), '--admin-port', String(adminPort), '--log-level', 'debug'];
  const serve = await ServeProcess.spawn({ flags, output: fifo });
  const rounds = tier === 'p' ? 4 : 60;
  let lost = 0;
  try {
    await untilReady(adminUrl);
    const packets = encodeOpus(concat(await synthesise('good morning', { voice: 'rms' }), silence(900)));
    for (let round = 0; round < rounds; round++) {
      if (round % 2 === 1) await killInferenceWorker(adminUrl);
      const client = await RawClient.enter(url, 'encoding=opus');
      for (const packet of packets) client.sendBytes(packet);
      if ((await client.finish()).filter(({ text }) => text !== '').length !== 1) lost++;
    }
    const lagSeconds = await fetchSample({ adminUrl }, LAG_P99);
    verdict.measure('lag p99', 1_000 * lagSeconds, { max: LOOP_LAG_MAX_MS, unit: 'ms' });
    serve.signal('SIGTERM');
    const exit = await Promise.race([serve.exited, pause(DRAIN_MAX_MS, undefined)]);
    verdict.expect(exit?.code === 0, `ended with ${exit?.code ?? exit?.signal ?? 'nothing'}`);
    return verdict.outcome(rounds, { utterances: rounds, lost, repeated: 0, wrong: 0 });
  } finally {
    await serve.remove();
    closeSync(fifo);
    await folder.remove();
  }
}

/** A pipe that takes nothing more; whoever has its one end has both, so that it never breaks. */
function openFullPipe(path: string): number {
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  for (const bytes of [65_536, 1]) {
    const rubbish = Buffer.alloc(bytes, '\n');
    try {
      for (;;) writeSync(fd, rubbish);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
  return fd;
}

async function untilReady(adminUrl: string): Promise<void> {
  const readyMs = await timeUntil(START_MAX_MS, () => answersOk(`${adminUrl}/readyz`));
  if (readyMs === Infinity) throw new Error('a server whose output nobody reads did not start');
}

async function killInferenceWorker(adminUrl: string): Promise<void> {
  const workers = await fetchWorkers({ adminUrl });
  const victim = workers.find(({ role, state }) => role === 'inference' && state === 'ready');
  if (victim !== undefined) sendSignal(victim.pid, 'SIGKILL');
}

/** The program of [LOG12], which logs far more than may wait. */
async function overflowLog(verdict: Verdict): Promise<void> {
  const report = await new Promise<string>((resolve) => {
    const child = execFile(process.execPath, [BLOCKED_MAIN], (_error, _stdout, stderr) => {
      resolve(stderr);
    });
    child.stdout?.pause();
    child.once('exit', () => child.stdout?.resume());
  });
  const { droppedCount, rssGrowthBytes } = JSON.parse(report) as Readonly<Record<string, number>>;
  verdict.expect((droppedCount ?? 0) > 0, 'no dropped line was counted');
  verdict.expect((rssGrowthBytes ?? Infinity) < BLOCKED_RSS_MAX_BYTES, `RSS +${rssGrowthBytes ?? NaN} bytes`);
  verdict.figure(`${droppedCount ?? 0} lines dropped`);
}

/** Gateway and clients share this process, so that both stand still; what matters is what the gateway makes of it. */
async function stallLoop(tier: Tier): Promise<Outcome> {
  const [people, durationMs] = tier === 'p' ? [10, 8_000] : [30, 60_000];
  const { scripts, expected } = await digestSpeech(people, durationMs);
  const verdict = new Verdict();
  const server = await startDigestServer({ audioWorkers: 2, inferenceWorkers: 2 });
  let stalls = 0;
  const timer = setInterval(() => {
    stalls++;
    const untilMs = performance.now() + STALL_MS;
    while (performance.now() < untilMs);
  }, STALL_EVERY_MS);
  try {
    const hearings = await speak(server.url, scripts);
    clearInterval(timer);
    const seen = await fetchSample(server, 'earwitness_nodejs_eventloop_lag_max_seconds');
    verdict.expect(seen > STALLED_SAMPLE_MIN_SECONDS, `a lag of ${seen} s is all that can be seen of it`);
    verdict.expect(
      hearings.every(({ endedWell }) => endedWell),
      'a session was closed',
    );
    const deaths = server.log.lines.filter(({ event }) => event.endsWith('worker died')).length;
    verdict.expect(deaths === 0, `${deaths} workers were killed`);
    verdict.figure(`largest lag ${Math.round(seen * 1_000)} ms`);
    return verdict.outcome(stalls, compare(hearings, expected));
  } finally {
    clearInterval(timer);
    await server.close();
  }
}

async function abuseMetrics(tier: Tier): Promise<Outcome> {
  const [reports, durationMs, people] = tier === 'p' ? [10_000, 8_000, 10] : [1_000_000, 30_000, 20];
  const verdict = new Verdict();
  await reportNonsense(reports, verdict);
  const { scripts, expected } = await digestSpeech(people, durationMs);
  const server = await startDigestServer();
  const tookMs: number[] = [];
  let isOver = false;
  const lane = async (): Promise<void> => {
    while (!isOver) {
      const startedAtMs = performance.now();
      const answer = await fetch(`${server.adminUrl}/metrics`);
      await answer.text();
      tookMs.push(performance.now() - startedAtMs);
      verdict.expect(answer.status === 200, `a scrape was answered with ${answer.status}`);
      await pause(20);
    }
  };
  try {
    const lanes = Array.from({ length: SCRAPE_LANES }, lane);
    const hearings = await speak(server.url, scripts).finally(() => (isOver = true));
    await Promise.all(lanes);
    const lagSeconds = await fetchSample(server, LAG_P99);
    verdict.measure('scrape p99', percentile(tookMs, 0.99), { max: SCRAPE_MAX_MS, unit: 'ms' });
    verdict.measure('lag p99', 1_000 * lagSeconds, { max: LOOP_LAG_MAX_MS, unit: 'ms' });
    verdict.figure(`${tookMs.length} scrapes`);
    return verdict.outcome(reports + tookMs.length, compare(hearings, expected));
  } finally {
    isOver = true;
    await server.close();
  }
}

/** Reports as only a bug can make them: none throws, each is counted, and none makes a series. */
async function reportNonsense(count: number, verdict: Verdict): Promise<void> {
  const metrics = createMetrics({ version: 'test', transport: 'ws', model: 'tiny', device: 'cpu' });
  const untyped = metrics as unknown as Record<
    'count' | 'set' | 'observe',
    (name: string, labels: unknown, value: unknown) => void
  >;
  const seriesOf = async (): Promise<number> => (await metrics.render()).body.split('\n').length;
  await metrics.render();
  const before = await seriesOf();
  const values = [NaN, undefined, Infinity, -Infinity, '1', null];
  try {
    for (let i = 0; i < count; i++) {
      untyped.observe('inference_seconds', { kind: 'final' }, values[i % values.length]);
      untyped.count('packets_total', { outcome: `outcome ${i}` }, 1);
      untyped.set(`gauge ${i}`, {}, 1);
    }
  } catch (error) {
    verdict.expect(false, `a report threw ${String(error)}`);
  }
  const after = await seriesOf();
  // Node's own process metrics come and go with what the process has open.
  verdict.expect(after - before < 30, `${after - before} lines more`);
  const { body } = await metrics.render();
  for (const reason of ['name', 'label']) {
    verdict.expect(
      body.includes(`metric_rejections_total{reason="${reason}"} ${count}\n`),
      `not every wrong ${reason} was counted`,
    );
  }
}
