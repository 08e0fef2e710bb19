/**
 * What generating load costs: 200 sessions that send Opus in real time to a server that only reads, in a process of its
 * own. `node dist/test/bench/load_bench_main.js [sessions] [seconds]`
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { runLoad } from '../../server/load/load_run.ts';
import type { AddressInfo } from 'node:net';

const READER = 'reader';

/** Reads whatever comes and answers nothing but the end. */
function serveReader(): void {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) => {
    socket.send('{"type":"ready","sessionId":"bench"}');
    socket.on('message', (_, isBinary) => {
      if (!isBinary) socket.send('{"type":"done"}');
    });
  });
  server.on('listening', () => process.send?.((server.address() as AddressInfo).port));
  process.on('disconnect', () => process.exit(0));
}

async function measure(sessionCount: number, durationMs: number): Promise<void> {
  const reader = fork(fileURLToPath(import.meta.url), [READER]);
  const [port] = (await once(reader, 'message')) as [number];
  const report = await runLoad({
    url: `ws://127.0.0.1:${port}`,
    dialect: 'native',
    encoding: 'opus',
    stages: [{ sessionCount, rampMs: 1_000, holdMs: durationMs }],
    talkRatio: 0.2,
    seed: 1,
    retriesRefusals: false,
    processCount: 1,
  });
  reader.disconnect();
  assert.equal(report.sessions.done, sessionCount, JSON.stringify(report.failures));
  const { p50, p95, p99, max, count } = report.latencyMs.lateness;
  console.log(
    `${sessionCount} sessions for ${durationMs / 1_000} s, ${count} packets, ${availableParallelism()} processors: ` +
      `${report.generatorCpuRatio.toFixed(2)} processors; lateness p50 ${p50} ms, p95 ${p95} ms, p99 ${p99} ms, max ${max} ms`,
  );
}

if (process.argv[2] === READER) serveReader();
else await measure(Number(process.argv[2] ?? 200), 1_000 * Number(process.argv[3] ?? 20));
