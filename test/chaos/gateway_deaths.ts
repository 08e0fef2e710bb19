/** the gateway itself killed under its supervisor, with the reference client on the other side. */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { StreamClient } from '../../client/stream_client.ts';
import { fetchWorkers } from '../support/real_server.ts';
import { STEADY_SENTENCES, writeScripts } from './crowd.ts';
import { freePort } from './free_port.ts';
import { compareLoops, Talker } from './talker.ts';
import { percentile, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { ServeProcess } from './serve_process.ts';
import { expectedOfModel } from './undisturbed.ts';
import { Verdict } from './verdict.ts';
import { answersOk, timeUntil } from './waiting.ts';

/** With the real model, on two cores. */
const PEOPLE = 10;
/** What each says, over and over. */
const LOOP_MS = 40_000;
const KILLS: Readonly<Record<Tier, number>> = { p: 20, nightly: 100 };
const LISTENING_AGAIN_P99_MAX_MS = 2_000;
/** As many as ten people need, not the default: each death of the gateway costs the start of all of them. */
const WORKER_FLAGS = ['--audio-spares', '0', '--inference-workers', '2', '--inference-spares', '0'];
/** Workers see that their gateway has gone, and go. */
const ORPHAN_MAX_MS = 2_000;
/** A gateway that is killed has served for a while, and for as long as it takes everybody to send what they kept. */
const SERVICE_MIN_MS = 600;
const SERVICE_SPREAD_MS = 1_600;
const UNSENT_MAX_MS = 500;
/** … within reason: a busy machine may have a gateway killed that has not done so, as long as nothing is lost. */
const CATCH_UP_MAX_MS = 30_000;
/** A service that takes longer to come back is not coming back. */
const RETURN_MAX_MS = 60_000;

export const GATEWAY_DEATHS: readonly Scenario[] = [
  {
    id: 'R-11',
    title: 'gateway SIGKILL (few workers), client resumes',
    load: 'machine',
    run: killAgainAndAgain,
  },
];

async function killAgainAndAgain(tier: Tier): Promise<Outcome> {
  const verdict = new Verdict();
  const scripts = await writeScripts(PEOPLE, LOOP_MS, { texts: STEADY_SENTENCES });
  const expected = await expectedOfModel(scripts);
  const [port, adminPort] = [await freePort(), await freePort()];
  const ports = ['--port', String(port), '--admin-port', String(adminPort)];
  const flags = [...ports, ...WORKER_FLAGS, '--log-level', 'error'];
  const serve = await ServeProcess.spawn({ flags });
  try {
    const { url } = await serve.addresses();
    const talkers = scripts.map((script, person) => new Talker({ url, script, partials: person % 4 === 0 }));
    const killer = new Killer(serve, { port, adminPort, verdict });
    await Promise.all([
      killer.run(KILLS[tier], talkers).finally(() => {
        for (const talker of talkers) talker.isOver = true;
      }),
      ...talkers.map((talker) => talker.talk()),
    ]);
    verdict.expect(killer.backMs.length === KILLS[tier], `${killer.backMs.length} kills of ${KILLS[tier]}`);
    verdict.measure('listening again p99', percentile(killer.backMs, 0.99), {
      ...{ max: LISTENING_AGAIN_P99_MAX_MS, unit: 'ms' },
    });
    const { misheardWords, words, ...counts } = compareLoops(talkers, expected);
    verdict.figure(`${misheardWords} of ${words} words heard in another way`);
    for (const { complaint } of talkers) verdict.expect(complaint === undefined, complaint ?? '');
    return verdict.outcome(killer.backMs.length, counts);
  } finally {
    await serve.remove();
  }
}

/** Kills the gateway of a supervisor, and sees it come back and its workers go. */
class Killer {
  /** From each kill to the port being open again, in ms. */
  readonly backMs: number[] = [];
  readonly #serve: ServeProcess;
  readonly #url: string;
  readonly #adminUrl: string;
  readonly #verdict: Verdict;

  constructor(
    serve: ServeProcess,
    options: { readonly port: number; readonly adminPort: number; readonly verdict: Verdict },
  ) {
    this.#serve = serve;
    this.#url = `http://127.0.0.1:${options.port}`;
    this.#adminUrl = `http://127.0.0.1:${options.adminPort}`;
    this.#verdict = options.verdict;
  }

  async run(count: number, clients: readonly { readonly client: StreamClient }[]): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.#require('ready again', () => answersOk(`${this.#adminUrl}/readyz`));
      await pause(SERVICE_MIN_MS + ((i * 700) % SERVICE_SPREAD_MS));
      await timeUntil(CATCH_UP_MAX_MS, () => clients.every(({ client }) => isUpToDate(client)));
      await this.#kill();
    }
    await this.#require('ready at the end', () => answersOk(`${this.#adminUrl}/readyz`));
  }

  async #kill(): Promise<void> {
    const workers = await fetchWorkers({ adminUrl: this.#adminUrl });
    process.kill(childOf(this.#serve.pid), 'SIGKILL');
    const killedAtMs = performance.now();
    await pause(1);
    await this.#require('listening again', () => isListening(this.#url));
    this.backMs.push(performance.now() - killedAtMs);
    await pause(Math.max(0, ORPHAN_MAX_MS - (performance.now() - killedAtMs)));
    const orphans = workers.filter(({ pid }) => isAlive(pid)).length;
    this.#verdict.expect(orphans === 0, `${orphans} workers outlived their gateway`);
  }

  /** Throws if it takes too long. */
  async #require(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
    if ((await timeUntil(RETURN_MAX_MS, isSo, 10)) === Infinity)
      throw new Error(`the gateway was not ${what}`);
  }
}

/** The one child of a process: the gateway of a supervisor. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

function isUpToDate({ state, unsentMs }: StreamClient): boolean {
  return state.type === 'open' && unsentMs < UNSENT_MAX_MS;
}

async function isListening(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  );
}

/** A process that has ended and waits to be collected by its parent is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
