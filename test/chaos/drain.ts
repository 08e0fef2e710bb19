/** SIGTERM while many people are in the middle of a word. */
import { setTimeout as pause } from 'node:timers/promises';
import type { FinalMessage } from '../../client/protocol.ts';
import { DRAIN_MAX_MS } from '../../pipeline/limits.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { RawClient } from '../support/raw_client.ts';
import { synthesise } from '../support/speech.ts';
import type { Scenario } from './scenario.ts';
import { ServeProcess } from './serve_process.ts';
import { Verdict } from './verdict.ts';

const UNREADY_MAX_MS = 100;
const SECOND_SIGNAL_MAX_MS = 100;
/** Ending a supervisor, its gateway and their workers, once nothing is owed. */
const EXIT_MAX_MS = DRAIN_MAX_MS + 5_000;
/** Signals that a terminal or a shell may send, and that a server does not take for its end. */
const HARMLESS: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGPIPE', 'SIGALRM', 'SIGUSR2'];
/** A share of what each says is said before the signal, the rest after it. */
const SAID_SHARE = 0.6;

export const DRAIN: Scenario = {
  id: 'R-13',
  title: 'SIGTERM in mid-word; a second one',
  run: async (tier) => {
    // All of them at once owe a final when the drain begins: more than these two cores could not compute in its time.
    const [people, rounds] = tier === 'p' ? [20, 1] : [200, 20];
    const verdict = new Verdict();
    let [utterances, lost, repeated] = [0, 0, 0];
    for (let round = 0; round < rounds; round++) {
      const heard = await drainOnce(people, verdict);
      utterances += people;
      lost += heard.filter((finals) => finals.every(({ text }) => text === '')).length;
      repeated += heard.filter(isRepeated).length;
      await signalTwice(verdict);
    }
    return verdict.outcome(2 * rounds, { utterances, lost, repeated, wrong: 0 });
  },
};

/** The finals that each of them got. */
async function drainOnce(people: number, verdict: Verdict): Promise<readonly (readonly FinalMessage[])[]> {
  const serve = await ServeProcess.spawn({ flags: ['--port', '0', '--admin-port', '0'] });
  try {
    const { url, adminUrl } = await serve.addresses();
    for (const name of HARMLESS) serve.signal(name);
    const packets = encodeOpus(await synthesise('the river runs under the old bridge', { voice: 'rms' }));
    const said = Math.floor(packets.length * SAID_SHARE);
    const clients = await Promise.all(
      Array.from({ length: people }, () => RawClient.enter(url, 'encoding=opus')),
    );
    for (const client of clients) for (const packet of packets.slice(0, said)) client.sendBytes(packet);
    await Promise.all(clients.map((client) => client.next('speechStart')));
    const atMs = performance.now();
    serve.signal('SIGTERM');
    const unreadyMs = await timeUntilUnready(adminUrl, atMs);
    // Who speaks goes on, for as long as an utterance may take; and says no more.
    for (const client of clients) for (const packet of packets.slice(said)) client.sendBytes(packet);
    const closings = await Promise.all(clients.map(({ closed }) => closed));
    const exit = await Promise.race([serve.exited, pause(EXIT_MAX_MS, undefined)]);
    verdict.measure('unready after', unreadyMs, { max: UNREADY_MAX_MS, unit: 'ms' });
    verdict.expect(exit?.code === 0, `ended with ${exit?.code ?? exit?.signal ?? 'nothing'}`);
    const tookMs = (exit?.atMs ?? Infinity) - atMs;
    verdict.expect(tookMs <= DRAIN_MAX_MS, `took ${Math.round(tookMs)} ms`);
    verdict.figure(`ended after ${(tookMs / 1_000).toFixed(1)} s`);
    verdict.expect(
      closings.every(({ code }) => code === 1012),
      `closed with ${[...new Set(closings.map(({ code }) => code))].join(', ')}`,
    );
    const isTold = clients.every((client) => client.of('goAway').length === 1 && isDone(client));
    verdict.expect(isTold, 'a session without `goAway` or `done`');
    return clients.map((client) => client.of('final'));
  } finally {
    await serve.remove();
  }
}

/** True if two finals are for the same audio; on a slow machine the pause for the signal is one that ends an utterance. */
function isRepeated(finals: readonly FinalMessage[]): boolean {
  return finals.some((final, i) => final.startAudioMs < (finals[i - 1]?.endAudioMs ?? 0));
}

function isDone(client: RawClient): boolean {
  return client.messages.at(-1)?.type === 'done';
}

/** From the signal to the first answer that sends nobody here any more, in ms. */
async function timeUntilUnready(adminUrl: string, sinceMs: number): Promise<number> {
  for (;;) {
    const status = await fetch(`${adminUrl}/readyz`).then(
      (answer) => answer.status,
      () => 'gone' as const,
    );
    const tookMs = performance.now() - sinceMs;
    if (status === 'gone') return Infinity;
    if (status === 503 || tookMs > DRAIN_MAX_MS) return tookMs;
    await pause(2);
  }
}

/** Who asks twice does not want to wait. */
async function signalTwice(verdict: Verdict): Promise<void> {
  const serve = await ServeProcess.spawn({ flags: ['--port', '0', '--admin-port', '0'] });
  try {
    const { url, adminUrl } = await serve.addresses();
    const client = await RawClient.enter(url, 'encoding=opus');
    for (const packet of encodeOpus(await synthesise('good morning', { voice: 'rms' }))) {
      client.sendBytes(packet);
    }
    await client.next('speechStart');
    serve.signal('SIGTERM');
    await timeUntilUnready(adminUrl, performance.now());
    const atMs = performance.now();
    serve.signal('SIGTERM');
    const exit = await Promise.race([serve.exited, pause(EXIT_MAX_MS, undefined)]);
    verdict.expect(exit?.code === 1, `asked twice, ended with ${exit?.code ?? exit?.signal ?? 'nothing'}`);
    verdict.measure('asked twice, ended after', (exit?.atMs ?? Infinity) - atMs, {
      max: SECOND_SIGNAL_MAX_MS,
      unit: 'ms',
    });
    await client.closed;
  } finally {
    await serve.remove();
  }
}
