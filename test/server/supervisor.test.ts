import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  DRAIN_MAX_MS,
  GATEWAY_END_MAX_MS,
  GATEWAY_SILENCE_MAX_MS,
  HEARTBEAT_INTERVAL_MS,
  RESTART_BACKOFF_MAX_MS,
  WORKER_START_MAX_MS,
} from '../../pipeline/limits.ts';
import type { CrashFacts } from '../../server/records/crash_reports.ts';
import { Supervisor } from '../../server/supervisor.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { temporaryFolder, type TemporaryFolder } from '../support/faulty_worker.ts';
import { KeptLog } from '../support/real_server.ts';

/** A gateway that answers its supervisor. */
const ANSWERS = `process.on('message', (message) => {
  if (message.type === 'ping') process.send({ type: 'pong', rssBytes: 1 });
  if (message.type === 'stop') process.exit(0);
});`;
/** And one that hears nothing. */
const STANDS_STILL = 'process.on("disconnect", () => process.exit()); setInterval(() => undefined, 1000);';

describe('the supervisor', { skip: process.platform === 'win32' }, () => {
  let folder: TemporaryFolder;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  /** `gateway` is a program; it is there when it has created the file at `process.env.THERE`. */
  async function supervise(gateway: string) {
    const modulePath = join(folder.path, 'gateway.cjs');
    const there = join(folder.path, 'there');
    const program = `const tellThere = () => require('node:fs').appendFileSync(${JSON.stringify(there)}, '.');\n`;
    await writeFile(modulePath, program + gateway);
    const [clock, log] = [new FakeClock(), new KeptLog()];
    const deaths: CrashFacts[] = [];
    const supervisor = new Supervisor({
      ...{ modulePath, args: [], execArgv: [], clock, random: () => 0.5, log },
      record: (facts) => deaths.push(facts),
      reportCount: () => deaths.length,
    });
    const status = supervisor.run();
    /** So many gateways have said that they are there; what they sent before is read. */
    const areThere = async (count: number): Promise<void> => {
      while (!existsSync(there) || (await readFile(there)).length < count) await setTimeout(5);
      await setTimeout(50);
    };
    const died = async (): Promise<CrashFacts> => {
      for (;;) {
        const death = deaths.at(-1);
        if (death !== undefined) return death;
        await setTimeout(5);
      }
    };
    return { clock, log, deaths, died, supervisor, status, areThere };
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
      const { clock, log, deaths, supervisor, status, areThere } = await supervise(`
        ${ANSWERS.replace('process.exit(0)', 'undefined')}
        ${isReady ? "process.send({ type: 'ready', port: 1, adminPort: 2 }, tellThere)" : 'tellThere()'};`);
      await areThere(1);
      supervisor.stop();
      for (let atMs = 0; atMs < maxMs - 1_000; atMs += 1_000) {
        await clock.advance(1_000);
        await setTimeout(20);
      }
      await clock.advance(999);
      assert.equal(log.lines.length, 0);
      await clock.advance(1);
      assert.equal(await status, 1);
      assert.equal(log.lines.at(-1)?.fields['maxMs'], maxMs);
      assert.equal(deaths[0]?.kind, 'hang');
      assert.equal(clock.timerCount, 0);
    });
  }

  it('[CLI16] a gateway that falls silent is killed, reported and replaced', async () => {
    const { clock, deaths, died, supervisor, status, areThere } = await supervise(`
      ${ANSWERS}
      process.send({ type: 'pong', rssBytes: 7 }, tellThere);
      process.removeAllListeners('message');
      ${STANDS_STILL}`);
    await areThere(1);
    await clock.advance(GATEWAY_SILENCE_MAX_MS);
    assert.equal(deaths.length, 0, 'too soon');
    await clock.advance(2 * HEARTBEAT_INTERVAL_MS);
    const { role, kind, signal, generation, rssBytes } = await died();
    await clock.advance(RESTART_BACKOFF_MAX_MS);
    await areThere(2);
    assert.deepEqual([role, kind, signal, generation, rssBytes], ['gateway', 'hang', 'SIGKILL', 1, 7]);
    supervisor.stop();
    supervisor.stop();
    assert.equal(await status, 1);
    assert.equal(clock.timerCount, 0);
  });

  it('[CLI16] one that never answers is killed when its time to start is over', async () => {
    const { clock, deaths, died, supervisor, status, areThere } = await supervise(
      `tellThere(); ${STANDS_STILL}`,
    );
    await areThere(1);
    await clock.advance(WORKER_START_MAX_MS);
    assert.equal(deaths.length, 0, 'too soon');
    await clock.advance(2 * HEARTBEAT_INTERVAL_MS);
    assert.equal((await died()).kind, 'start');
    supervisor.stop();
    assert.equal(await status, 0);
  });

  it('[CLI16] one that answers lives on, and a supervisor that stood still itself does not blame it', async () => {
    const { clock, deaths, supervisor, status, areThere } = await supervise(`${ANSWERS} tellThere();`);
    await areThere(1);
    for (let i = 0; i < 30; i++) {
      await clock.advance(HEARTBEAT_INTERVAL_MS);
      await setTimeout(10);
    }
    clock.stall(60_000);
    await clock.advance(0);
    await setTimeout(50);
    await clock.advance(HEARTBEAT_INTERVAL_MS);
    assert.equal(deaths.length, 0);
    supervisor.stop();
    assert.equal(await status, 0);
  });

  it('[CLI17] every death is recorded, with the exception that was its cause; an end on purpose is not', async () => {
    const { clock, log, deaths, supervisor, status, areThere } = await supervise(`
      process.send({ type: 'lastWords', words: 'Error: of a test' }, () => { tellThere(); process.exit(7); });`);
    await areThere(1);
    while (log.lines.length === 0) await setTimeout(5);
    assert.deepEqual(
      deaths.map(({ role, code, kind, stderrTail }) => [role, code, kind, stderrTail]),
      [['gateway', 7, 'exit', 'Error: of a test']],
    );
    supervisor.stop();
    assert.equal(await status, 0);
    assert.equal(deaths.length, 1);
    assert.equal(clock.timerCount, 0);
  });

  it('[CLI19] a gateway is told from its start that somebody is above it', async () => {
    const { status } = await supervise('process.exit(process.argv.includes("--supervised") ? 0 : 42)');
    assert.equal(await status, 0);
  });
});
