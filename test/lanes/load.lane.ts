import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runLoad } from '../../server/load/load_run.ts';
import { startOwnServer } from '../../server/load/own_server.ts';
import { renderReport } from '../../server/load/report_text.ts';

void describe('fifty sessions for a minute, a fifth of them speaking', () => {
  it('[LOAD6] every utterance has one final, in order, with the words of its own session', async () => {
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
      // How fast it was is for benchmarks to judge; what was said must be right on any machine.
      console.log(renderReport(report));
      assert.equal(report.sessions.done, 50);
      assert.deepEqual(
        Object.entries(report.faults).filter(([, count]) => count !== 0),
        [],
      );
      assert.ok(report.finals >= 100, `${report.finals} finals`);
    } finally {
      await server.close();
    }
  });
});
