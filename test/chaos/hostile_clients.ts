/** clients that do not read, vanish, dawdle, come in floods, or send faster than people speak. */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { CLOSE_MAX_MS, IDLE_MAX_MS } from '../../pipeline/limits.ts';
import { frameOf } from '../fuzz/hostile_frames.ts';
import { fetchSample, type RealServer } from '../support/real_server.ts';
import { RawClient } from '../support/raw_client.ts';
import { writeScripts } from './crowd.ts';
import { scenarioOf, type Attack, type Target } from './hostile_attack.ts';
import { RawSocket } from './raw_socket.ts';
import { percentile, type Scenario } from './scenario.ts';
import { timeUntil } from './waiting.ts';

const BYSTANDERS = 3;
const FLOOD_CAP = 20;
const SLOW_READER_MAX_MS = 10_000;
const SLOWLORIS_MAX_MS = 15_000;
const CONNECT_P99_MAX_MS = 100;
/** As fast as the server answers, for the attackers and both servers share this process and its core. */
const THOUSAND_ANSWERS_MAX_MS = 500;
/** All of it is processor time of one process, which a busy machine may give a tenth of a core. */
const ANSWERS_FAIL_AT_RATIO = 20;
/** Both servers, their clients and what is sent are in this process. */
const RSS_PER_READER_MAX_MB = 16;
const SPEED_RATIO = 20;
/** The bounds of the server are seconds long: a slow machine adds to them, but does not multiply them. */
const REAPED_FAILS_AT_RATIO = 2;
/** Bounds are looked at now and then, here and in the server. */
const SWEEP_MS = 1_500;

const ATTACKS: readonly Attack[] = [
  { id: 'R-25', title: 'slow readers', bystanders: BYSTANDERS, run: neverRead },
  { id: 'R-26', title: 'half-open connections', bystanders: BYSTANDERS, run: vanish },
  { id: 'R-27', title: 'slowloris', bystanders: BYSTANDERS, run: dawdle },
  {
    ...{ id: 'R-28', title: 'connect flood', bystanders: BYSTANDERS, run: flood },
    settings: { maxSessions: BYSTANDERS + FLOOD_CAP },
  },
  { id: 'R-34', title: '20 times faster than real time', bystanders: BYSTANDERS, run: rush },
];

export const HOSTILE_CLIENTS: readonly Scenario[] = ATTACKS.map(scenarioOf);

/** Pings fill the way back, as far as the server lets them; then comes an answer that may not be dropped. */
async function neverRead({ server, port, tier, verdict }: Target): Promise<number> {
  const count = tier === 'p' ? 4 : 100;
  const pings = Buffer.concat(
    Array.from({ length: 1_000 }, () => frameOf({ opcode: 9, payload: new Uint8Array(125) })),
  );
  const rssBefore = process.memoryUsage.rss();
  const readers = await Promise.all(
    Array.from({ length: count }, () => RawSocket.open(port, '?encoding=opus')),
  );
  const startedAtMs = performance.now();
  await Promise.all(
    readers.map(async ({ socket }) => {
      socket.pause();
      for (let i = 0; i < 100 && !socket.destroyed; i++) {
        if (!socket.write(pings)) await Promise.race([once(socket, 'drain'), pause(SLOW_READER_MAX_MS)]);
      }
      const flush = new TextEncoder().encode('{"type":"flush","id":"unread"}');
      for (let i = 0; i < 10; i++) socket.write(frameOf({ opcode: 1, payload: flush }));
    }),
  );
  const filledMs = performance.now() - startedAtMs;
  const grownMb = (process.memoryUsage.rss() - rssBefore) / 1e6;
  const toldMs = await timeUntil(SLOW_READER_MAX_MS, async () => (await limitErrors(server)) >= count);
  verdict.expect(toldMs < Infinity, `${await limitErrors(server)} of ${count} ended as slow readers`);
  await pause(CLOSE_MAX_MS + 500);
  for (const { socket } of readers) socket.resume();
  const goneMs = await timeUntil(2_000, () => readers.every(({ socket }) => !isOpen(socket)));
  verdict.expect(goneMs < Infinity, 'slow readers still connected after the bound on a close');
  for (const reader of readers) reader.destroy();
  verdict.figure(`filled in ${(filledMs / 1_000).toFixed(1)} s, ended ${Math.round(toldMs)} ms later`);
  verdict.measure('RSS per reader', grownMb / count, { max: RSS_PER_READER_MAX_MB, unit: 'MB' });
  return count;
}

