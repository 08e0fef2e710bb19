import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startChildServer } from '../load/child_server.ts';
import type { LoadReport } from '../load/load_report.ts';
import { runLoad } from '../load/speaking_load.ts';
import { streamUrl } from '../../server/transcribe_command.ts';

/** What a run promises whatever the machine. */
const PROMISES = [
  'lostCount',
  'unansweredCount',
  'repeatedCount',
  'disorderedCount',
  'crossedCount',
  'inventedCount',
] as const satisfies readonly (keyof LoadReport)[];

/** How soon, at the 95th percentile, where the machine carries the load; and the longest gap between two partials. */
const FINAL_P95_MAX_MS = 500;
const GAP_P95_MAX_MS = 1_000;
const GAP_MAX_MS = 2_000;
/** Packets that go out later than this, one in a hundred, say that the machine does not carry it. */
const SEND_LATE_P99_MAX_MS = 50;
/** Then nobody can tell how fast the server is; but beyond so many times the bounds it is not the machine alone. */
const SLOW_MACHINE_RATIO = 5;

type Pace = Pick<LoadReport, 'finalAfterSpeechEndMs' | 'partialGapMs' | 'sendLatenessMs'>;

/** Throws if the server was too slow, as far as the machine lets one tell. */
function judgePace({ finalAfterSpeechEndMs: final, partialGapMs: gap, sendLatenessMs: late }: Pace): void {
  const isOnTime = late.p99 <= SEND_LATE_P99_MAX_MS;
  const ratio = isOnTime ? 1 : SLOW_MACHINE_RATIO;
  console.log(
    `final p95 ${final.p95.toFixed(0)} ms, partial gap p95 ${gap.p95.toFixed(0)} and max ${gap.max.toFixed(0)} ms, ` +
      `load late p99 ${late.p99.toFixed(0)} ms${isOnTime ? '' : `: machine too slow to judge, bounds times ${ratio}`}`,
  );
  assert.ok(final.p95 < ratio * FINAL_P95_MAX_MS, `final p95 ${final.p95} ms`);
  assert.ok(gap.p95 <= ratio * GAP_P95_MAX_MS, `partial gap p95 ${gap.p95} ms`);
  assert.ok(gap.max <= ratio * GAP_MAX_MS, `partial gap max ${gap.max} ms`);
}

void describe('fifty sessions for a minute, a fifth of them speaking', () => {
  it('[LOAD6] every utterance has one final, in order, with the words of its own session, and in time', async () => {
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
      assert.deepEqual(report.failures, []);
      assert.deepEqual(
        PROMISES.map((name) => `${name} ${report[name]}`),
        PROMISES.map((name) => `${name} 0`),
      );
      assert.ok(report.finalCount >= 100, `${report.finalCount} finals`);
      judgePace(report);
    } finally {
      await server.close();
    }
  });
});
