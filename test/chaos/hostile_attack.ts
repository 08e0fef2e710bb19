/** An attack by clients, run on both transports at once, beside people who speak and should notice nothing. */
import type { Config } from '../../server/config.ts';
import { seededRandom } from '../support/random.ts';
import { fetchSample, type RealServer } from '../support/real_server.ts';
import { transportsHere, type TransportName } from '../support/transports.ts';
import { speak } from './crowd.ts';
import { digestSpeech, startDigestServer } from './digest_crowd.ts';
import { NOBODY_SPEAKS, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { compare } from './undisturbed.ts';
import { Verdict } from './verdict.ts';

/** What an attack is run against. */
export interface Target {
  readonly server: RealServer;
  readonly port: number;
  readonly transport: TransportName;
  readonly tier: Tier;
  /** The same numbers for the same seed, on both transports. */
  readonly random: () => number;
  readonly verdict: Verdict;
}

export interface Attack {
  readonly id: string;
  readonly title: string;
  readonly settings?: Partial<Config>;
  /** How many people speak meanwhile. */
  readonly bystanders: number;
  /** Returns how often it attacked. */
  run(target: Target): Promise<number>;
}

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
  const verdict = new Verdict(`${transport}: `);
  if (!transportsHere().includes(transport)) {
    verdict.expect(false, 'its native binary does not load here');
    return verdict.outcome(0);
  }
  const { scripts, expected } = await digestSpeech(attack.bystanders, SPEECH_MS[tier]);
  const server = await startDigestServer(
    { transport, ...attack.settings },
    // The attackers share the event loop: what they do with it is no load of the server's.
    { disturbLoad: (reading) => ({ ...reading, loopBusyMs: 0 }) },
  );
  try {
    const target: Target = {
      ...{ server, transport, tier, verdict, random: seededRandom(seed) },
      port: Number(new URL(server.url).port),
    };
    const [hearings, injected] = await Promise.all([speak(server.url, scripts), attack.run(target)]);
    verdict.expect(
      hearings.every(({ endedWell }) => endedWell),
      'a bystander lost its session',
    );
    const faults = await fetchSample(server, 'earwitness_errors_total{class="internal"}');
    verdict.expect(faults === 0, `${faults} faults of our own`);
    return verdict.outcome(injected, attack.bystanders === 0 ? NOBODY_SPEAKS : compare(hearings, expected));
  } finally {
    await server.close();
  }
}

function merge(outcomes: readonly Outcome[]): Outcome {
  const sum = (pick: (outcome: Outcome) => number | undefined): number | undefined => {
    const counts = outcomes.map(pick).filter((count) => count !== undefined);
    return counts.length === 0 ? undefined : counts.reduce((total, count) => total + count, 0);
  };
  return {
    injected: sum((outcome) => outcome.injected) ?? 0,
    utterances: sum(({ utterances }) => utterances),
    lost: sum(({ lost }) => lost),
    repeated: sum(({ repeated }) => repeated),
    wrong: sum(({ wrong }) => wrong),
    figures: outcomes.flatMap(({ figures }) => figures),
    violations: outcomes.flatMap(({ violations }) => violations),
    misses: outcomes.flatMap(({ misses }) => misses),
  };
}
