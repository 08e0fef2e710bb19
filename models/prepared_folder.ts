/**
 * A folder of prepared graphs with the manifest that says what they were made from and what each file must be. A
 * folder gets its name when it is whole; whatever differs from its manifest later is prepared again.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { digestFile } from './checksum.ts';
import { abandonedFolders, codeOf, createOwnedFolder } from './owned_folder.ts';

const { version: RUNTIME_VERSION } = createRequire(import.meta.url)('onnxruntime-node/package.json') as {
  version: string;
};

/** To be raised whenever a change would build other graphs. */
const PREPARER_VERSION = 4;
/** The file that says what a folder holds; written last. */
export const MANIFEST_NAME = 'manifest.json';
/** Begins the name of the folder that a process builds in. */
const WORK_PREFIX = '.preparing-';
const FOLDER_NAME = /^prepared-[\da-f]{16}$/;

/**
 * Names of the prepared graphs. For processors `encoder` and `step`; `verifier`, missing where drafts would change
 * results; `streamingEncoder` and `reader`, missing where partials would be poor. In float numbers, for accelerators,
 * `encoder` and `decoder`.
 */
export const PREPARED_NAMES = {
  encoder: 'encoder.onnx',
  step: 'step.onnx',
  verifier: 'verifier.onnx',
  streamingEncoder: 'streaming_encoder.onnx',
  reader: 'reader.onnx',
  decoder: 'decoder.onnx',
} as const;

/** Lower-case hexadecimal sha256 of the published graphs. */
export interface PublishedDigests {
  readonly encoder: string;
  readonly decoder: string;
}

const SHA256 = z.string().regex(/^[\da-f]{64}$/);
const ORIGIN = z.object({
  preparer: z.number(),
  /** Version of ONNX Runtime, and the processor: what was compared on one may differ on another. */
  runtime: z.string(),
  processor: z.string(),
  published: z.object({ encoder: SHA256, decoder: SHA256 }),
});
const MANIFEST = z.object({
  origin: ORIGIN,
  weightType: z.enum(['int8', 'uint8', 'float', 'float16']),
  /** Empty where the prepared graphs did not give the published result, so that nobody tries again. */
  files: z.array(z.object({ name: z.enum(PREPARED_NAMES), bytes: z.number(), sha256: SHA256 })),
});

type Origin = z.infer<typeof ORIGIN>;
const FLOAT_TYPES: readonly Manifest['weightType'][] = ['float', 'float16'];

/** What a manifest says beside what its graphs were made from. */
export type Manifest = z.infer<typeof MANIFEST>;

/** What this program on this machine makes of these published graphs, and how their weights are written. */
export type PreparedFrom = Pick<Manifest, 'origin' | 'weightType'>;

/** Of one folder: not there, not (or no longer) what a finished preparation leaves, or whole. */
export type PreparedFolder =
  | { readonly state: 'absent' }
  | { readonly state: 'damaged'; readonly fault: string }
  | { readonly state: 'whole'; readonly manifest: Manifest };

/** What graphs that are prepared here and now come from. */
export function originOf({ encoder, decoder }: PublishedDigests): Origin {
  const processor = `${process.arch} ${cpus()[0]?.model ?? ''}`;
  return {
    preparer: PREPARER_VERSION,
    runtime: RUNTIME_VERSION,
    processor,
    published: { encoder, decoder },
  };
}

/** Name of the folder for what is made from these. */
export function preparedFolderName({ origin, weightType }: PreparedFrom): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([origin, weightType]))
    .digest('hex');
  return `prepared-${digest.slice(0, 16)}`;
}

/** Writes the manifest of the graphs that are in the folder. */
export async function writeManifest(folder: string, { origin, weightType }: PreparedFrom): Promise<void> {
  const files: Manifest['files'] = [];
  const present = await readdir(folder);
  for (const name of Object.values(PREPARED_NAMES)) {
    if (present.includes(name)) files.push({ name, ...(await factsOf(join(folder, name))) });
  }
  const manifest: Manifest = { origin, weightType, files };
  await writeFile(join(folder, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
}

/** Reads every byte of a folder and says whether it is what its manifest wants. Throws if it cannot be read. */
export async function readPreparedFolder(folder: string): Promise<PreparedFolder> {
  try {
    await stat(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { state: 'absent' };
    throw error;
  }
  const manifest = await readManifest(folder);
  if (manifest === undefined) return { state: 'damaged', fault: `${MANIFEST_NAME} missing or not valid` };
  for (const { name, bytes, sha256 } of manifest.files) {
    const fault = await fileFault(join(folder, name), { bytes, sha256 });
    if (fault !== undefined) return { state: 'damaged', fault: `${name} ${fault}` };
  }
  return { state: 'whole', manifest };
}

/**
 * Whether the graphs for processors that are prepared of these published ones are in `dir`, in one of its folders. What
 * other programs, machines or weights left there does not count, but for folders of which nobody can tell what they are.
 */
export async function findPrepared(dir: string, published: PublishedDigests): Promise<PreparedFolder> {
  const wanted = originOf(published);
  let found: PreparedFolder = { state: 'absent' };
  for (const folder of await preparedFolders(dir)) {
    const manifest = await readManifest(folder);
    if (manifest !== undefined && !isDeepStrictEqual(manifest.origin, wanted)) continue;
    if (manifest !== undefined && FLOAT_TYPES.includes(manifest.weightType)) continue;
    const seen = await readPreparedFolder(folder);
    if (seen.state === 'whole') return seen;
    if (seen.state === 'damaged') found = seen;
  }
  return found;
}

/** Removes folders in `dir` that neither this program nor a later one has a use for: older, or without manifest. */
export async function removeSuperseded(dir: string): Promise<void> {
  for (const folder of await preparedFolders(dir)) {
    const manifest = await readManifest(folder);
    if (manifest === undefined || manifest.origin.preparer < PREPARER_VERSION) await removeFolder(folder);
  }
}

/** Creates a folder in `dir` that only the caller writes to, and removes what those who were killed left there. */
export async function createWorkFolder(dir: string): Promise<string> {
  const own = await createOwnedFolder(dir, WORK_PREFIX);
  for (const folder of await abandonedFolders(own)) await removeFolder(folder);
  return own;
}

/** Removes what preparations in `dir` that were killed left there. */
export async function sweepPreparation(dir: string): Promise<void> {
  await removeFolder(await createWorkFolder(dir));
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

async function preparedFolders(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter((name) => FOLDER_NAME.test(name)).map((name) => join(dir, name));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    return MANIFEST.parse(JSON.parse(await readFile(join(folder, MANIFEST_NAME), 'utf8')));
  } catch (error) {
    const isUnreadable = codeOf(error) === 'ENOENT' || error instanceof SyntaxError;
    if (isUnreadable || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

async function factsOf(path: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const sha256 = await digestFile(path, { algorithm: 'sha256', encoding: 'hex' });
  return { bytes: (await stat(path)).size, sha256 };
}

async function fileFault(
  path: string,
  wanted: { readonly bytes: number; readonly sha256: string },
): Promise<'absent' | 'damaged' | undefined> {
  try {
    if ((await stat(path)).size !== wanted.bytes) return 'damaged';
    return (await factsOf(path)).sha256 === wanted.sha256 ? undefined : 'damaged';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'absent';
    throw error;
  }
}
