/** messages that are too large, frames that break the protocol, control messages that make no sense. */
import { setTimeout as pause } from 'node:timers/promises';
import { parseClientMessage } from '../../server/dialects/native_messages.ts';
import { TranscriptionError } from '../../pipeline/errors.ts';
import {
  CONTROL_MESSAGE_MAX_BYTES,
  OPUS_MESSAGE_MAX_BYTES,
  TRANSPORT_MESSAGE_MAX_BYTES,
} from '../../pipeline/limits.ts';
import { fuzzedControlMessage } from '../fuzz/control_messages.ts';
import { frameOf, HOSTILE_FRAMES as VIOLATIONS, randomFrames } from '../fuzz/hostile_frames.ts';
import { fetchSample } from '../support/real_server.ts';
import { RawClient } from '../support/raw_client.ts';
import { scenarioOf, type Attack, type Target } from './hostile_attack.ts';
import { RawSocket } from './raw_socket.ts';
import { percentile, type Scenario } from './scenario.ts';
import type { Verdict } from './verdict.ts';
import { timeUntil } from './waiting.ts';

/** A connection that never starts is told after 5 s and cut after another 5. */
const CLOSED_MAX_MS = 11_000;
const RANDOM_CONNECTION_BYTES = 1_000;
const PARSE_P99_MAX_MS = 1;
const PARALLEL_COUNT = 20;
/** For each client that announces 16 MB: both servers and all clients share this process. */
const RSS_PER_LIAR_MAX_MB = 1;

const ATTACKS: readonly Attack[] = [
  { id: 'R-29', title: 'oversize messages', bystanders: 3, run: sendOversize },
  {
    id: 'R-30',
    title: 'protocol violations, random frames',
    bystanders: 3,
    run: breakProtocol,
  },
  { id: 'R-31', title: 'control messages fuzzed', bystanders: 0, run: fuzzControl },
];

export const HOSTILE_FRAMES: readonly Scenario[] = ATTACKS.map(scenarioOf);

const OVERSIZE: readonly { readonly bytes: number; readonly isText: boolean; readonly code: string }[] = [
  { bytes: OPUS_MESSAGE_MAX_BYTES + 1, isText: false, code: 'message_too_large' },
  { bytes: CONTROL_MESSAGE_MAX_BYTES + 1, isText: true, code: 'message_too_large' },
  { bytes: TRANSPORT_MESSAGE_MAX_BYTES, isText: false, code: 'message_too_large' },
  { bytes: TRANSPORT_MESSAGE_MAX_BYTES + 1, isText: false, code: '' },
];

async function sendOversize({ server, port, tier, transport, verdict }: Target): Promise<number> {
  const rounds = tier === 'p' ? 10 : 100;
  for (let round = 0; round < rounds; round++) {
    for (const { bytes, isText, code } of OVERSIZE) {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      if (isText) client.socket.send('x'.repeat(bytes));
      else client.sendBytes(new Uint8Array(bytes));
      const closing = await client.closed;
      // Above its hard stop uWebSockets.js sends no close frame.
      const expected = code === '' && transport === 'uws' ? 1006 : 1009;
      verdict.expect(closing.code === expected, `${bytes} bytes: closed with ${closing.code}`);
      const told = client.of('error')[0]?.code ?? '';
      verdict.expect(told === code, `${bytes} bytes: told "${told}", not "${code}"`);
    }
  }
  const rssBefore = process.memoryUsage.rss();
  const liars = await Promise.all(Array.from({ length: rounds }, () => RawSocket.open(port)));
  for (const { socket } of liars) socket.write(frameOf({ opcode: 2, announcedBytes: 16 * 1_024 * 1_024 }));
  const closed = await timeOfAll(liars, CLOSED_MAX_MS);
  const grownMb = (process.memoryUsage.rss() - rssBefore) / 1e6;
  verdict.expect(closed < Infinity, '16 MB announced: not closed');
  const damaged = await fetchSample(server, 'earwitness_packets_total{outcome="concealed"}');
  const counted = await fetchSample(server, 'earwitness_transport_limits_total{limit="message_bytes"}');
  verdict.expect(counted === 2 * rounds, `${counted} of ${2 * rounds} hard stops counted`);
  verdict.expect(damaged === 0, `${damaged} oversize messages reached a decoder`);
  verdict.measure('RSS per liar', grownMb / rounds, { max: RSS_PER_LIAR_MAX_MB, unit: 'MB' });
  return rounds * (OVERSIZE.length + 1);
}

