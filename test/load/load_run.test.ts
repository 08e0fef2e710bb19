import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type WebSocket, WebSocketServer } from 'ws';
import { LOAD_INTERRUPTED_FINISH_MAX_MS } from '../../pipeline/limits.ts';
import { Latencies } from '../../server/load/latencies.ts';
import type { LoadPlan } from '../../server/load/load_plan.ts';
import type { LoadReport } from '../../server/load/load_report.ts';
import { runLoad } from '../../server/load/load_run.ts';
import { StubServer, toneFolder, type StubOptions } from '../support/stub_server.ts';

const TEXTS = [
  'two green tigers',
  'nine wooden ladders',
  'ten hungry painters',
  'six golden mirrors',
  'four broken engines',
] as const;

/** Right within 2 ms or 2 %, whichever is more. */
function assertNear(actualMs: number, expectedMs: number, what: string): void {
  const difference = Math.abs(actualMs - expectedMs);
  assert.ok(difference <= Math.max(2, 0.02 * expectedMs), `${what}: ${actualMs} ms, not ${expectedMs} ms`);
}

function assertNoFaults({ faults, failures }: LoadReport): void {
  assert.deepEqual(failures, {});
  assert.deepEqual(
    Object.entries(faults).filter(([, count]) => count > 0),
    [],
  );
}

