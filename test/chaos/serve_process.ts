/** `earwitness serve` as a user runs it: a supervisor, its gateway, their workers, signals and an exit status. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
const START_MAX_MS = 60_000;

export interface ServeOptions {
  readonly flags?: readonly string[];
  /** Where its stdout and stderr go; by default this process reads both. */
  readonly output?: number;
  /** In a process group of its own, which `signalGroup` reaches. */
  readonly isGroup?: boolean;
}

export interface ServeExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly atMs: number;
}

export class ServeProcess {
  readonly exited: Promise<ServeExit>;
  readonly #child: ChildProcess;
  readonly #stateDir: string;
  #text = '';

  private constructor(child: ChildProcess, stateDir: string) {
    this.#child = child;
    this.#stateDir = stateDir;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => (this.#text += bytes.toString()));
    }
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        resolve({ code, signal, atMs: performance.now() });
      });
    });
  }

  /** Its crash reports, quarantine and keys are in a folder of its own. */
  static async spawn({ flags = [], output, isGroup = false }: ServeOptions = {}): Promise<ServeProcess> {
    const stateDir = await mkdtemp(join(tmpdir(), 'earwitness-chaos-'));
    const folders = ['--crash-dir', join(stateDir, 'crashes'), '--quarantine-dir', join(stateDir, 'poison')];
    const stdio: StdioOptions =
      output === undefined ? ['ignore', 'pipe', 'pipe'] : ['ignore', output, output];
    const args = [MAIN, 'serve', '--keys-file', '', ...folders, ...flags];
    return new ServeProcess(spawn(process.execPath, args, { stdio, detached: isGroup }), stateDir);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it has printed. */
  get text(): string {
    return this.#text;
  }

  /** The clients' and the admin address, when it has printed them. Rejects if it ends before, or takes too long. */
  async addresses(): Promise<{ readonly url: string; readonly adminUrl: string }> {
    const deadlineMs = performance.now() + START_MAX_MS;
    for (;;) {
      const [url, adminUrl] = /listens on .*/.exec(this.#text)?.[0].match(/http:\/\/[\d.:]+/g) ?? [];
      if (url !== undefined && adminUrl !== undefined) return { url, adminUrl };
      if (this.#hasExited || performance.now() > deadlineMs)
        throw new Error(`serve did not start: ${this.#text}`);
      await pause(20);
    }
  }

  get #hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** As a service manager does it, or a terminal: to every process at once. */
  signalGroup(name: NodeJS.Signals): void {
    process.kill(-Number(this.#child.pid), name);
  }

  /** Ends it, if it has not ended, and removes its folder. */
  async remove(): Promise<void> {
    if (!this.#hasExited) this.#child.kill('SIGKILL');
    await this.exited;
    await rm(this.#stateDir, { recursive: true, force: true });
  }
}
