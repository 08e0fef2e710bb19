import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { linkModels } from '../support/linked_models.ts';
import { testModelsDir } from '../support/weights.ts';

const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
/** From the signal to the end of every process, on a busy machine. Measured: 0.2 s, and 1.2 s while workers load. */
const END_MAX_MS = 5_000;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** `earwitness serve` in a process group of its own. */
class Serve {
  readonly child: ChildProcess;
  readonly #exited: Promise<unknown>;
  stdout = '';
  stderr = '';

  constructor(test: TestContext, options: { modelsDir: string; args?: readonly string[]; path?: string }) {
    const { modelsDir, args = [], path = '' } = options;
    const ports = ['--port', '0', '--admin-port', '0', '--keys-file', ''];
    this.child = spawn(process.execPath, [MAIN, 'serve', ...ports, '--models-dir', modelsDir, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PATH: `${path}:${process.env['PATH'] ?? ''}`,
        EARWITNESS_CRASH_DIR: join(folder, 'crashes'),
        EARWITNESS_QUARANTINE_DIR: join(folder, 'quarantine'),
      },
    });
    this.#exited = once(this.child, 'close');
    this.child.stdout?.on('data', (text: Buffer) => {
      this.stdout += text.toString();
    });
    this.child.stderr?.on('data', (text: Buffer) => {
      this.stderr += text.toString();
    });
    test.after(() => {
      if (this.isAlive) this.kill('SIGKILL', 'group');
    });
  }

  /** Whether any process of the group is left. */
  get isAlive(): boolean {
    try {
      return process.kill(-Number(this.child.pid), 0);
    } catch {
      return false;
    }
  }

  /** As a service manager does it, or as a terminal does: to every process of the group. */
  kill(signal: NodeJS.Signals, whom: 'process' | 'group'): void {
    process.kill(Number(this.child.pid) * (whom === 'group' ? -1 : 1), signal);
  }

  async said(text: RegExp): Promise<void> {
    while (!text.test(this.stderr)) {
      assert(this.child.exitCode === null, `ended too early: ${this.stderr}`);
      await Promise.race([once(this.child.stderr ?? this.child, 'data'), this.#exited]);
    }
  }

  /** Waits for the end of all its processes; the exit status. */
  async ended(): Promise<number | null> {
    const startMs = performance.now();
    await this.#exited;
    const tookMs = performance.now() - startMs;
    assert(tookMs < END_MAX_MS, `it took ${Math.round(tookMs)} ms`);
    assert(!this.isAlive, 'a child is left');
    assert.equal(this.stdout, '');
    return this.child.exitCode;
  }
}

/** Writes a program in the place of npm that never ends. `bin`, the folder, is created. */
async function writeNpm(bin: string, script = ''): Promise<void> {
  await mkdir(bin);
  const program = `#!${process.execPath}\n${script}\nsetInterval(() => undefined, 1000);\n`;
  await writeFile(join(bin, 'npm'), program, { mode: 0o755 });
}

const WAYS = [
  { signal: 'SIGTERM', whom: 'process', args: [] },
  { signal: 'SIGINT', whom: 'group', args: [] },
  { signal: 'SIGTERM', whom: 'group', args: [] },
  { signal: 'SIGTERM', whom: 'process', args: ['--no-supervise'] },
  { signal: 'SIGINT', whom: 'group', args: ['--no-supervise'] },
  { signal: 'SIGTERM', whom: 'group', args: ['--no-supervise'] },
] as const;

describe('serve, told to stop before it is ready', { skip: process.platform === 'win32' }, () => {
  for (const { signal, whom, args } of WAYS) {
    const how = `${signal} to the ${whom}${args.length > 0 ? ', no supervisor' : ''}`;

    it(`[CLI10] during a download (${how}): status 0, npm has ended, nothing is left behind`, async (test) => {
      const modelsDir = join(folder, 'models');
      const bin = join(folder, 'bin');
      await writeNpm(bin);
      const serve = new Serve(test, { modelsDir, args, path: bin });
      await serve.said(/downloading/);
      serve.kill(signal, whom);
      assert.equal(await serve.ended(), 0, serve.stderr);
      assert.deepEqual(await readdir(join(modelsDir, '.downloads')), []);
    });
  }

  for (const { signal, whom, args } of WAYS.slice(0, 3)) {
    it(`[CLI10] during the preparation (${signal} to the ${whom}): status 0, nothing half-made`, async (test) => {
      const models = await linkModels();
      test.after(() => models.remove());
      const serve = new Serve(test, { modelsDir: models.modelsDir, args });
      await serve.said(/preparing for this machine/);
      while ((await readdir(models.preparedDir).catch(() => [])).length === 0) assert(serve.isAlive);
      serve.kill(signal, whom);
      assert.equal(await serve.ended(), 0, serve.stderr);
      assert.deepEqual(await readdir(models.preparedDir), []);
    });
  }

  it('[CLI10] while the workers load: status 0, and they have ended', async (test) => {
    const serve = new Serve(test, { modelsDir: testModelsDir() });
    await serve.said(/transport chosen/);
    serve.kill('SIGTERM', 'process');
    assert.equal(await serve.ended(), 0, serve.stderr);
  });

  it('[CLI10] while devices are tried: status 0, and no other is tried', async (test) => {
    const serve = new Serve(test, { modelsDir: testModelsDir(), args: ['--device', 'auto'] });
    await serve.said(/a device is tried/);
    serve.kill('SIGTERM', 'process');
    assert.equal(await serve.ended(), 0, serve.stderr);
    assert.doesNotMatch(serve.stderr, /transport chosen/);
  });

  for (const args of [[], ['--no-supervise']]) {
    it(`[CLI12] signals that are no request to stop do not end it (${args[0] ?? 'supervised'})`, async (test) => {
      const serve = new Serve(test, { modelsDir: testModelsDir(), args });
      await serve.said(/transport chosen/);
      for (const signal of ['SIGHUP', 'SIGPIPE', 'SIGALRM', 'SIGUSR1', 'SIGUSR2'] as const)
        serve.kill(signal, 'process');
      await setTimeout(100);
      assert(serve.child.exitCode === null && serve.child.signalCode === null, 'it has ended');
      serve.kill('SIGTERM', 'process');
      assert.equal(await serve.ended(), 0, serve.stderr);
      assert.doesNotMatch(serve.stderr, /Debugger listening/);
    });
  }

  it('[CLI11] a second signal ends it at once with status 1', async (test) => {
    const bin = join(folder, 'bin');
    const [deaf, asked] = [join(folder, 'deaf'), join(folder, 'asked')];
    await writeNpm(
      bin,
      `const { writeFileSync } = require('node:fs');
      process.on('SIGTERM', () => writeFileSync(${JSON.stringify(asked)}, ''));
      writeFileSync(${JSON.stringify(deaf)}, '');`,
    );
    const serve = new Serve(test, { modelsDir: join(folder, 'models'), args: ['--no-supervise'], path: bin });
    for (const sign of [deaf, asked]) {
      while (!existsSync(sign)) await setTimeout(5);
      serve.kill('SIGTERM', 'process');
    }
    await once(serve.child, 'exit');
    assert.equal(serve.child.exitCode, 1);
  });
});