function limitErrors(server: RealServer): Promise<number> {
  return fetchSample(server, 'earwitness_errors_total{class="limit"}');
}

function isOpen({ readyState }: { readonly readyState: string }): boolean {
  return readyState === 'open' || readyState === 'readOnly';
}

/** A close frame that nobody answers: `ws` is cut off by us, uWebSockets.js cuts off in steps of its own. */
const LINGER_MAX_MS: Readonly<Record<Target['transport'], number>> = { uws: 12_000, ws: CLOSE_MAX_MS };

async function vanish({ server, port, tier, transport, verdict }: Target): Promise<number> {
  const count = tier === 'p' ? 50 : 200;
  const gone = await Promise.all(
    Array.from({ length: count }, (_, i) => RawSocket.open(port, i % 2 === 0 ? '?encoding=opus' : '')),
  );
  for (const { socket } of gone) socket.pause();
  const startedAtMs = performance.now();
  const freedMs = await timeUntil(
    REAPED_FAILS_AT_RATIO * (IDLE_MAX_MS + SWEEP_MS),
    async () => (await fetchSample(server, 'earwitness_sessions_active')) === 0,
  );
  verdict.measure('sessions freed after', freedMs, {
    ...{ max: IDLE_MAX_MS + SWEEP_MS, unit: 'ms', failsAtRatio: REAPED_FAILS_AT_RATIO },
  });
  // A socket that the server has let go of answers any byte with a reset.
  const byte = frameOf({ opcode: 9 });
  const knock = setInterval(() => {
    for (const { socket } of gone) if (socket.writable) socket.write(byte);
  }, 100);
  const dueMs = IDLE_MAX_MS + LINGER_MAX_MS[transport] + SWEEP_MS;
  await timeUntil(REAPED_FAILS_AT_RATIO * dueMs - freedMs, () =>
    gone.every(({ socket }) => socket.destroyed),
  );
  const reapedMs = performance.now() - startedAtMs;
  clearInterval(knock);
  const left = gone.filter(({ socket }) => !socket.destroyed).length;
  verdict.expect(left === 0, `${left} of ${count} sockets not reaped`);
  for (const socket of gone) socket.destroy();
  verdict.measure('sockets after', reapedMs, {
    ...{ max: dueMs, unit: 'ms', failsAtRatio: REAPED_FAILS_AT_RATIO },
  });
  return count;
}

/** A third say nothing, a third send their headers byte by byte, a third stop in the middle. */
async function dawdle({ server, port, tier, transport, verdict }: Target): Promise<number> {
  const count = tier === 'p' ? 100 : 1_000;
  const startedAtMs = performance.now();
  const slow = await Promise.all(Array.from({ length: count }, () => RawSocket.connect(port)));
  const head = `GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ${'x'.repeat(64)}`;
  for (const [i, { socket }] of slow.entries()) if (i % 3 === 2) socket.write(head);
  let sent = 0;
  const drip = setInterval(() => {
    const byte = head[sent++] ?? 'x';
    for (const [i, { socket }] of slow.entries()) if (i % 3 === 1 && socket.writable) socket.write(byte);
  }, 1_000);
  const all = Promise.all(slow.map(({ ended }) => ended)).then(() => performance.now() - startedAtMs);
  const isOver = Promise.race([all, pause(SLOWLORIS_MAX_MS + 1_000).then(() => Infinity)]);
  const connectsMs: number[] = [];
  let waits = true;
  const legit = async (): Promise<void> => {
    while (waits) {
      const atMs = performance.now();
      const client = await RawClient.open(server.url);
      connectsMs.push(performance.now() - atMs);
      client.socket.terminate();
      await pause(100);
    }
  };
  const [closedMs] = await Promise.all([isOver.finally(() => (waits = false)), legit()]);
  clearInterval(drip);
  const kinds = ['silent', 'dripping', 'stopped'].filter((_, kind) =>
    slow.some(({ socket }, i) => i % 3 === kind && isOpen(socket)),
  );
  for (const socket of slow) socket.destroy();
  const p99Ms = percentile(connectsMs, 0.99);
  const counted = await fetchSample(server, 'earwitness_transport_limits_total{limit="headers_time"}');
  verdict.expect(closedMs <= SLOWLORIS_MAX_MS, `slow sockets open after 15 s: ${kinds.join(', ')}`);
  // uWebSockets.js cuts them off without a word.
  verdict.expect(transport !== 'ws' || counted >= count / 2, `${counted} of ${count} counted`);
  verdict.figure(`closed after ${(closedMs / 1_000).toFixed(1)} s`);
  verdict.measure('connect p99', p99Ms, { max: CONNECT_P99_MAX_MS, unit: 'ms' });
  return count;
}

