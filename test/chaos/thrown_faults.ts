/** an exception in whatever serves a session costs that session, and nobody else. */
import { setTimeout as pause } from 'node:timers/promises';
import { AudioSpan } from '../../pipeline/audio_span.ts';
import { DeliveryQueue } from '../../pipeline/delivery_queue.ts';
import { InputMeter } from '../../pipeline/input_meter.ts';
import { Session } from '../../pipeline/session.ts';
import { Transcript } from '../../pipeline/transcript.ts';
import { NativeDialect } from '../../server/dialects/native_dialect.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { RawClient } from '../support/raw_client.ts';
import { fetchSample, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { transportsHere } from '../support/transports.ts';
import { startDigestServer } from './digest_crowd.ts';
import type { Outcome, Scenario, Tier } from './scenario.ts';
import { Verdict } from './verdict.ts';

/** A function that is reached while a session is served, and by whom. */
interface Place {
  readonly name: string;
  readonly owner: object;
  readonly method: string;
  /** A client that has gone cannot be told. */
  readonly isAfterwards?: boolean;
}

const PLACES: readonly Place[] = [
  { name: 'the dialect, at the close', owner: NativeDialect.prototype, method: 'closed', isAfterwards: true },
  { name: 'the dialect, at a control message', owner: NativeDialect.prototype, method: 'text' },
  { name: 'the dialect, at audio', owner: NativeDialect.prototype, method: 'binary' },
  { name: 'the session, at audio', owner: InputMeter.prototype, method: 'judge' },
  { name: 'the session, at the clock', owner: Session.prototype, method: 'tick' },
  { name: 'the session, at what was heard', owner: AudioSpan.prototype, method: 'append' },
  { name: 'the session, asked for a partial', owner: AudioSpan.prototype, method: 'slice' },
  { name: 'the session, at a partial', owner: Transcript.prototype, method: 'revise' },
  { name: 'the session, at a final', owner: DeliveryQueue.prototype, method: 'take' },
];
const INTERNAL = 'earwitness_errors_total{class="internal"}';
const CLOSED_MAX_MS = 5_000;

export const THROWN_FAULTS: Scenario = {
  id: 'R-12',
  title: 'exceptions in every part that serves a session (uws, ws)',
  run: (tier: Tier): Promise<Outcome> => throwEverywhere(tier === 'p' ? 1 : 6),
};

/** Throws so many times in each place, on both transports. */
export async function throwEverywhere(timesEach: number): Promise<Outcome> {
  const verdict = new Verdict();
  verdict.expect(transportsHere().includes('uws'), 'uws: its native binary does not load here');
  let injected = 0;
  let lost = 0;
  for (const transport of transportsHere()) {
    const server = await startDigestServer({ transport, partialIntervalMs: 100 });
    try {
      // Somebody else, who is quiet while it happens and speaks afterwards.
      const witness = await RawClient.enter(server.url, 'encoding=opus');
      for (const place of PLACES) {
        for (let i = 0; i < timesEach; i++) {
          witness.send({ type: 'keepAlive' });
          await throwOnce({ server, place: { ...place, name: `${transport}: ${place.name}` }, verdict });
          injected++;
        }
      }
      for (const packet of await sentence()) witness.sendBytes(packet);
      if ((await witness.finish()).length !== 1) lost++;
      // Those whose close threw are left to the bound on idle sessions.
      const left = await fetchSample(server, 'earwitness_sessions_active');
      verdict.expect(left <= timesEach, `${transport}: ${left} sessions were not given back`);
      const workers = await fetchSample(server, 'earwitness_worker_restarts_total{role="inference"}');
      verdict.expect(workers === 0, `${transport}: an exception in the gateway ended a worker`);
    } finally {
      await server.close();
    }
  }
  return verdict.outcome(injected, { utterances: transportsHere().length, lost, repeated: 0, wrong: 0 });
}

async function sentence(): Promise<readonly Uint8Array[]> {
  return encodeOpus(concat(await synthesise('good morning', { voice: 'rms' }), silence(900)));
}

/** One session that meets an exception: it is told, closed with 1011 and counted once. */
async function throwOnce({
  server,
  place,
  verdict,
}: {
  readonly server: RealServer;
  readonly place: Place;
  readonly verdict: Verdict;
}): Promise<void> {
  const before = await fetchSample(server, INTERNAL);
  const client = await RawClient.enter(server.url, 'encoding=opus');
  const { sessionId } = await client.next('ready');
  const hasThrown = armThrow(place, sessionId);
  if (place.isAfterwards === true) client.socket.close();
  else await speak(client);
  const code = await Promise.race([
    client.closed.then((closing) => closing.code),
    pause(CLOSED_MAX_MS, 'not closed' as const),
  ]);
  await hasThrown;
  client.socket.terminate();
  if (place.isAfterwards !== true) verdict.expect(code === 1011, `${place.name}: ${code}`);
  const counted = (await fetchSample(server, INTERNAL)) - before;
  verdict.expect(counted === 1, `${place.name}: counted ${counted} times`);
}

/** In real time, so that partials come before the end; then a control message. */
async function speak(client: RawClient): Promise<void> {
  for (const packet of await sentence()) {
    if (client.socket.readyState !== client.socket.OPEN) return;
    client.sendBytes(packet);
    await pause(6);
  }
  if (client.socket.readyState === client.socket.OPEN) client.send({ type: 'keepAlive' });
}

/**
 * Has the next call of a method throw, once; of sessions, the call on this one. Resolves when it has, or after a while
 * when nothing called it.
 */
function armThrow({ owner, method, name }: Place, sessionId: string): Promise<void> {
  const methods = owner as Record<string, (this: unknown, ...args: unknown[]) => unknown>;
  const original = methods[method];
  if (original === undefined) throw new Error(`${name}: there is no ${method}`);
  return new Promise((resolve) => {
    const disarm = (): void => {
      methods[method] = original;
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(disarm, CLOSED_MAX_MS);
    methods[method] = function (this: unknown, ...args: unknown[]) {
      if (this instanceof Session && this.id !== sessionId) return original.apply(this, args);
      disarm();
      throw new Error('thrown by the test');
    };
  });
}
