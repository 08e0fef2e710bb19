import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LoadReport } from '../../server/load/load_report.ts';
import { runLoad } from '../../server/load/load_run.ts';
import { startOwnServer } from '../../server/load/own_server.ts';
import { renderReport } from '../../server/load/report_text.ts';

/** How soon, at the 95th percentile, where the machine carries the load; and the longest gap between two partials. */
const FINAL_P95_MAX_MS = 500;
const GAP_P95_MAX_MS = 1_000;
const GAP_MAX_MS = 4_000;
/** Packets that go out later than this, one in a hundred, say that the machine does not carry it. */
const SEND_LATE_P99_MAX_MS = 50;
/** Then nobody can tell how fast the server is; but beyond so many times the bounds it is not the machine alone. */
const SLOW_MACHINE_RATIO = 5;

/** Throws if the server was too slow, as far as the machine lets one tell. */
function judgePace({ final, partialGap: gap, lateness }: LoadReport['latencyMs']): void {
  const isOnTime = lateness.p99 <= SEND_LATE_P99_MAX_MS;
  const ratio = isOnTime ? 1 : SLOW_MACHINE_RATIO;
  if (!isOnTime) console.log(`the machine is too slow to judge, so the bounds are ${ratio} times as wide`);
  assert.ok(final.p95 < ratio * FINAL_P95_MAX_MS, `final p95 ${final.p95} ms`);
  assert.ok(gap.p95 <= ratio * GAP_P95_MAX_MS, `partial gap p95 ${gap.p95} ms`);
  assert.ok(gap.max <= ratio * GAP_MAX_MS, `partial gap max ${gap.max} ms`);
}

void describe('fifty sessions for a minute, a fifth of them speaking', () => {
  it('[LOAD6] every utterance has one final, in order, with the words of its own session, and in time', async () => {
    const server = await startOwnServer(new AbortController().signal);
    try {
      const report = await runLoad({
        url: server.url,
        dialect: 'native',
        encoding: 'opus',
        stages: [{ sessionCount: 50, rampMs: 0, holdMs: 60_000 }],
        talkRatio: 0.2,
        seed: 1,
        retriesRefusals: false,
        processCount: 1,
      });
      console.log(renderReport(report));
      assert.equal(report.sessions.done, 50);
      assert.deepEqual(
        Object.entries(report.faults).filter(([, count]) => count !== 0),
        [],
      );
      assert.ok(report.finals >= 100, `${report.finals} finals`);
      judgePace(report.latencyMs);
    } finally {
      await server.close();
    }
  });
});
