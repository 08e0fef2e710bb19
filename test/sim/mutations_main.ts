/**
 * Plants each known bug in a copy of the build and lets the simulation look for it, several at a time:
 * `node dist/test/sim/mutations_main.js [--seeds 1000] [--only WORD]`. Exits with 1 if one is not found, or cannot be
 * planted.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mutated, MUTATIONS, type Mutation } from './mutations.ts';

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '1000' }, only: { type: 'string', default: '' } },
});

/** A run that takes longer than this goes round in circles. */
const RUN_MAX_MS = 10 * 60_000;
const BUILD = fileURLToPath(new URL('../../', import.meta.url));
const FOLDERS = ['pipeline', 'server', 'vad', 'models', 'client', 'test/sim', 'test/support'];

interface Verdict {
  readonly outcome: 'caught' | 'SURVIVED' | 'BROKEN';
  readonly seedCount: string;
  readonly finding: string;
}

const wanted = MUTATIONS.filter(({ name }) => name.includes(values.only));
const planted = new Map<Mutation, string>();
for (const mutation of wanted) planted.set(mutation, await mutated(BUILD, mutation));
const waiting = [...planted];
let survivorCount = 0;
await Promise.all(Array.from({ length: availableParallelism() }, lane));
process.stdout.write(`${survivorCount} of ${wanted.length} survived\n`);
process.exit(survivorCount === 0 && wanted.length > 0 ? 0 : 1);

/** Has a copy of the build of its own, with one bug at a time in it. */
async function lane(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'earwitness-mutation-'));
  try {
    const build = join(root, 'dist');
    for (const folder of FOLDERS) await cp(join(BUILD, folder), join(build, folder), { recursive: true });
    await cp(join(BUILD, '..', 'package.json'), join(root, 'package.json'));
    await symlink(nodeModules(), join(root, 'node_modules'), 'dir');
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [{ name, file }, source] = next;
      await writeFile(join(build, file), source);
      const { outcome, seedCount, finding } = await run(join(build, 'test/sim/sim_main.js'));
      await cp(join(BUILD, file), join(build, file));
      if (outcome !== 'caught') survivorCount++;
      process.stdout.write(`${outcome.padEnd(9)}${seedCount.padStart(5)} seeds  ${name}\n`);
      process.stdout.write(`                      ${finding}\n`);
    }
  } finally {
    await rm(root, { recursive: true });
  }
}

/** Where the build's own dependencies are. */
function nodeModules(): string {
  return dirname(dirname(createRequire(import.meta.url).resolve('zod/package.json')));
}

function run(mainPath: string): Promise<Verdict> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [mainPath, '--seeds', values.seeds], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MAX_MS);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        output += bytes.toString();
      });
    }
    child.once('close', (code) => {
      clearTimeout(timer);
      const violation = /^VIOLATION .*$/m.exec(output)?.[0];
      const seedCount = /seed=(\d+)/.exec(violation ?? '')?.[1] ?? '';
      // Anything else that ends a run with an error says nothing about the bug.
      if (violation !== undefined) resolve({ outcome: 'caught', seedCount, finding: violation });
      else
        resolve({
          outcome: code === 0 ? 'SURVIVED' : 'BROKEN',
          seedCount,
          finding: output.trim().slice(-500),
        });
    });
  });
}
