/** the gateway itself killed under its supervisor, with the reference client on the other side. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import type { FinalMessage } from '../../client/protocol.ts';
import { StreamClient } from '../../client/stream_client.ts';
import { joinedText } from '../support/raw_client.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';
import { writeScripts, type Script } from './crowd.ts';
import { freePort } from './free_port.ts';
import { judged, percentile, type Outcome, type Scenario, type Tier } from './scenario.ts';

const PEOPLE = 8;
/** A gateway that is killed as soon as it serves leaves little time to catch up: everything is kept. */
const UNACKED_MAX_MS = 600_000;
/** Speech for each kill: what the way back and a while of service take on a slow machine. */
const EVERY_MS = 4_500;
const LISTENING_AGAIN_P99_MAX_MS = 2_000;
const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
/** Undisturbed, the model mishears few of these words; what is cut by a death may cost some more. */
const WORD_ERROR_MAX_RATE = 0.2;

export const GATEWAY_DEATHS: readonly Scenario[] = [
  {
    id: 'R-11',
    title: 'gateway SIGKILL, client resumes',
    run: async (tier: Tier): Promise<Outcome> => {
      const killCount = tier === 'p' ? 20 : 100;
      const scripts = await writeScripts(PEOPLE, killCount * EVERY_MS + 4_000);
      const program = await Program.start();
      try {
        const [told] = await Promise.all([
          Promise.all(scripts.map((script) => converse(program.url, script))),
          program.killAgainAndAgain(killCount, performance.now() + killCount * EVERY_MS),
        ]);
        return judge(scripts, told, program);
      } finally {
        await program.stop();
      }
    },
  },
];

/** Streams a script through the reference client; returns its finals. */
async function converse(url: string, script: Script): Promise<readonly FinalMessage[]> {
  const client = new StreamClient({
    url: `${url.replace('http', 'ws')}/v1/stream`,
    audio: { encoding: 'opus' },
    unackedMaxMs: UNACKED_MAX_MS,
    createSocket: (address, protocols) => new WebSocket(address, protocols, { perMessageDeflate: false }),
  });
  const finals: FinalMessage[] = [];
  client.on('final', (final) => finals.push(final));
  const started = client.start();
  const startedAtMs = performance.now();
  for (const [index, packet] of script.packets.entries()) {
    const dueAtMs = startedAtMs + (index + 1) * 20;
    const waitMs = dueAtMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    client.send(packet);
  }
  await started;
  await client.stop();
  return finals;
}

/**
 * Where a session was resumed, a sentence may come in two parts, and the model may hear it in another way: lost is
 * what no final covers, repeated is audio that two finals cover.
 */
function judge(
  scripts: readonly Script[],
  told: readonly (readonly FinalMessage[])[],
  program: Program,
): Outcome {
  let [utterances, lost, repeated, wordCount, wrongWordCount] = [0, 0, 0, 0, 0];
  for (const [person, { sentences }] of scripts.entries()) {
    const finals = told[person] ?? [];
    utterances += sentences.length;
    repeated += finals.filter((final, i) => final.startAudioMs < (finals[i - 1]?.endAudioMs ?? 0)).length;
    for (const { text, startAudioMs, endAudioMs } of sentences) {
      const own = finals.filter(
        (final) => final.startAudioMs < endAudioMs && final.endAudioMs > startAudioMs,
      );
      const heard = joinedText(own);
      if (heard === '') lost++;
      const words = text.split(' ').length;
      wordCount += words;
      wrongWordCount += words * wordErrorRate(text, heard);
    }
  }
  const wordErrors = wrongWordCount / wordCount;
  const backMs = percentile(program.backMs, 0.99);
  const isLate = backMs > LISTENING_AGAIN_P99_MAX_MS;
  const misses = isLate ? [`listening again after ${Math.round(backMs)} ms at p99`] : [];
  const violations: string[] = [];
  if (program.orphanCount > 0) violations.push(`${program.orphanCount} workers outlived their gateway`);
  if (wordErrors > WORD_ERROR_MAX_RATE) violations.push(`${percent(wordErrors)} of the words were misheard`);
  const figures = [
    `listening again p99 ${Math.round(backMs)} ms`,
    `orphans ${program.orphanCount}`,
    `word error rate ${percent(wordErrors)}`,
  ];
  return judged({
    injected: program.backMs.length,
    utterances,
    lost,
    repeated,
    wrong: 0,
    figures,
    violations,
    misses,
  });
}

/** `earwitness serve` as a user runs it. */
class Program {
  readonly url: string;
  /** From each kill to the port being open again, in ms. */
  readonly backMs: number[] = [];
  orphanCount = 0;
  readonly #process: ChildProcess;
  readonly #stateDir: string;
  readonly #adminUrl: string;

  private constructor(process: ChildProcess, stateDir: string, urls: readonly string[]) {
    this.#process = process;
    this.#stateDir = stateDir;
    this.url = urls[0] ?? '';
    this.#adminUrl = urls[1] ?? '';
  }

  static async start(): Promise<Program> {
    const stateDir = mkdtempSync(join(tmpdir(), 'earwitness-chaos-'));
    const [port, adminPort] = [await freePort(), await freePort()];
    const settings = {
      port,
      'admin-port': adminPort,
      'log-level': 'error',
      'crash-dir': stateDir,
      'quarantine-dir': stateDir,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const child = spawn(process.execPath, [MAIN, 'serve', ...flags], { stdio: ['ignore', 'pipe', 'ignore'] });
    const line = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (bytes: Buffer) => {
        text += bytes.toString('utf8');
        if (text.includes('\n')) resolve(text);
      });
      child.once('exit', (code) => {
        reject(new Error(`serve ended with ${String(code)}`));
      });
    });
    return new Program(child, stateDir, line.match(/http:\/\/[\d.:]+/g) ?? []);
  }

  /** Kills a gateway that serves, after a while of service, until `untilMs` at most. */
  async killAgainAndAgain(count: number, untilMs: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      while (!(await answersOk(`${this.#adminUrl}/readyz`))) await sleep(20);
      await sleep(800 + ((i * 700) % 1_600));
      if (performance.now() > untilMs) return;
      await this.#killOnce();
    }
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGTERM');
    await ended;
    rmSync(this.#stateDir, { recursive: true, force: true });
  }

  async #killOnce(): Promise<void> {
    const answer = await fetch(`${this.#adminUrl}/workers`);
    const workers = (await answer.json()) as readonly { readonly pid: number }[];
    process.kill(childOf(this.#process.pid ?? 0), 'SIGKILL');
    const killedAtMs = performance.now();
    await sleep(1);
    while (!(await isListening(this.url))) await sleep(10);
    this.backMs.push(performance.now() - killedAtMs);
    await sleep(Math.max(0, 2_000 - (performance.now() - killedAtMs)));
    this.orphanCount += workers.filter(({ pid }) => isAlive(pid)).length;
  }
}

/** The one child of a process: the gateway of a supervisor. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function isListening(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  );
}

async function answersOk(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
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

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
