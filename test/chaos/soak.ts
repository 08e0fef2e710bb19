/** many sessions for a long time, with damaged packets in all of them and a worker killed now and then. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PacketMutator } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import { fetchSample, fetchWorkers } from '../support/real_server.ts';
import { speak, writeScripts, type Hearing, type Script } from './crowd.ts';
import { expectedDigests } from './digest_crowd.ts';
import { percentile, type Outcome, type Scenario } from './scenario.ts';
import { compare } from './undisturbed.ts';
import { Verdict } from './verdict.ts';
import { sendSignal } from './worker_deaths.ts';

const SERVER = fileURLToPath(new URL('./soak_child.js', import.meta.url));
const PEOPLE = 100;
/** Sessions last so long; then all end, and as many new ones begin. */
const ROUND_MS = 60_000;
const KILL_EVERY_MS = 30_000;
const DAMAGED_SHARE = 0.01;
const SAMPLE_EVERY_MS = 5_000;
/** Collection of garbage alone moves memory by tens of megabytes: the slope is a figure, this is the bound. */
const GROWTH_MAX_BYTES = 64e6;
const SLOPE_MAX_MB_PER_HOUR = 1;
const DESCRIPTORS_MAX_COUNT = 5;
const DRIFT_MAX_PERCENT = 5;
/** Four times as late as at first: others may have come to the machine meanwhile. */
const DRIFT_FAILS_AT_RATIO = 60;
/** Time for connections that have ended to be given back. */
const SETTLE_MS = 2_000;

interface Sample {
  readonly atMs: number;
  readonly rssBytes: number;
}

/** The row for so many minutes. */
export function soakOf(minutes: number): Scenario {
  return {
    id: 'R-38',
    title: `${PEOPLE} sessions for ${minutes} min, a kill every 30 s, 1 % bad packets`,
    run: (_tier, seed) => soak(minutes, seed),
  };
}

async function soak(minutes: number, seed: number): Promise<Outcome> {
  const verdict = new Verdict();
  const scripts = damage(await writeScripts(PEOPLE, ROUND_MS), seededRandom(seed));
  // What damage does to the audio is the same every time, so that the texts are known all the same.
  const expected = await expectedDigests(scripts);
  const server = await SoakServer.start();
  const rounds = Math.max(2, Math.round((minutes * 60_000) / ROUND_MS));
  const totals = { utterances: 0, lost: 0, repeated: 0, wrong: 0 };
  const p95Ms: number[] = [];
  let descriptors = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const hearings = await speak(server.url, scripts);
      const counts = compare(hearings, expected);
      for (const key of ['utterances', 'lost', 'repeated', 'wrong'] as const) totals[key] += counts[key];
      for (const { endedWell, error } of hearings) {
        verdict.expect(endedWell, `a session was ended by ${error}`);
      }
      p95Ms.push(latencyP95(hearings));
      await pause(SETTLE_MS);
      if (round === 0) descriptors = await server.openDescriptors();
      if (round % 10 === 9) console.log(`soak: ${round + 1} of ${rounds} rounds, ${totals.lost} lost`);
    }
    const more = (await server.openDescriptors()) - descriptors;
    verdict.expect(Math.abs(more) <= DESCRIPTORS_MAX_COUNT, `${more} descriptors more than after a round`);
    verdict.figure(`descriptors ${more >= 0 ? '+' : ''}${more}`);
    judgeMemory(server.samples, verdict);
    judgeDrift(p95Ms, verdict);
    return verdict.outcome(server.killCount, totals);
  } finally {
    await server.stop();
  }
}

function damage(scripts: readonly Script[], random: () => number): readonly Script[] {
  return scripts.map((script) => {
    const mutator = new PacketMutator(script.packets, random);
    const packets = script.packets.map((packet, index) =>
      index > 20 && random() < DAMAGED_SHARE ? damagedPacket(packet, mutator, random) : packet,
    );
    return { ...script, packets };
  });
}

