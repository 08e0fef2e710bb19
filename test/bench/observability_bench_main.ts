/**
 * `node dist/test/bench/observability_bench_main.js [--sessions 20] [--seconds 20]`: what metrics, traces and the log cost
 * a server to which people speak, from a CPU profile of its gateway; and how long a scrape keeps its event loop busy.
 */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { Session, type Profiler } from 'node:inspector/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { systemClock } from '../../pipeline/clock.ts';
import { loadConfig } from '../../server/config.ts';
import { startServer } from '../../server/gateway.ts';
import { createLog } from '../../server/records/log.ts';
import { createMetrics } from '../../server/records/metrics.ts';
import { streamUrl } from '../../server/commands/transcribe_command.ts';

const { values } = parseArgs({
  options: { sessions: { type: 'string', default: '20' }, seconds: { type: 'string', default: '20' } },
});
const SAMPLING_INTERVAL_US = 200;
/** A third of the usual interval, so that the cost of scrapes is not flattered. */
const SCRAPE_INTERVAL_MS = 5_000;
const SCRAPE_COUNT = 100;
const OBSERVING =
  /prom-client|pino|server\/(metrics|log|repeat_limiter|bounded_output|session_chronicle|worker_gauges|gpu_probe)\.js|pipeline\/(session_record|session_trace|audio_stats|inference_stats)\.js/;
const state = await mkdtemp(join(tmpdir(), 'earwitness-bench-'));
const log = createLog({
  level: 'info',
  format: 'json',
  clock: systemClock,
  output: createWriteStream('/dev/null'),
});
const folders = { crashDir: join(state, 'crashes'), quarantineDir: join(state, 'quarantine') };
const config = { ...loadConfig({}).config, port: 0, adminPort: 0, keysFile: '', ...folders };
const server = await startServer(config, log);
await server.ready;
try {
  await reportLoad();
  await reportScrapes();
} finally {
  await server.close();
  await rm(state, { recursive: true });
}

/** Profiles this process, the gateway, while others speak to it from a process of their own. */
async function reportLoad(): Promise<void> {
  const load = fileURLToPath(new URL('../load/speaking_load_main.js', import.meta.url));
  const args = [
    '--sessions',
    values.sessions,
    '--seconds',
    values.seconds,
    '--share',
    '0.3',
    '--url',
    streamUrl(server.url),
  ];
  const child = spawn(process.execPath, [load, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  await new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        if (bytes.toString().includes('sessions are open')) resolve();
      });
    child.once('exit', () => {
      resolve();
    });
  });
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US });
  const cpuBeforeSeconds = await serverCpuSeconds();
  await session.post('Profiler.start');
  const scraping = setInterval(() => {
    void fetch(`${server.adminUrl}/metrics`).then((answer) => answer.text());
  }, SCRAPE_INTERVAL_MS);
  await pause(Number(values.seconds) * 1_000);
  clearInterval(scraping);
  const { profile } = await session.post('Profiler.stop');
  reportProfile(profile, (await serverCpuSeconds()) - cpuBeforeSeconds);
  session.disconnect();
  child.kill('SIGKILL');
}

/** Of the gateway and all its workers, so far. */
async function serverCpuSeconds(): Promise<number> {
  const text = await (await fetch(`${server.adminUrl}/metrics`)).text();
  const samples = text.matchAll(
    /^earwitness_(?:worker_process|process)_cpu_seconds_total(?:\{.*\})? (.*)$/gm,
  );
  return [...samples].reduce((sum, [, value]) => sum + Number(value), 0);
}

function reportProfile({ nodes, startTime, endTime }: Profiler.Profile, serverSeconds: number): void {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  let observingCount = 0;
  const visit = (node: Profiler.ProfileNode, isObserving: boolean): void => {
    const isInside = isObserving || OBSERVING.test(node.callFrame.url);
    if (isInside) observingCount += node.hitCount ?? 0;
    for (const id of node.children ?? []) {
      const child = byId.get(id);
      if (child !== undefined) visit(child, isInside);
    }
  };
  const [root] = nodes;
  if (root !== undefined) visit(root, false);
  const totalCount = nodes.reduce((sum, { hitCount = 0 }) => sum + hitCount, 0);
  const seconds = (endTime - startTime) / 1e6;
  const observingSeconds = (observingCount / totalCount) * seconds;
  console.log(`${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`);
  console.log(
    `${values.sessions} sessions for ${seconds.toFixed(0)} s, a scrape every ${SCRAPE_INTERVAL_MS / 1_000} s`,
  );
  console.log(`processor time of the gateway and its workers: ${serverSeconds.toFixed(2)} s`);
  const share = ((100 * observingSeconds) / serverSeconds).toFixed(2);
  console.log(`of that metrics, traces and log: ${(1_000 * observingSeconds).toFixed(0)} ms, ${share} %`);
}

/** Processor time, for the wall clock of a busy machine says more of its neighbours. */
async function reportScrapes(): Promise<void> {
  const metrics = createMetrics({ version: '0', transport: 'uws', model: 'bench', device: 'cpu' });
  for (let slot = 0; slot < config.inferenceWorkers + config.inferenceSpares; slot++) {
    const labels = { role: 'inference', slot: String(slot) } as const;
    metrics.count('worker_process_cpu_seconds_total', labels);
    metrics.set('worker_process_resident_memory_bytes', labels, 1);
  }
  const costsMs: number[] = [];
  let seriesCount = 0;
  for (let i = 0; i < SCRAPE_COUNT; i++) {
    const before = process.cpuUsage();
    const { body } = await metrics.render();
    const { user, system } = process.cpuUsage(before);
    costsMs.push((user + system) / 1_000);
    seriesCount = body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
    await pause(5);
  }
  const first = costsMs[0] ?? NaN;
  const sorted = costsMs.sort((a, b) => a - b);
  const figures = [first, sorted[SCRAPE_COUNT / 2] ?? NaN, sorted.at(-1) ?? NaN].map((ms) => ms.toFixed(1));
  console.log(
    `${SCRAPE_COUNT} scrapes of ${seriesCount} series: processor time of the first ${figures[0]}, p50 ${figures[1]}, max ${figures[2]} ms`,
  );
}