void describe('a load test against a server that answers when it is told to', () => {
  let tones: Awaited<ReturnType<typeof toneFolder>>;
  before(async () => {
    tones = await toneFolder(TEXTS);
  });
  after(() => tones.remove());

  function planOf(server: Pick<StubServer, 'url'>, changes: Partial<LoadPlan> = {}): LoadPlan {
    return {
      url: server.url,
      dialect: 'native',
      encoding: 'pcm_s16le',
      stages: [{ sessionCount: 6, rampMs: 200, holdMs: 8_000 }],
      talkRatio: 0.5,
      speechDir: tones.path,
      seed: 1,
      retriesRefusals: false,
      processCount: 1,
      ...changes,
    };
  }

  async function startStub(test: TestContext, changes: Partial<StubOptions> = {}): Promise<StubServer> {
    const server = await StubServer.start({ texts: TEXTS, delayMsOf: () => 300, ...changes });
    test.after(() => server.close());
    return server;
  }

  /** A server that is ready at once, and then does with the nth connection what it is told to. */
  async function startBare(
    test: TestContext,
    serve: (socket: WebSocket, nth: number) => void,
  ): Promise<Pick<StubServer, 'url'>> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    test.after(() => {
      server.close();
    });
    let connectionCount = 0;
    server.on('connection', (socket) => {
      socket.send('{"type":"ready","sessionId":"one"}');
      serve(socket, connectionCount++);
    });
    await once(server, 'listening');
    return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  it('[LOAD7] percentiles are right within 2 ms or 2 %', async (test) => {
    // 200 to 392 ms, no two alike, in no order.
    const server = await startStub(test, { delayMsOf: (nth) => 200 + ((nth * 37) % 97) * 2 });
    const report = await runLoad(planOf(server));
    assertNoFaults(report);
    const known = Latencies.of(server.delaysMs).quantiles();
    assert.ok(known.count >= 12, `${known.count} samples`);
    const { trueEnd, final } = report.latencyMs;
    assert.equal(trueEnd.count, known.count);
    for (const quantile of ['p50', 'p95', 'p99', 'max'] as const) {
      assertNear(trueEnd[quantile], known[quantile], quantile);
    }
    assertNear(final.p50, 40, 'from the endpoint');
    assert.equal(report.wordErrorRate, 0);
  });

  it('[LOAD8] a server that stands still shows as latency, not as fewer samples', async (test) => {
    const server = await startStub(test);
    const undisturbed = await runLoad(planOf(server));
    const running = runLoad(planOf(server));
    await pause(3_000);
    await server.stall(2_500);
    const stalled = await running;
    assertNoFaults(stalled);
    assert.equal(stalled.sentences, undisturbed.sentences);
    assert.equal(stalled.latencyMs.trueEnd.count, undisturbed.latencyMs.trueEnd.count);
    assert.ok(undisturbed.latencyMs.trueEnd.max < 600, `undisturbed ${undisturbed.latencyMs.trueEnd.max} ms`);
    // Six people who speak half of the time: somebody ends a sentence in the first second of the standstill.
    assert.ok(stalled.latencyMs.trueEnd.max > 1_500, `stalled ${stalled.latencyMs.trueEnd.max} ms`);
  });

  it('[LOAD11] stages: sessions begin and end as the load goes up and down', async (test) => {
    const server = await startStub(test);
    const stages = [
      { sessionCount: 2, rampMs: 0, holdMs: 2_000 },
      { sessionCount: 5, rampMs: 500, holdMs: 2_500 },
      { sessionCount: 1, rampMs: 0, holdMs: 2_000 },
    ];
    const report = await runLoad(planOf(server, { stages }));
    assertNoFaults(report);
    assert.equal(report.sessions.peak, 5);
    const counts = report.moments.map(({ sessionCount }) => sessionCount);
    assert.deepEqual([counts[0], counts[4], counts[6]], [2, 5, 1]);
  });

  it('[LOAD31] a process that ends while nobody asks it ends the load, and is told', async (test) => {
    const server = await startStub(test);
    const { NODE_OPTIONS = '' } = process.env;
    test.after(() => Object.assign(process.env, { NODE_OPTIONS }));
    process.env['NODE_OPTIONS'] =
      `--import ${new URL('../support/leaving_child_main.js', import.meta.url).href}`;
    await assert.rejects(
      runLoad(planOf(server, { processCount: 2 })),
      /a process that generates load ended: status 3/,
    );
  });

  it('[LOAD13] the Deepgram dialect measures the same, but for what it does not tell', async (test) => {
    const server = await startStub(test, { dialect: 'deepgram' });
    const stages = [{ sessionCount: 3, rampMs: 0, holdMs: 6_000 }];
    const report = await runLoad(planOf(server, { stages, dialect: 'deepgram', credential: 'secret' }));
    assertNoFaults(report);
    assert.equal(report.sessions.done, 3);
    assert.equal(report.wordErrorRate, 0);
    assertNear(report.latencyMs.trueEnd.p50, Latencies.of(server.delaysMs).quantiles().p50, 'p50');
    assert.equal(report.latencyMs.final.count, 0);
    const [request] = server.requests;
    assert.match(request?.url ?? '', /^\/v1\/listen\?encoding=linear16&sample_rate=16000&/);
    assert.equal(request?.headers.authorization, 'Token secret');
  });

  it('[LOAD15] a server that is not there fails every session, with the reason', async (test) => {
    const server = await startStub(test);
    const plan = planOf(server, { stages: [{ sessionCount: 2, rampMs: 0, holdMs: 1_000 }] });
    await server.close();
    const report = await runLoad(plan);
    assert.deepEqual(report.failures, { ECONNREFUSED: 2 });
    assert.equal(report.sentences, 0);
  });

  it('[LOAD30] a message of an unknown type is passed over, one that makes no sense fails its session', async (test) => {
    const server = await startBare(test, (socket, nth) => {
      socket.send(nth === 0 ? '{"type":"weather"}' : 'hello');
      socket.on('message', (_, isBinary) => {
        if (!isBinary) socket.send('{"type":"done"}');
      });
    });
    const stages = [{ sessionCount: 2, rampMs: 0, holdMs: 1_000 }];
    const report = await runLoad(planOf(server, { stages }));
    assert.equal(report.sessions.done, 1);
    assert.deepEqual(report.failures, { 'a message that makes no sense': 1 });
  });

  /** Loads whose reports do not depend on a few milliseconds, at once. */
  void describe('what may be asked at once', { concurrency: 4 }, () => {
    it('[LOAD9] a session that lost its connection resumes; what it owes shows as latency', async (test) => {
      const server = await startStub(test);
      const running = runLoad(planOf(server));
      await pause(3_000);
      server.cut();
      const report = await running;
      assertNoFaults(report);
      assert.equal(report.reconnects, 6);
      assert.equal(report.latencyMs.trueEnd.count, report.sentences);
    });

    it('[LOAD10] refusals are counted; with retries they are come back from when asked to', async (test) => {
      const refuseThree = (nth: number): { status: number; retryAfter: string } | undefined =>
        nth < 3 ? { status: nth === 0 ? 429 : 503, retryAfter: '1' } : undefined;
      const server = await startStub(test, { refusalOf: refuseThree });
      const stages = [{ sessionCount: 4, rampMs: 0, holdMs: 4_000 }];
      const counted = await runLoad(planOf(server, { stages }));
      assert.deepEqual(counted.refusals, { 429: 1, 503: 2 });
      assert.deepEqual([counted.sessions.refused, counted.sessions.done, counted.sessions.peak], [3, 1, 1]);
      assertNoFaults(counted);

      const patient = await startStub(test, { refusalOf: refuseThree });
      const startedAtMs = performance.now();
      const retried = await runLoad(planOf(patient, { stages, retriesRefusals: true }));
      assert.deepEqual([retried.sessions.refused, retried.sessions.done, retried.sessions.peak], [0, 4, 4]);
      assert.equal(patient.requests.length, 7);
      // They came late, but end with the others.
      assert.ok(performance.now() - startedAtMs < 8_000);
    });

    it('[LOAD12] several processes share the sessions, and the report is of all', async (test) => {
      const server = await startStub(test);
      const alone = await runLoad(
        planOf(server, { stages: [{ sessionCount: 5, rampMs: 0, holdMs: 4_000 }] }),
      );
      const shared = await runLoad(
        planOf(server, { stages: [{ sessionCount: 5, rampMs: 0, holdMs: 4_000 }], processCount: 2 }),
      );
      assertNoFaults(shared);
      assert.equal(shared.sessions.done, 5);
      assert.equal(shared.sentences, alone.sentences);
      assert.equal(shared.latencyMs.lateness.count, alone.latencyMs.lateness.count);
    });

    it('[LOAD14] an interrupt ends the load with what was measured until then', async (test) => {
      const server = await startStub(test);
      const controller = new AbortController();
      const startedAtMs = performance.now();
      const running = runLoad(planOf(server, { stages: [{ sessionCount: 6, rampMs: 0, holdMs: 60_000 }] }), {
        signal: controller.signal,
      });
      await pause(5_000);
      controller.abort();
      const report = await running;
      assert.ok(performance.now() - startedAtMs < 12_000);
      assert.ok(report.wasInterrupted);
      assert.equal(report.sessions.interrupted, 6);
      assert.ok(report.sentences > 0 && report.latencyMs.trueEnd.count === report.sentences);
      assertNoFaults(report);
    });

    it('[LOAD14] an interrupt leaves what has ended as it was, and waits no longer for a server that does not answer', async (test) => {
      const server = await startBare(test, (socket, nth) => {
        if (nth === 0) socket.send('hello');
      });
      const controller = new AbortController();
      const stages = [{ sessionCount: 2, rampMs: 0, holdMs: 1_000 }];
      const plan = planOf(server, { stages });
      const running = runLoad(plan, { signal: controller.signal });
      await pause(2_500);
      controller.abort();
      const abortedAtMs = performance.now();
      const { sessions } = await running;
      assert.ok(performance.now() - abortedAtMs < 3 * LOAD_INTERRUPTED_FINISH_MAX_MS);
      assert.deepEqual([sessions.failed, sessions.interrupted], [1, 1]);
    });
  });
});