async function breakProtocol({ server, port, tier, random, verdict }: Target): Promise<number> {
  const randomCount = tier === 'p' ? 200 : 1_000;
  let injected = 0;
  let slowestMs = 0;
  const meet = async (name: string, bytes: Uint8Array): Promise<void> => {
    const raw = await RawSocket.open(port);
    raw.socket.write(bytes);
    injected++;
    const closedMs = await timeOfAll([raw], CLOSED_MAX_MS);
    slowestMs = Math.max(slowestMs, closedMs);
    verdict.expect(closedMs < Infinity, `${name}: not closed`);
    verdict.expect(!raw.text.includes('"type":"ready"'), `${name}: opened a session`);
  };
  const cases = Array.from({ length: randomCount }, (_, i) => ({
    name: `random frames ${i}`,
    bytes: randomFrames(random, RANDOM_CONNECTION_BYTES),
  }));
  await Promise.all([...VIOLATIONS, ...cases].map(({ name, bytes }) => meet(name, bytes)));
  await expectAlive(server.url, verdict);
  const sentBytes = cases.reduce((sum, { bytes }) => sum + bytes.length, 0);
  verdict.figure(`${sentBytes} random bytes`);
  verdict.figure(`slowest closed after ${(slowestMs / 1_000).toFixed(1)} s`);
  return injected;
}

async function fuzzControl({ server, tier, random, verdict }: Target): Promise<number> {
  const connectionCount = tier === 'p' ? 400 : 10_000;
  const parsedCount = tier === 'p' ? 20_000 : 1_000_000;
  const before = JSON.stringify(Object.getOwnPropertyNames(Object.prototype));
  const messages = Array.from({ length: connectionCount }, () => fuzzedControlMessage(random));
  let refusedCount = 0;
  await inParallel(messages, async (message) => {
    const client = await RawClient.enter(server.url);
    client.socket.send(message);
    // A message that is valid still opens the session, which a second start then ends.
    client.send({ type: 'start', version: 1, audio: { encoding: 'none' } });
    await client.closed;
    const errors = client.of('error').length;
    verdict.expect(errors === 1, `${errors} errors for ${JSON.stringify(message.slice(0, 80))}`);
    if (client.of('ready').length === 0) refusedCount++;
  });
  const took = Array.from({ length: parsedCount }, () => timeToParse(fuzzedControlMessage(random), verdict));
  const after = JSON.stringify(Object.getOwnPropertyNames(Object.prototype));
  verdict.expect(after === before && !('isAdmin' in {}), 'a prototype was changed');
  verdict.figure(`${refusedCount} of ${connectionCount} refused`);
  verdict.measure('parse p99', percentile(took, 0.99), { max: PARSE_P99_MAX_MS, unit: 'ms' });
  return connectionCount + parsedCount;
}

function timeToParse(message: string, verdict: Verdict): number {
  const startedAtMs = performance.now();
  try {
    parseClientMessage(message);
  } catch (error) {
    verdict.expect(error instanceof TranscriptionError, `threw ${String(error)}`);
  }
  return performance.now() - startedAtMs;
}

async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const lane = async (): Promise<void> => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await act(item);
  };
  await Promise.all(Array.from({ length: PARALLEL_COUNT }, lane));
}

/** Time until all have ended, in ms, or Infinity; leaves none open. */
async function timeOfAll(sockets: readonly RawSocket[], maxMs: number): Promise<number> {
  const startedAtMs = performance.now();
  const all = Promise.all(sockets.map(({ ended }) => ended)).then(() => performance.now() - startedAtMs);
  const tookMs = await Promise.race([all, pause(maxMs).then(() => Infinity)]);
  for (const socket of sockets) socket.destroy();
  return tookMs;
}

/** A client that does all right is served still. */
async function expectAlive(url: string, verdict: Verdict): Promise<void> {
  const client = await RawClient.enter(url, 'encoding=opus');
  await client.next('ready');
  await client.finish();
  verdict.expect(client.of('done').length === 1, 'a client that came later was not served');
  const leftMs = await timeUntil(1_000, () => client.socket.readyState === client.socket.CLOSED);
  verdict.expect(leftMs < Infinity, 'a client that came later was not closed');
}
