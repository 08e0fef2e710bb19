/**
 * What a session costs beside the model: sockets, decoding, voice detection, IPC and scheduling. The recogniser is one
 * that answers with a digest of the samples and costs nothing; all else is what `serve` runs.
 * `node dist/test/bench/overhead_bench_main.js [--sessions 100] [--seconds 30]`
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { STREAM_PATH } from '../../client/protocol.ts';
import { runLoad } from '../../server/load/load_run.ts';
import { startChildServer, type ChildServer } from './child_server.ts';
import { machineLine } from './processor_time.ts';

const DIGEST_WORKER = fileURLToPath(new URL('../support/hashing_worker_main.js', import.meta.url));
const ROLES = ['gateway', 'audio', 'inference'] as const;
const TALK_RATIO = 0.1;
/** How often the memory is looked at while the sessions are there. */
const MEMORY_LOOKS = 8;

const { values } = parseArgs({
  options: { sessions: { type: 'string', default: '100' }, seconds: { type: 'string', default: '30' } },
});
const sessionCount = Number(values.sessions);
const durationMs = Number(values.seconds) * 1_000;

/** What all processes took while `run` ran, and the most memory there was beyond the start, a session. */
async function measure(
  server: ChildServer,
  run: (onPrepared: () => void) => Promise<unknown>,
): Promise<Record<string, string | number>> {
  let before = server.use();
  const peakBytes = { gateway: 0, audio: 0, inference: 0 };
  let watch: NodeJS.Timeout | undefined;
  await run(() => {
    before = server.use();
    watch = setInterval(() => {
      const now = server.use();
      for (const role of ROLES) peakBytes[role] = Math.max(peakBytes[role], now[role].memoryBytes);
    }, durationMs / MEMORY_LOOKS);
  });
  clearInterval(watch);
  const after = server.use();
  const costs = ROLES.map((role) => after[role].processorMs - before[role].processorMs);
  const bytes = ROLES.map((role) => peakBytes[role] - before[role].memoryBytes);
  const percent = (ms: number) => `${((100 * ms) / durationMs / sessionCount).toFixed(3)} %`;
  const kilobytes = (count: number) => Math.round(count / 1_024 / sessionCount);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    ...Object.fromEntries(ROLES.map((role, at) => [role, percent(costs[at] ?? NaN)])),
    together: percent(sum(costs)),
    ...Object.fromEntries(ROLES.map((role, at) => [`KB ${role}`, kilobytes(bytes[at] ?? NaN)])),
    'KB together': kilobytes(sum(bytes)),
  };
}

/** Sessions that are open and say nothing. */
async function idle(url: string, onPrepared: () => void): Promise<void> {
  onPrepared();
  const address = `${url}${STREAM_PATH}?encoding=opus`;
  const sockets = Array.from({ length: sessionCount }, () => new WebSocket(address));
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) =>
          socket.on('open', () => {
            resolve();
          }),
        ),
    ),
  );
  await sleep(durationMs);
  for (const socket of sockets) socket.terminate();
}

/** Sessions that stream Opus all the time, a tenth of it speech. */
function stream(url: string, onPrepared: () => void): Promise<unknown> {
  const stages = [{ sessionCount, rampMs: 0, holdMs: durationMs }];
  const how = { talkRatio: TALK_RATIO, seed: 1, retriesRefusals: false, processCount: 1 };
  return runLoad(
    { url, dialect: 'native', encoding: 'opus', stages, ...how },
    {
      onPreparing: (readyCount, sentenceCount) => {
        if (readyCount === sentenceCount) onPrepared();
      },
    },
  );
}

const server = await startChildServer({ maxSessions: sessionCount }, DIGEST_WORKER);
try {
  const url = server.url.replace('http', 'ws');
  console.log(machineLine('onnxruntime-node', 'uWebSockets.js'));
  console.log(`${sessionCount} sessions, ${values.seconds} s; shares are of one core, for each session`);
  // The first sessions pay for what all share.
  await stream(url, () => undefined);
  const rows = {
    'connected, silent on the wire': await measure(server, (onPrepared) => idle(url, onPrepared)),
    'streaming Opus, a tenth speech': await measure(server, (onPrepared) => stream(url, onPrepared)),
  };
  console.table(rows);
} finally {
  await server.close();
}
