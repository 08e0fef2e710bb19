/** Logs far more than a pipe holds, while nobody reads it, and tells on stderr how it went. */
import { writeSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { systemClock } from '../../pipeline/clock.ts';
import { createLog } from '../../server/records/log.ts';

const ROUND_COUNT = 50;
const ROUND_LINE_COUNT = 50;

const log = createLog({ level: 'info', format: 'json', clock: systemClock, output: process.stdout });
const delay = monitorEventLoopDelay({ resolution: 1 });
const startRssBytes = process.memoryUsage.rss();
delay.enable();
for (let round = 0; round < ROUND_COUNT; round++) {
  for (let i = 0; i < ROUND_LINE_COUNT; i++) log.info(`event ${round}.${i}`, { field: 'x'.repeat(4_000) });
  await new Promise((resolve) => setImmediate(resolve));
}
await log.flush();
const report = {
  droppedCount: log.takeDroppedCount(),
  rssGrowthBytes: process.memoryUsage.rss() - startRssBytes,
  loopDelayMs: delay.max / 1e6,
};
writeSync(2, JSON.stringify(report));
process.exit(0);
