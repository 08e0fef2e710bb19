/** workers killed, crashed and stopped while people speak. */
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../support/random.ts';
import { digestText } from '../support/hashing_recogniser.ts';
import { LocalInferencePool } from '../support/local_pools.ts';
import { fetchSample, fetchWorkers, startRealServer, type RealServer } from '../support/real_server.ts';
import { speak, writeScripts, type Hearing, type Script } from './crowd.ts';
import { judged, percentile, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { compare, expectedOf, type ExpectedUtterance } from './undisturbed.ts';

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
  /** Bound on the time in which a death is noticed, 99th percentile, in ms; of faults that end the process. */
  readonly seenP99MaxMs: number;
}

const DIGEST_WORKER = fileURLToPath(new URL('../support/hashing_worker_main.js', import.meta.url));
/** Speech goes on after the last fault, so that the end is undisturbed. */
const QUIET_END_MS = 6_000;

/** Enough that faults at this rate do not park them: a slot that dies more than five times in ten seconds rests. */
const MANY_WORKERS = { audioWorkers: 2, audioSpares: 5, inferenceWorkers: 3, inferenceSpares: 4 };

/** Fifty people who say the same in all of these, so that it is spoken and judged once. */
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
    // A hang is known at the job's deadline, which is at least two seconds.
    addedP99MaxMs: 3_000,
    seenP99MaxMs: Infinity,
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
    seenP99MaxMs: Infinity,
  },
];

export const WORKER_DEATHS: readonly Scenario[] = PLANS.map((plan) => ({
  id: plan.id,
  title: plan.title,
  run: (tier, seed) => runPlan(plan, tier, seed),
}));

interface Speech {
  readonly scripts: readonly Script[];
  readonly expected: readonly (readonly ExpectedUtterance[])[];
  /** What people are told of the beginning when nothing breaks; known after the first run. */
  control: readonly Hearing[] | undefined;
}

/** What was prepared last: plans that follow one another and need the same speech share it. */
let prepared: { readonly key: string; readonly speech: Speech } | undefined;

async function prepareSpeech(plan: Plan, tier: Tier): Promise<Speech> {
  const durationMs = plan.durationMs[tier] + QUIET_END_MS;
  const key = JSON.stringify([plan.people, durationMs, plan.realModel]);
  if (prepared?.key === key) return prepared.speech;
  const scripts = await writeScripts(plan.people, durationMs, plan.realModel ? 9 : 0);
  const speech: Speech = { scripts, expected: await expectedTexts(plan, scripts), control: undefined };
  prepared = { key, speech };
  return speech;
}

async function runPlan(plan: Plan, tier: Tier, seed: number): Promise<Outcome> {
  const speech = await prepareSpeech(plan, tier);
  const { scripts, expected } = speech;
  const server = await startRealServer(
    plan.realModel ? { inferenceWorkers: 1, inferenceSpares: 2 } : MANY_WORKERS,
    plan.realModel ? {} : { workerModules: { inference: { path: DIGEST_WORKER } } },
  );
  try {
    const control = (speech.control ??= await speak(server.url, scripts.map(firstSeconds)));
    const injector = new Injector(server, plan, { tier, seed });
    const [hearings] = await Promise.all([speak(server.url, scripts), injector.run()]);
    const crossed = await fetchSample(
      server,
      'earwitness_worker_deaths_total{role="inference",cause="exit"}',
    );
    return judge({ plan, hearings, expected, control, injector, concurrencyExits: crossed });
  } finally {
    await server.close();
  }
}

async function expectedTexts(
  plan: Plan,
  scripts: readonly Script[],
): Promise<readonly (readonly ExpectedUtterance[])[]> {
  if (!plan.realModel) return expectedOf(scripts, (pcm) => Promise.resolve({ text: digestText(pcm) }));
  const pool = await LocalInferencePool.load();
  const expected = await expectedOf(scripts, (pcm) => pool.run({ jobId: 0, pcm, draft: [] }));
  await pool.close();
  return expected;
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
  const addedMs = p99(hearings) - p99(control);
  const seenMs = percentile(injector.seenMs, 0.99);
  const violations: string[] = [];
  const misses: string[] = [];
  if (addedMs > plan.addedP99MaxMs) misses.push(`finals came ${Math.round(addedMs)} ms later at p99`);
  if (seenMs > plan.seenP99MaxMs) misses.push(`deaths were seen after ${Math.round(seenMs)} ms at p99`);
  if (!hearings.every(({ endedWell }) => endedWell)) violations.push('a session did not end with `done`');
  if (concurrencyExits > 0)
    violations.push('a worker ended by itself: it was handed two jobs at once, or failed');
  const figures = [`added p99 ${Math.round(addedMs)} ms`, `seen p99 ${seenMs.toFixed(1)} ms`];
  return judged({ injected: injector.injectedCount, ...counts, figures, violations, misses });
}

/** Sends signals to workers that are ready, one at a time, and watches how soon the server knows. */
class Injector {
  injectedCount = 0;
  /** From the signal to the server's log line, in ms; of signals that end a process at once. */
  readonly seenMs: number[] = [];
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

  async run(): Promise<void> {
    const count = this.#plan.count[this.#tier];
    const everyMs = this.#plan.durationMs[this.#tier] / count;
    const startedAtMs = performance.now();
    while (this.injectedCount < count) {
      const dueAtMs = startedAtMs + (this.injectedCount + this.#random()) * everyMs;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAtMs - performance.now())));
      await this.#inject();
    }
  }

  async #inject(): Promise<void> {
    const workers = await fetchWorkers(this.#server);
    const ready = workers.filter(({ role, state }) => role === this.#plan.role && state === 'ready');
    const victim = ready[Math.floor(this.#random() * ready.length)];
    // None is ready: they are all on their way back. The next due time will do.
    if (victim === undefined) return;
    const fault = this.#plan.faults[this.injectedCount % this.#plan.faults.length] ?? 'SIGKILL';
    const atMs = performance.now();
    if (fault !== 'SIGSTOP') {
      this.#server.log.onceWorkerDied(victim.pid, () => this.seenMs.push(performance.now() - atMs));
    }
    if (sendSignal(victim.pid, fault)) this.injectedCount++;
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
