/** `node dist/test/load/speaking_load_main.js [--sessions 50] [--seconds 60] [--share 0.2] [--url ws://…] [--json]` */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { streamUrl } from '../../server/transcribe_command.ts';
import { startChildServer } from './child_server.ts';
import { violations, type LoadReport, type Quantiles } from './load_report.ts';
import { runLoad } from './speaking_load.ts';

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '60' },
    share: { type: 'string', default: '0.2' },
    seed: { type: 'string', default: '1' },
    url: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

function positive(name: 'sessions' | 'seconds' | 'share' | 'seed'): number {
  const number = Number(values[name]);
  assert(number > 0, `--${name} must be a number above 0, not '${values[name]}'`);
  return number;
}

function row(name: string, { count, p50, p95, p99, max }: Quantiles): string {
  const cells = [p50, p95, p99, max].map((ms) => ms.toFixed(0).padStart(7));
  return `${name.padEnd(34)}${String(count).padStart(8)}${cells.join('')}`;
}

function printReport(report: LoadReport): void {
  const { sessionCount, sentenceCount, finalCount, failures } = report;
  console.log(
    `\n${sessionCount} sessions, ${sentenceCount} sentences, ${finalCount} finals, ` +
      `word error rate ${(100 * report.wordErrorRate).toFixed(1)} %, ${availableParallelism()} processors`,
  );
  console.log(
    `lost ${report.lostCount}, without final ${report.unansweredCount}, repeated ${report.repeatedCount}, ` +
      `out of order ${report.disorderedCount}, crossed ${report.crossedCount}, invented ${report.inventedCount}`,
  );
  console.log(
    `\n${'ms'.padEnd(34)}${['count', 'p50', 'p95', 'p99', 'max'].map((name, i) => name.padStart(i === 0 ? 8 : 7)).join('')}`,
  );
  console.log(row('between partials while speaking', report.partialGapMs));
  console.log(row('speechEnd to final', report.finalAfterSpeechEndMs));
  console.log(row('true end of speech to final', report.finalAfterTrueEndMs));
  console.log(row('lateness of the load itself', report.sendLatenessMs));
  for (const failure of failures) console.log(`failed: ${failure}`);
}

const own = values.url === undefined ? await startChildServer() : undefined;
try {
  const report = await runLoad({
    url: streamUrl(values.url ?? own?.url ?? ''),
    sessionCount: positive('sessions'),
    durationMs: positive('seconds') * 1_000,
    speakingShare: Math.min(1, positive('share')),
    seed: positive('seed'),
    onProgress: (line) => {
      console.error(line);
    },
  });
  const wrong = violations(report);
  if (values.json) console.log(JSON.stringify({ ...report, violations: wrong }, null, 2));
  else printReport(report);
  for (const violation of wrong) console.error(`violated: ${violation}`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  await own?.close();
}
