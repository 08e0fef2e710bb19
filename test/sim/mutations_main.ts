/**
 * Plants each known bug in a copy of the build and lets the simulation look for it:
 * `node dist/test/sim/mutations_main.js [--seeds 1000] [--only WORD]`. Exits with 1 if one is not found.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MUTATIONS, type Mutation } from './mutations.ts';

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

let survivorCount = 0;
for (const mutation of MUTATIONS.filter(({ name }) => name.includes(values.only))) {
  const { outcome, seedCount, finding } = await judge(mutation);
  if (outcome !== 'caught') survivorCount++;
  process.stdout.write(`${outcome.padEnd(9)}${seedCount.padStart(5)} seeds  ${mutation.name}\n`);
  process.stdout.write(`                      ${finding}\n`);
}
process.stdout.write(`${survivorCount} survived\n`);
process.exit(survivorCount === 0 ? 0 : 1);

async function judge(mutation: Mutation): Promise<Verdict> {
  const root = await mkdtemp(join(tmpdir(), 'earwitness-mutation-'));
  try {
    await plant(mutation, root);
    return await run(join(root, 'test/sim/sim_main.js'));
  } finally {
    await rm(root, { recursive: true });
  }
}

/** A copy of the build with the bug in it. Throws if the code that it replaces is not there exactly once. */
async function plant({ file, search, replacement, name }: Mutation, root: string): Promise<void> {
  for (const folder of FOLDERS) await cp(join(BUILD, folder), join(root, folder), { recursive: true });
  await writeFile(join(root, 'package.json'), '{"type":"module"}\n');
  await symlink(nodeModules(), join(root, 'node_modules'), 'dir');
  const path = join(root, file);
  const parts = (await readFile(path, 'utf8')).split(anywayLaidOut(search));
  if (parts.length !== 2)
    throw new Error(`"${name}": the code is there ${parts.length - 1} times in ${file}`);
  await writeFile(path, parts.join(replacement));
}

/** Finds code however its lines are broken. */
function anywayLaidOut(code: string): RegExp {
  const words = code.split(' ').map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(words.join('\\s+'));
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