/**
 * As many as there is room for are let in, and nobody else. The room is the server's: from this machine itself no
 * address has a cap of its own ([ACC7] has that one).
 */
async function flood({ server, port, tier, verdict }: Target): Promise<number> {
  const [count, parallel] = tier === 'p' ? [600, 100] : [5_000, 100];
  await timeUntil(2_000, async () => (await activeSessions(server)) === BYSTANDERS);
  const startedAtMs = performance.now();
  const answers: { readonly raw: RawSocket; readonly status: number; readonly body: string }[] = [];
  const lane = async (): Promise<void> => {
    while (answers.length < count) {
      const raw = await RawSocket.ask(port, '?encoding=opus');
      const { status, body } = await raw.answer;
      if (status !== 101) raw.destroy();
      answers.push({ raw, status, body });
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  const thousandMs = ((performance.now() - startedAtMs) / answers.length) * 1_000;
  await pause(300);
  const admitted = answers.filter(({ raw }) => raw.text.includes('"type":"ready"')).length;
  const told = answers.filter(({ raw, body }) => `${raw.text}${body}`.includes('"overloaded"')).length;
  // A bystander who has said everything makes room for one more.
  const isCapped = admitted >= FLOOD_CAP && admitted <= FLOOD_CAP + BYSTANDERS;
  verdict.expect(isCapped, `${admitted} sessions where there is room for ${FLOOD_CAP}`);
  const untold = answers.length - admitted - told;
  verdict.expect(untold === 0, `${untold} were neither let in nor told why`);
  for (const { raw } of answers) raw.destroy();
  const backMs = await timeUntil(5_000, async () => (await activeSessions(server)) <= BYSTANDERS);
  verdict.expect(backMs < Infinity, 'the places were not given back');
  verdict.figure(`${admitted} let in`);
  verdict.measure('a thousand answers in', thousandMs, {
    ...{ max: THOUSAND_ANSWERS_MAX_MS, unit: 'ms', failsAtRatio: ANSWERS_FAIL_AT_RATIO },
  });
  return answers.length;
}

function activeSessions(server: RealServer): Promise<number> {
  return fetchSample(server, 'earwitness_sessions_active');
}

/** Told at 30 s ahead of real time, closed at 60. */
async function rush({ server, tier, verdict }: Target): Promise<number> {
  const count = tier === 'p' ? 2 : 20;
  const packets = (await writeScripts(1, 10_000))[0]?.packets ?? [];
  const closedAfterMs = await Promise.all(
    Array.from({ length: count }, async () => {
      const client = await RawClient.open(server.url, 'encoding=opus');
      const startedAtMs = performance.now();
      let sentCount = 0;
      const timer = setInterval(() => {
        const due = ((performance.now() - startedAtMs) * SPEED_RATIO) / 20;
        for (; sentCount < due; sentCount++) {
          client.sendBytes(packets[sentCount % packets.length] ?? new Uint8Array(1));
        }
      }, 10);
      const { code } = await Promise.race([client.closed, pause(SLOWLORIS_MAX_MS).then(() => ({ code: 0 }))]);
      clearInterval(timer);
      const isWarned = client.of('notice').some((notice) => notice.code === 'input_throttled');
      verdict.expect(code === 4429, code === 0 ? 'not closed' : `closed with ${code}`);
      verdict.expect(isWarned, 'closed without a warning');
      return performance.now() - startedAtMs;
    }),
  );
  const counted = await limitErrors(server);
  verdict.expect(counted === count, `${counted} of ${count} counted`);
  verdict.figure(`closed after ${(Math.max(...closedAfterMs) / 1_000).toFixed(1)} s`);
  return count;
}