/** Half cannot be decoded, half decode to noise. */
function damagedPacket(packet: Uint8Array, mutator: PacketMutator, random: () => number): Uint8Array {
  if (random() < 0.5) return Uint8Array.of(3, 0);
  return Uint8Array.of(packet[0] ?? 0, ...mutator.randomBytes(Math.max(1, packet.length - 1)));
}

function latencyP95(hearings: readonly Hearing[]): number {
  return percentile(
    hearings.flatMap(({ latenciesMs }) => latenciesMs),
    0.95,
  );
}

/** The first quarter is left out: caches fill. */
function judgeMemory(samples: readonly Sample[], verdict: Verdict): void {
  const settled = samples.slice(Math.floor(samples.length / 4));
  const third = Math.ceil(settled.length / 3);
  const median = (some: readonly Sample[]): number =>
    percentile(
      some.map(({ rssBytes }) => rssBytes),
      0.5,
    );
  const growth = median(settled.slice(-third)) - median(settled.slice(0, third));
  verdict.expect(growth <= GROWTH_MAX_BYTES, `resident memory grew by ${Math.round(growth / 1e6)} MB`);
  const bound = { max: SLOPE_MAX_MB_PER_HOUR, unit: 'MB/h', failsAtRatio: Infinity };
  verdict.measure('RSS slope', slopePerMs(settled) * 3.6, bound);
}

/** Least squares, in bytes per ms. */
function slopePerMs(samples: readonly Sample[]): number {
  const mean = (pick: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length;
  const [meanMs, meanBytes] = [mean(({ atMs }) => atMs), mean(({ rssBytes }) => rssBytes)];
  let [rise, run] = [0, 0];
  for (const { atMs, rssBytes } of samples) {
    rise += (atMs - meanMs) * (rssBytes - meanBytes);
    run += (atMs - meanMs) ** 2;
  }
  return rise / run;
}

function judgeDrift(p95Ms: readonly number[], verdict: Verdict): void {
  const quarter = Math.max(1, Math.floor(p95Ms.length / 4));
  const [first, last] = [percentile(p95Ms.slice(0, quarter), 0.5), percentile(p95Ms.slice(-quarter), 0.5)];
  verdict.figure(`final p95 ${Math.round(first)} then ${Math.round(last)} ms`);
  verdict.measure('drift', (100 * (last - first)) / first, {
    ...{ max: DRIFT_MAX_PERCENT, unit: '%', failsAtRatio: DRIFT_FAILS_AT_RATIO },
  });
}

/** The server under test, watched and disturbed. */
class SoakServer {
  readonly url: string;
  readonly samples: Sample[] = [];
  killCount = 0;
  readonly #adminUrl: string;
  readonly #child: ChildProcess;
  readonly #timers: NodeJS.Timeout[];

  private constructor(child: ChildProcess, urls: { readonly url: string; readonly adminUrl: string }) {
    this.#child = child;
    this.url = urls.url;
    this.#adminUrl = urls.adminUrl;
    this.#timers = [
      setInterval(() => void this.#sample(), SAMPLE_EVERY_MS),
      setInterval(() => void this.#kill(), KILL_EVERY_MS),
    ];
  }

  static async start(): Promise<SoakServer> {
    const child = fork(SERVER);
    const [urls] = (await once(child, 'message')) as [{ readonly url: string; readonly adminUrl: string }];
    return new SoakServer(child, urls);
  }

  openDescriptors(): Promise<number> {
    return fetchSample({ adminUrl: this.#adminUrl }, 'earwitness_process_open_fds');
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }

  async #sample(): Promise<void> {
    const name = 'earwitness_process_resident_memory_bytes';
    const rssBytes = await fetchSample({ adminUrl: this.#adminUrl }, name);
    this.samples.push({ atMs: performance.now(), rssBytes });
  }

  /** An inference worker and an audio worker in turns. */
  async #kill(): Promise<void> {
    const wanted = this.killCount % 2 === 0 ? 'inference' : 'audio';
    const workers = await fetchWorkers({ adminUrl: this.#adminUrl });
    const victim = workers.find(({ role, state }) => role === wanted && state === 'ready');
    if (victim !== undefined && sendSignal(victim.pid, 'SIGKILL')) this.killCount++;
  }
}
