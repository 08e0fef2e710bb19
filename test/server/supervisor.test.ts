import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { DRAIN_MAX_MS, GATEWAY_END_MAX_MS } from '../../pipeline/limits.ts';
import { Supervisor } from '../../server/supervisor.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { temporaryFolder, type TemporaryFolder } from '../support/faulty_worker.ts';
import { KeptLog } from '../support/real_server.ts';

describe('the supervisor', { skip: process.platform === 'win32' }, () => {
  let folder: TemporaryFolder;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  async function supervise(gateway: string) {
    const modulePath = join(folder.path, 'gateway.cjs');
    await writeFile(modulePath, gateway);
    const [clock, log] = [new FakeClock(), new KeptLog()];
    const supervisor = new Supervisor({ modulePath, args: [], clock, random: () => 0.5, log });
    return { clock, log, supervisor, status: supervisor.run() };
  }

  it('[CLI14] a request to stop between two gateways ends it at once, with status 0', async () => {
    const { clock, log, supervisor, status } = await supervise('process.exit(1)');
    while (log.lines.length === 0) await setTimeout(5);
    supervisor.stop();
    assert.equal(await status, 0);
    assert.equal(clock.timerCount, 0);
  });

  for (const [isReady, maxMs] of [
    [false, GATEWAY_END_MAX_MS],
    [true, GATEWAY_END_MAX_MS + DRAIN_MAX_MS],
  ] as const) {
    it(`[CLI15] a gateway that does not end in time is killed (${isReady ? 'ready' : 'starting'})`, async () => {
      const deaf = join(folder.path, 'deaf');
      const { clock, log, supervisor, status } = await supervise(`
        process.on('SIGTERM', () => undefined).on('disconnect', () => process.exit());
        const tell = () => require('node:fs').writeFileSync(${JSON.stringify(deaf)}, '');
        ${isReady ? "process.send({ type: 'gatewayReady', port: 1, adminPort: 2 }, tell)" : 'tell()'};
        setInterval(() => undefined, 1000);`);
      while (!existsSync(deaf)) await setTimeout(5);
      // What it sent before is read by now.
      await setTimeout(50);
      supervisor.stop();
      await clock.advance(maxMs - 1);
      assert.equal(log.lines.length, 0);
      await clock.advance(1);
      assert.equal(await status, 1);
      assert.equal(log.lines.at(-1)?.fields['maxMs'], maxMs);
      assert.equal(clock.timerCount, 0);
    });
  }
});
