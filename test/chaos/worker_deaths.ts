/** workers killed, crashed and stopped while people speak. */
import { setTimeout as pause } from 'node:timers/promises';
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_MAX_MS } from '../../pipeline/limits.ts';
import { seededRandom } from '../support/random.ts';
import { fetchSample, fetchWorkers, startRealServer, type RealServer } from '../support/real_server.ts';
import { speak, writeScripts, type Hearing, type Script } from './crowd.ts';
import { digestSpeech, startDigestServer, type Speech } from './digest_crowd.ts';
import { percentile, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { compare, expectedOfModel, type ExpectedUtterance } from './undisturbed.ts';
import { Verdict } from './verdict.ts';
import { timeUntil } from './waiting.ts';

type Role = 'audio' | 'inference';
type Fault = 'SIGKILL' | 'SIGSEGV' | 'SIGABRT' | 'SIGBUS' | 'SIGSTOP';

interface Plan {
  readonly id: string;
  readonly title: string;
  readonly role: Role;
  readonly people: number;
  /** Faults to inject; the list is gone through again and again. */
  readonly faults: readonly Fault[];
  readonly count: Readonly<Record<Tier, number>>;
  /** Time in which they are injected, for each tier; the people speak a little longer. */
  readonly durationMs: Readonly<Record<Tier, number>>;
  /** The real model, or the one whose text is a digest of the samples. */
  readonly realModel: boolean;
  /** Bound on what the faults may add to the 99th percentile of final latency, in ms. */
  readonly addedP99MaxMs: number;
  /** Bound on the time from a fault to the log line of its death, 99th percentile, in ms. */
  readonly seenP99MaxMs: number;
}

/** Speech goes on after the last fault, so that the end is undisturbed. */
const QUIET_END_MS = 6_000;

/** A stopped worker without a job is silent for this long before it is killed, and looked at once a second. */
const HANG_SEEN_MAX_MS = HEARTBEAT_MAX_MS + 2 * HEARTBEAT_INTERVAL_MS + 250;
/** A death that only the heartbeat would show is far beyond this. */
const SEEN_FAILS_AT_MS = 1_000;

/** Enough that faults at this rate do not park them: a slot that dies more than five times in ten seconds rests. */
const MANY_WORKERS = { audioWorkers: 2, audioSpares: 5, inferenceWorkers: 3, inferenceSpares: 4 };

/** Fifty people, whose texts are digests of the samples they say. */
const CROWD = { people: 50, durationMs: { p: 44_000, nightly: 700_000 }, realModel: false } as const;

const PLANS: readonly Plan[] = [
  {
    ...CROWD,
    id: 'R-01/R-02',
    title: 'inference worker killed, crashed',
    role: 'inference',
    faults: ['SIGKILL', 'SIGSEGV', 'SIGKILL', 'SIGABRT', 'SIGKILL', 'SIGBUS'],
    count: { p: 80, nightly: 1_000 },
    addedP99MaxMs: 250,
    seenP99MaxMs: 25,
  },
  {
    ...CROWD,
    id: 'R-04',
    title: 'inference worker hangs',
    role: 'inference',
    faults: ['SIGSTOP'],
    count: { p: 20, nightly: 200 },
    // A hang is known at the job's deadline, or by the heartbeat where there is no job.
    addedP99MaxMs: 3_000,
    seenP99MaxMs: HANG_SEEN_MAX_MS,
  },
  {
    ...CROWD,
    id: 'R-01a',
    title: 'audio worker killed, crashed',
    role: 'audio',
    faults: ['SIGKILL', 'SIGKILL', 'SIGSEGV'],
    count: { p: 100, nightly: 1_000 },
    addedP99MaxMs: 3_000,
    seenP99MaxMs: 250,
  },
  {
    id: 'R-03',
    title: 'real model, real workers, SIGKILL',
    role: 'inference',
    people: 6,
    faults: ['SIGKILL'],
    count: { p: 20, nightly: 200 },
    durationMs: { p: 30_000, nightly: 300_000 },
    realModel: true,
    addedP99MaxMs: 5_000,
    seenP99MaxMs: 250,
  },
];

export const WORKER_DEATHS: readonly Scenario[] = PLANS.map((plan) => ({
  id: plan.id,
  title: plan.title,
  load: plan.realModel ? 'machine' : 'crowd',
  run: (tier, seed) => runPlan(plan, tier, seed),
}));

async function runPlan(plan: Plan, tier: Tier, seed: number): Promise<Outcome> {
  const durationMs = plan.durationMs[tier] + QUIET_END_MS;
  const speech = plan.realModel ? modelSpeech : digestSpeech;
  const { scripts, expected } = await speech(plan.people, durationMs);
  const server = await (plan.realModel
    ? startRealServer({ inferenceWorkers: 1, inferenceSpares: 2 })
    : startDigestServer(MANY_WORKERS));
  try {
    const control = await speak(server.url, scripts.map(firstSeconds));
    const injector = new Injector(server, plan, { tier, seed });
    const [hearings] = await Promise.all([speak(server.url, scripts), injector.run()]);
    await timeUntil(seenFailsAtRatio(plan) * plan.seenP99MaxMs, () => injector.unseenCount === 0);
    const crossed = await fetchSample(
      server,
      'earwitness_worker_deaths_total{role="inference",cause="exit"}',
    );
    return judge({ plan, hearings, expected, control, injector, concurrencyExits: crossed });
  } finally {
    await server.close();
  }
}

async function modelSpeech(count: number, durationMs: number): Promise<Speech> {
  const scripts = await writeScripts(count, durationMs);
  return { scripts, expected: await expectedOfModel(scripts) };
}

/** The first ten seconds of a script: what people are told when nothing breaks. */
function firstSeconds(script: Script): Script {
  return { ...script, packets: script.packets.slice(0, 500) };
}

interface Evidence {
  readonly plan: Plan;
  readonly hearings: readonly Hearing[];
  readonly expected: readonly (readonly ExpectedUtterance[])[];
  readonly control: readonly Hearing[];
  readonly injector: Injector;
  readonly concurrencyExits: number;
}

function judge({ plan, hearings, expected, control, injector, concurrencyExits }: Evidence): Outcome {
  const counts = compare(hearings, expected);
  const p99 = (of: readonly Hearing[]): number =>
    percentile(
      of.flatMap(({ latenciesMs }) => latenciesMs),
      0.99,
    );
  const verdict = new Verdict();
  const addedMs = Math.max(0, p99(hearings) - p99(control));
  verdict.measure('added p99', addedMs, { max: plan.addedP99MaxMs, unit: 'ms' });
  verdict.measure('seen p99', percentile(injector.seenMs, 0.99), {
    ...{ max: plan.seenP99MaxMs, unit: 'ms', failsAtRatio: seenFailsAtRatio(plan) },
  });
  verdict.expect(injector.unseenCount === 0, `${injector.unseenCount} deaths were not seen`);
  for (const { endedWell, error, finals } of hearings)
    verdict.expect(endedWell, `a session was ended by ${error} after ${finals.length} finals`);
  verdict.expect(
    concurrencyExits === 0,
    'a worker ended by itself: it was handed two jobs at once, or failed',
  );
  return verdict.outcome(injector.injectedCount, counts);
}

/** Sends signals to workers that are ready, one at a time, and watches how soon the server knows. */
class Injector {
  injectedCount = 0;
  /** From each signal to the server's log line, in ms. */
  readonly seenMs: number[] = [];
  /** Processes that got a signal: a stopped one counts as ready until somebody notices. */
  readonly #victims = new Set<number>();
  readonly #server: RealServer;
  readonly #plan: Plan;
  readonly #tier: Tier;
  readonly #random: () => number;

  constructor(
    server: RealServer,
    plan: Plan,
    { tier, seed }: { readonly tier: Tier; readonly seed: number },
  ) {
    this.#server = server;
    this.#plan = plan;
    this.#tier = tier;
    this.#random = seededRandom(seed);
  }

  get unseenCount(): number {
    return this.injectedCount - this.seenMs.length;
  }

  async run(): Promise<void> {
    const count = this.#plan.count[this.#tier];
    const everyMs = this.#plan.durationMs[this.#tier] / count;
    const startedAtMs = performance.now();
    while (this.injectedCount < count) {
      const dueAtMs = startedAtMs + (this.injectedCount + this.#random()) * everyMs;
      await pause(Math.max(0, dueAtMs - performance.now()));
      await this.#inject();
    }
  }

  async #inject(): Promise<void> {
    const workers = await fetchWorkers(this.#server);
    const ready = workers.filter(
      ({ role, state, pid }) => role === this.#plan.role && state === 'ready' && !this.#victims.has(pid),
    );
    const victim = ready[Math.floor(this.#random() * ready.length)];
    // None is ready: they are all on their way back. The next due time will do.
    if (victim === undefined) return;
    const fault = this.#plan.faults[this.injectedCount % this.#plan.faults.length] ?? 'SIGKILL';
    const atMs = performance.now();
    if (!sendSignal(victim.pid, fault)) return;
    this.injectedCount++;
    this.#victims.add(victim.pid);
    this.#server.log.onceWorkerDied(victim.pid, () => this.seenMs.push(performance.now() - atMs));
  }
}

/** False if the process has ended in the meantime. */
export function sendSignal(pid: number, signal: Fault | 'SIGCONT'): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

function seenFailsAtRatio({ seenP99MaxMs }: Plan): number {
  return Math.max(10, SEEN_FAILS_AT_MS / seenP99MaxMs);
}
