/**
 * How many sessions this machine carries, with the load on it too: more and more of them that speak all the time, until
 * the server is overloaded; the same with many that are mostly silent; and few again, to see that it recovers.
 * `node dist/test/bench/capacity_bench_main.js [--seconds 20] [--speaking 8,16,24,32,64] [--connected 50,150]`
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { streamUrl } from '../../server/transcribe_command.ts';
import { startChildServer, type ChildServer } from '../load/child_server.ts';
import type { LoadReport } from '../load/load_report.ts';
import { runLoad } from '../load/speaking_load.ts';
import { machineLine, processorMs } from './processor_time.ts';

/** Sessions before and after the overload. */
const FEW_SESSIONS = 2;
/** Pause between the sentences of who speaks all the time: hardly more than ends an utterance. */
const SHORT_PAUSE_MS = 700;
/** Share of the time that the others speak. */
const QUIET_SHARE = 0.1;
/** Time over which the sessions of a row come. */
const ARRIVAL_MS = 5_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    speaking: { type: 'string', default: '8,16,24,32,64' },
    connected: { type: 'string', default: '50,150' },
  },
});

interface Row {
  readonly name: string;
  readonly sessionCount: number;
  readonly speakingShare: number;
}

function rowsOf(): Row[] {
  const counts = (list: string) => list.split(',').map(Number);
  const speaking = (sessionCount: number, name = 'speaking') => ({ name, sessionCount, speakingShare: 1 });
  return [
    speaking(FEW_SESSIONS, 'before'),
    ...counts(values.connected).map((sessionCount) => ({
      ...{ name: 'a tenth speaking', sessionCount, speakingShare: QUIET_SHARE },
    })),
    ...counts(values.speaking).map((count) => speaking(count)),
    speaking(FEW_SESSIONS, 'after'),
  ];
}

/** Runs one row and says what came of it, and what each process took of a core. */
async function measure(server: ChildServer, row: Row): Promise<Record<string, string | number>> {
  const durationMs = Number(values.seconds) * 1_000;
  const look = () => ({ atMs: performance.now(), ownMs: processorMs(), ...server.use() });
  let before = look();
  const report = await runLoad({
    ...row,
    ...{ url: streamUrl(server.url), durationMs, seed: 1, mayRefuse: true, arrivalMs: ARRIVAL_MS },
    ...(row.speakingShare === 1 && { pauseMinMs: SHORT_PAUSE_MS }),
    onPrepared: () => {
      before = look();
    },
    onProgress: () => undefined,
  });
  const after = look();
  const cores = (of: (look: typeof after) => number) =>
    Number(((of(after) - of(before)) / (after.atMs - before.atMs)).toFixed(2));
  return {
    sessions: row.sessionCount,
    refused: report.refusedCount,
    lost: report.lostCount + report.failures.length,
    ...latencies(report),
    suspended: report.notices['partials_suspended'] ?? 0,
    'gateway cores': cores(({ gateway }) => gateway.processorMs),
    'audio cores': cores(({ audio }) => audio.processorMs),
    'inference cores': cores(({ inference }) => inference.processorMs),
    'load cores': cores(({ ownMs }) => ownMs),
  };
}

function latencies({ finalAfterSpeechEndMs: final, partialGapMs: gap }: LoadReport): Record<string, number> {
  const rounded = { 'final p50': final.p50, 'final p95': final.p95, 'partial gap p95': gap.p95 };
  return Object.fromEntries(Object.entries(rounded).map(([name, ms]) => [name, Math.round(ms)]));
}

const server = await startChildServer();
try {
  console.log(machineLine('onnxruntime-node', 'uWebSockets.js'));
  console.log(
    `load of the machine before: ${loadavg()[0]?.toFixed(1) ?? '?'}; ${values.seconds} s a row, times in ms`,
  );
  const results: Record<string, unknown>[] = [];
  for (const row of rowsOf()) {
    results.push({ who: row.name, ...(await measure(server, row)) });
    console.error(`${results.length} of ${rowsOf().length} rows`);
  }
  console.table(results);
} finally {
  await server.close();
}
