/** an accelerator on which no worker lives, and pressure up and down the ladder. */
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  FINAL_WAIT_FULL_MS,
  LOAD_SHED_RATIO,
  OVERLOAD_RETRY_AFTER_SECONDS,
  QUIET_MIN_MS,
} from '../../pipeline/limits.ts';
import type { LoadReading } from '../../server/load_monitor.ts';
import { FAKE_DEVICE, fakeDeviceWorker, setDeviceHealth } from '../support/fake_device.ts';
import { temporaryFolder } from '../support/faulty_worker.ts';
import { pcmMessages } from '../support/marked_speech.ts';
import { RawClient } from '../support/raw_client.ts';
import { FEW_WORKERS, fetchSample, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { percentile, type Outcome, type Scenario } from './scenario.ts';
import { Verdict } from './verdict.ts';
import { timeUntil } from './waiting.ts';

/** What R-07 promises: a final in place of the accelerator's, and the way back after the cure. */
const FALLBACK_FINAL_MAX_MS = 2_000;
const CURE_MAX_MS = 15_000;
/** Lag of the gateway's event loop that a storm of starts may cause, 99th percentile. */
const LOOP_LAG_MAX_MS = 50;
/** Longest that a rung is waited for. */
const RUNG_MAX_MS = 20_000;

export const OVERLOADS: readonly Scenario[] = [
  { id: 'R-07', title: 'no worker lives on the accelerator', run: runCrashStorm },
  { id: 'R-21', title: 'pressure up and down the ladder', run: runPressure },
];

/** Speech with its pauses, as messages of 20 ms; never the same samples twice, for poison is known by them. */
async function sentence(index: number): Promise<readonly Uint8Array[]> {
  const words = await synthesise('good morning', { voice: 'rms' });
  const voice = words.map((sample) => Math.round(sample * (1 - (index % 40) / 80)));
  return pcmMessages(concat(silence(300), voice, silence(900)));
}

/** Status and `Retry-After` of the answer to who asks for a session. */
function askForSession(url: string): Promise<string> {
  const headers = {
    ...{ Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' },
    'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
  };
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/v1/stream?encoding=pcm_s16le`, { headers });
    asked.on('response', ({ statusCode, headers }) => {
      asked.destroy();
      resolve(`${statusCode ?? 0} after ${headers['retry-after'] ?? 'no time'}`);
    });
    asked.on('upgrade', (_, socket) => {
      socket.destroy();
      resolve('101');
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** Speaks faster than real time; the text of the one final and the time from the last byte to it. */
async function speakOnce(client: RawClient): Promise<{ readonly text: string; readonly waitMs: number }> {
  const fromIndex = client.messages.length;
  for (const message of await sentence(client.of('final').length)) client.sendBytes(message);
  const saidAtMs = performance.now();
  const { text } = await client.next('final', fromIndex);
  return { text, waitMs: performance.now() - saidAtMs };
}

async function statusOf(server: RealServer): Promise<string> {
  const answer = await fetch(`${server.adminUrl}/readyz`);
  return `${answer.status} ${((await answer.json()) as { readonly status: string }).status}`;
}

async function runCrashStorm(): Promise<Outcome> {
  const folder = await temporaryFolder();
  const healthFile = join(folder.path, 'device');
  await setDeviceHealth(healthFile, 'exits');
  const server = await startRealServer(
    { inferenceWorkers: 2, inferenceSpares: 1, audioWorkers: 1, audioSpares: 0 },
    { device: FAKE_DEVICE, workerModules: { inference: fakeDeviceWorker(healthFile) } },
  );
  const verdict = new Verdict();
  try {
    const client = await RawClient.open(server.url, 'encoding=pcm_s16le');
    verdict.expect(
      (await statusOf(server)) === '200 degraded',
      'the server does not say that it is degraded',
    );
    const during = await speakOnce(client);
    verdict.expect(during.text === 'cpu', `heard on ${during.text}`);
    await setDeviceHealth(healthFile, 'well');
    const curedMs = await timeUntil(3 * CURE_MAX_MS, async () => {
      client.send({ type: 'keepAlive' });
      return (await statusOf(server)) === '200 ready';
    });
    verdict.expect(curedMs < Infinity, 'the device did not come back');
    const after = await speakOnce(client);
    verdict.expect(after.text === FAKE_DEVICE, `after the cure heard on ${after.text}`);
    // It breaks again while people speak: utterances go on, on whatever is there.
    await setDeviceHealth(healthFile, 'dies');
    const waitsMs = [during.waitMs];
    for (let i = 0; i < 8; i++) waitsMs.push((await speakOnce(client)).waitMs);
    const lagSeconds = await fetchSample(server, 'earwitness_nodejs_eventloop_lag_p99_seconds');
    const worstMs = Math.max(...waitsMs);
    verdict.measure('final on the CPU after', during.waitMs, { max: FALLBACK_FINAL_MAX_MS, unit: 'ms' });
    verdict.measure('back after', curedMs, { max: CURE_MAX_MS, unit: 'ms' });
    verdict.measure('lag p99', 1_000 * lagSeconds, { max: LOOP_LAG_MAX_MS, unit: 'ms' });
    const finals = await client.finish();
    // Two deaths are two deaths: what the device ended first cannot be told from poison.
    const failedCount = client.of('notice').filter(({ code }) => code === 'utterance_failed').length;
    verdict.expect(failedCount <= 1, `${failedCount} utterances were given up`);
    const left = await fetchSample(server, 'earwitness_device_fallbacks_total{outcome="left"}');
    const said = waitsMs.length + 1;
    verdict.figure(
      `median and worst final ${Math.round(percentile(waitsMs, 0.5))} and ${Math.round(worstMs)} ms`,
    );
    verdict.figure(`${failedCount} given up`);
    const counts = { lost: Math.max(0, said - finals.length), repeated: Math.max(0, finals.length - said) };
    return verdict.outcome(left, { utterances: said, ...counts, wrong: 0 });
  } finally {
    await server.close();
    await folder.remove();
  }
}

async function runPressure(): Promise<Outcome> {
  let waitRatio = 0;
  const server = await startRealServer(FEW_WORKERS, {
    disturbLoad: (reading: LoadReading) => ({ ...reading, finalWaitMs: waitRatio * FINAL_WAIT_FULL_MS }),
  });
  const verdict = new Verdict();
  const rungs: number[] = [];
  let utterances = 0;
  const reach = async (ratio: number, rung: number): Promise<void> => {
    waitRatio = ratio;
    const isThere = async (): Promise<boolean> =>
      (await fetchSample(server, 'earwitness_load_rung')) === rung;
    rungs.push(await timeUntil(RUNG_MAX_MS, isThere));
    verdict.expect(rungs.at(-1) !== Infinity, `rung ${rung} was not reached at ${ratio}`);
  };
  try {
    const quiet = await RawClient.open(server.url, 'encoding=pcm_s16le');
    const speaker = await RawClient.open(server.url, 'encoding=pcm_s16le');
    // Quiet, but not idle: signs of life come all the time.
    const life = setInterval(() => {
      quiet.send({ type: 'keepAlive' });
      speaker.send({ type: 'keepAlive' });
    }, 2_000);
    const quietFromMs = performance.now();
    const waitsMs: number[] = [];
    const speak = async (): Promise<void> => {
      waitsMs.push((await speakOnce(speaker)).waitMs);
      utterances++;
    };
    await reach(0.75, 1);
    verdict.expect(
      (await speaker.next('notice')).code === 'partials_suspended',
      'nobody was told of the partials',
    );
    await speak();
    await reach(0.88, 2);
    const refused = await askForSession(server.url);
    verdict.expect(refused === `503 after ${OVERLOAD_RETRY_AFTER_SECONDS}`, `a new session got ${refused}`);
    await speak();
    await pause(Math.max(0, quietFromMs + QUIET_MIN_MS - performance.now()));
    await speak();
    verdict.expect(quiet.of('error').length === 0, 'a session was shed below the rung for it');
    await reach(LOAD_SHED_RATIO + 0.06, 3);
    const { code } = await quiet.closed;
    verdict.expect(
      code === 4503 && quiet.of('goAway').length === 1,
      `the quiet session was closed with ${code}`,
    );
    await speak();
    await reach(0.1, 0);
    const back = await RawClient.open(server.url, 'encoding=pcm_s16le');
    await back.finish();
    await speak();
    clearInterval(life);
    const finals = await speaker.finish();
    const shed = await fetchSample(server, 'earwitness_sessions_shed_total');
    verdict.expect(shed === 1, `${shed} sessions were shed`);
    verdict.figure(`rungs after ${rungs.map((ms) => (ms / 1_000).toFixed(1)).join(', ')} s`);
    verdict.figure(`worst final ${Math.round(Math.max(...waitsMs))} ms`);
    const counts = { lost: utterances - finals.length, repeated: 0, wrong: 0 };
    return verdict.outcome(rungs.length, { utterances, ...counts });
  } finally {
    await server.close();
  }
}
