/**
 * What a session costs beside the model: sockets, decoding, voice detection, IPC and scheduling. The recogniser is one
 * that answers with a digest of the samples and costs nothing; all else is what `serve` runs.
 * `node dist/test/bench/overhead_bench_main.js [--sessions 100] [--seconds 30]`
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { streamUrl } from '../../server/transcribe_command.ts';
import { startChildServer, type ChildServer, type ServerUse } from '../load/child_server.ts';
import { runLoad } from '../load/speaking_load.ts';
import { machineLine } from './processor_time.ts';

const DIGEST_WORKER = fileURLToPath(new URL('../support/hashing_worker_main.js', import.meta.url));
const SPEAKING_SHARE = 0.1;
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
  let peakBytes = 0;
  let watch: NodeJS.Timeout | undefined;
  await run(() => {
    before = server.use();
    watch = setInterval(() => {
      peakBytes = Math.max(peakBytes, server.use().memoryBytes);
    }, durationMs / MEMORY_LOOKS);
  });
  clearInterval(watch);
  const after = server.use();
  const share = (of: (use: ServerUse) => number) =>
    `${((100 * (of(after) - of(before))) / durationMs / sessionCount).toFixed(3)} %`;
  return {
    gateway: share(({ gatewayMs }) => gatewayMs),
    'audio workers': share(({ audioMs }) => audioMs),
    'inference workers': share(({ inferenceMs }) => inferenceMs),
    together: share(({ gatewayMs, audioMs, inferenceMs }) => gatewayMs + audioMs + inferenceMs),
    'KB a session': Math.round((peakBytes - before.memoryBytes) / 1_024 / sessionCount),
  };
}

/** Sessions that are open and say nothing. */
async function idle(url: string, onPrepared: () => void): Promise<void> {
  onPrepared();
  const sockets = Array.from({ length: sessionCount }, () => new WebSocket(`${url}?encoding=opus`));
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

function stream(url: string, onPrepared: () => void, speakingShare: number): Promise<unknown> {
  const load = { url, sessionCount, durationMs, speakingShare, seed: 1 };
  return runLoad({ ...load, onPrepared, onProgress: () => undefined });
}

const server = await startChildServer({ maxSessions: sessionCount }, DIGEST_WORKER);
try {
  const url = streamUrl(server.url);
  console.log(machineLine('onnxruntime-node', 'uWebSockets.js'));
  console.log(`${sessionCount} sessions, ${values.seconds} s; shares are of one core, for each session`);
  // The first sessions pay for what all share.
  await stream(url, () => undefined, SPEAKING_SHARE);
  const rows = {
    'connected, silent on the wire': await measure(server, (onPrepared) => idle(url, onPrepared)),
    'streaming Opus, a tenth speech': await measure(server, (onPrepared) =>
      stream(url, onPrepared, SPEAKING_SHARE),
    ),
  };
  console.table(rows);
} finally {
  await server.close();
}
