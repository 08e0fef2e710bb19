/** An attack by clients, run on both transports at once, beside people who speak and should notice nothing. */
import { fileURLToPath } from 'node:url';
import type { Config } from '../../server/config.ts';
import { findUws } from '../../server/uws_module.ts';
import { digestText } from '../support/hashing_recogniser.ts';
import { seededRandom } from '../support/random.ts';
import { fetchSample, startRealServer, type RealServer } from '../support/real_server.ts';
import { speak, writeScripts, type Script } from './crowd.ts';
import { judged, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { compare, expectedOf, type ExpectedUtterance } from './undisturbed.ts';

export type TransportName = 'uws' | 'ws';

/** What an attack is run against. */
export interface Target {
  readonly server: RealServer;
  readonly port: number;
  readonly transport: TransportName;
  readonly tier: Tier;
  /** The same numbers for the same seed, on both transports. */
  readonly random: () => number;
}

/** What an attack did and what came of it. */
export type Damage = Pick<Outcome, 'injected' | 'figures' | 'violations' | 'misses'>;

export interface Attack {
  readonly id: string;
  readonly title: string;
  readonly settings?: Partial<Config>;
  /** How many people speak meanwhile. */
  readonly bystanders: number;
  run(target: Target): Promise<Damage>;
}

const DIGEST_WORKER = fileURLToPath(new URL('../support/hashing_worker_main.js', import.meta.url));
const SPEECH_MS: Readonly<Record<Tier, number>> = { p: 5_000, nightly: 30_000 };
const TRANSPORTS: readonly TransportName[] = ['uws', 'ws'];

/** The attack as a row of the table: R-42 wants every row on both transports, so each names what both did. */
export function scenarioOf(attack: Attack): Scenario {
  const { id, title } = attack;
  return {
    id,
    title: `${title} (uws, ws)`,
    run: async (tier, seed) => {
      const outcomes = await Promise.all(TRANSPORTS.map((name) => attackOn(name, attack, { tier, seed })));
      return merge(outcomes);
    },
  };
}

async function attackOn(
  transport: TransportName,
  attack: Attack,
  { tier, seed }: { readonly tier: Tier; readonly seed: number },
): Promise<Outcome> {
  if (transport === 'uws' && !findUws().found) return notRun('uws: its native binary does not load here');
  const speech = await prepareSpeech(attack.bystanders, tier);
  const server = await startRealServer(
    { audioWorkers: 1, inferenceWorkers: 1, inferenceSpares: 0, transport, ...attack.settings },
    { workerModules: { inference: { path: DIGEST_WORKER } } },
  );
  try {
    const target: Target = {
      ...{ server, transport, tier, random: seededRandom(seed) },
      port: Number(new URL(server.url).port),
    };
    const [hearings, damage] = await Promise.all([speak(server.url, speech.scripts), attack.run(target)]);
    const violations = [...damage.violations];
    if (!hearings.every(({ endedWell }) => endedWell)) violations.push('a bystander lost its session');
    const faults = await fetchSample(server, 'earwitness_errors_total{class="internal"}');
    if (faults > 0) violations.push(`${faults} faults of our own`);
    const named = (texts: readonly string[]): readonly string[] =>
      texts.map((text) => `${transport}: ${text}`);
    const counts = compare(hearings, speech.expected);
    return {
      ...damage,
      ...(attack.bystanders === 0 ? NOBODY_SPEAKS : counts),
      ...{ figures: named(damage.figures), violations: named(violations), misses: named(damage.misses) },
    };
  } finally {
    await server.close();
  }
}

const NOBODY_SPEAKS = { utterances: undefined, lost: undefined, repeated: undefined, wrong: undefined };

function notRun(why: string): Outcome {
  return { injected: 0, ...NOBODY_SPEAKS, figures: [], violations: [why], misses: [] };
}

function merge(outcomes: readonly Outcome[]): Outcome {
  const sum = (pick: (outcome: Outcome) => number | undefined): number | undefined => {
    const counts = outcomes.map(pick).filter((count) => count !== undefined);
    return counts.length === 0 ? undefined : counts.reduce((total, count) => total + count, 0);
  };
  const injected = sum((outcome) => outcome.injected) ?? 0;
  const nothing = injected === 0 ? ['nothing was injected'] : [];
  return judged({
    injected,
    utterances: sum(({ utterances }) => utterances),
    lost: sum(({ lost }) => lost),
    repeated: sum(({ repeated }) => repeated),
    wrong: sum(({ wrong }) => wrong),
    figures: outcomes.flatMap(({ figures }) => figures),
    violations: [...nothing, ...outcomes.flatMap(({ violations }) => violations)],
    misses: outcomes.flatMap(({ misses }) => misses),
  });
}

interface Speech {
  readonly scripts: readonly Script[];
  readonly expected: readonly (readonly ExpectedUtterance[])[];
}

/** What was prepared, by count and tier: the rows share it. */
const prepared = new Map<string, Promise<Speech>>();

function prepareSpeech(count: number, tier: Tier): Promise<Speech> {
  const key = `${count} ${tier}`;
  const speech = prepared.get(key) ?? writeSpeech(count, SPEECH_MS[tier]);
  prepared.set(key, speech);
  return speech;
}

async function writeSpeech(count: number, durationMs: number): Promise<Speech> {
  const scripts = await writeScripts(count, durationMs);
  const expected = await expectedOf(scripts, (pcm) => Promise.resolve({ text: digestText(pcm) }));
  return { scripts, expected };
}

/** Asks every 50 ms until the answer is yes; returns the time that took in ms, or Infinity after `maxMs`. */
export async function timeUntil(maxMs: number, ask: () => Promise<boolean> | boolean): Promise<number> {
  const startedAtMs = performance.now();
  while (performance.now() - startedAtMs < maxMs) {
    if (await ask()) return performance.now() - startedAtMs;
    await pause(50);
  }
  return Infinity;
}

/** Real time passes: attacks are about it. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
