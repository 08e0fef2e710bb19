/** A made-up model in a made-up npm package, small enough to be pulled in milliseconds. */
import { createHash, randomFillSync } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create } from 'tar';
import { DEFAULT_RECOGNISER, type MoonshineEntry } from '../../models/catalogue.ts';

/** What the stand-in for npm does with a call. */
export type FakeNpmMode = 'deliver' | 'truncate' | 'offline' | 'hang';

export interface TinyPackage {
  readonly entry: MoonshineEntry;
  readonly modelsDir: string;
  /** Right content of a file of the model. */
  content(name: string): Buffer;
  /** Path of a file of the model, there or not. */
  path(name: string): string;
  npm(mode: FakeNpmMode): readonly [string, ...string[]];
  /** Lines that the stand-in for npm wrote: its arguments as JSON, and its pid when it hangs. */
  journal(): Promise<string[]>;
  remove(): Promise<void>;
}

/** Builds the package below a new temporary folder; the caller calls `remove`. */
export async function createTinyPackage(): Promise<TinyPackage> {
  const root = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
  const contents = new Map<string, Buffer>();
  const paths = ['package/package.json', 'package/dist/unwanted.bin'];
  const files = [];
  for (const [index, { name }] of DEFAULT_RECOGNISER.files.entries()) {
    const content = randomFillSync(Buffer.alloc(200_000 + index * 50_000));
    const pathInPackage = `package/dist/deep/${name}`;
    contents.set(name, content);
    paths.push(pathInPackage);
    files.push({ name, pathInPackage, bytes: content.length, sha256: digest(content, 'sha256', 'hex') });
  }
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), contents.get(path.split('/').at(-1) ?? '') ?? 'something else');
  }
  const tarball = join(root, 'published.tgz');
  await create({ gzip: true, cwd: root, file: tarball }, paths);
  const packed = await readFile(tarball);
  const integrity = `sha512-${digest(packed, 'sha512', 'base64')}`;
  const source = { spec: '@somebody/tiny@1.0.0', integrity, tarballBytes: packed.length };
  const entry: MoonshineEntry = { ...DEFAULT_RECOGNISER, id: 'tiny-test', source, files };
  const modelsDir = join(root, 'cache', 'models');
  const journal = join(root, 'journal');
  await writeFile(journal, '');
  return {
    entry,
    modelsDir,
    content: (name) => contents.get(name) ?? Buffer.alloc(0),
    path: (name) => join(modelsDir, entry.id, name),
    npm: (mode) => [process.execPath, join(import.meta.dirname, 'fake_npm_child.js'), mode, tarball, journal],
    journal: async () => (await readFile(journal, 'utf8')).split('\n').filter((line) => line !== ''),
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

function digest(bytes: Buffer, algorithm: string, encoding: 'hex' | 'base64'): string {
  return createHash(algorithm).update(bytes).digest(encoding);
}
