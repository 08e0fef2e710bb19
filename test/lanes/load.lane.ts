import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startChildServer } from '../load/child_server.ts';
import type { LoadReport } from '../load/load_report.ts';
import { runLoad } from '../load/speaking_load.ts';
import { streamUrl } from '../../server/transcribe_command.ts';

/** What a run promises whatever the machine; how fast it was is for benchmarks to judge. */
const PROMISES = [
  'lostCount',
  'unansweredCount',
  'repeatedCount',
  'disorderedCount',
  'crossedCount',
  'inventedCount',
] as const satisfies readonly (keyof LoadReport)[];

void describe('fifty sessions for a minute, a fifth of them speaking', () => {
  it('[LOAD6] every utterance has one final, in order, with the words of its own session', async () => {
    const server = await startChildServer();
    try {
      const report = await runLoad({
        url: streamUrl(server.url),
        sessionCount: 50,
        durationMs: 60_000,
        speakingShare: 0.2,
        seed: 1,
        onProgress: () => undefined,
      });
      const { finalAfterSpeechEndMs: final, partialGapMs: gap, sendLatenessMs: late } = report;
      console.log(
        `final p95 ${final.p95.toFixed(0)} ms, partial gap p95 ${gap.p95.toFixed(0)} ms, load late p99 ${late.p99.toFixed(0)} ms`,
      );
      assert.deepEqual(report.failures, []);
      assert.deepEqual(
        PROMISES.map((name) => `${name} ${report[name]}`),
        PROMISES.map((name) => `${name} 0`),
      );
      assert.ok(report.finalCount >= 100, `${report.finalCount} finals`);
    } finally {
      await server.close();
    }
  });
});
