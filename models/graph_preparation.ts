/**
 * Rebuilds a model's published graphs so that they run several times faster with the same result, once for each
 * machine. Measured on speech, one thread: a decoder
 * step takes 0.3 to 0.4 of the published graph's time, a final about half.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { GraphTarget, MoonshineArchitecture } from './moonshine_facts.ts';
import type { MoonshineFiles } from './moonshine_graphs.ts';
import { codeOf } from './owned_folder.ts';
import { comparePrepared } from './preparation_check.ts';
import { buildDecoder } from './prepared_decoder.ts';
import { buildEncoder } from './prepared_encoder.ts';
import {
  createWorkFolder,
  MANIFEST_NAME,
  originOf,
  PREPARED_NAMES,
  preparedFolderName,
  readPreparedFolder,
  removeSuperseded,
  writeManifest,
  type Manifest,
  type PreparedFrom,
  type PublishedDigests,
} from './prepared_folder.ts';
import { PublishedGraph } from './published_graph.ts';
import { fastestWeightType } from './weight_type.ts';

/** What is to be prepared: the published files, and the folder where the prepared ones are kept. */
export interface PreparationOptions {
  readonly encoderPath: string;
  readonly decoderPath: string;
  /** What the published files must be. */
  readonly published: PublishedDigests;
  /** Created if need be. Holds one folder for each version of the inputs and the preparer, and each kind of machine. */
  readonly outputDir: string;
  readonly architecture: MoonshineArchitecture;
}

/** The files to load. `warning` says, for the log, what is slower than it could be and why. */
export interface Preparation extends MoonshineFiles {
  readonly warning?: string;
}

/** In the folder that is worked in, which only its owner may read. */
const FINISHED_NAME = 'finished';

interface PreparedFiles extends MoonshineFiles {
  readonly verifierPath: string;
}

function filesIn(folder: string): PreparedFiles {
  return {
    encoderPath: join(folder, PREPARED_NAMES.encoder),
    decoderPath: join(folder, PREPARED_NAMES.step),
    verifierPath: join(folder, PREPARED_NAMES.verifier),
  };
}

async function readPublished(path: string, wantedSha256: string): Promise<PublishedGraph> {
  const model = await readFile(path);
  const sha256 = createHash('sha256').update(model).digest('hex');
  if (sha256 !== wantedSha256) throw new Error('the published graphs are damaged');
  return new PublishedGraph(model);
}

async function buildInto(folder: string, options: PreparationOptions, target: GraphTarget): Promise<void> {
  const published = {
    encoder: await readPublished(options.encoderPath, options.published.encoder),
    decoder: await readPublished(options.decoderPath, options.published.decoder),
  };
  const write = (name: string, model: Uint8Array) => writeFile(join(folder, name), model, { flush: true });
  await write(PREPARED_NAMES.encoder, buildEncoder(published, target));
  await write(PREPARED_NAMES.step, buildDecoder('step', published.decoder, target));
  await write(PREPARED_NAMES.verifier, buildDecoder('verifier', published.decoder, target));
}

/** Builds the graphs, and leaves those that can be used. */
async function fill(folder: string, options: PreparationOptions, from: PreparedFrom): Promise<void> {
  const { architecture } = options;
  await buildInto(folder, options, { architecture, weightType: from.weightType });
  const files = filesIn(folder);
  const verdict = await comparePrepared(options, files, architecture);
  if (verdict === 'different') await Promise.all([rm(files.encoderPath), rm(files.decoderPath)]);
  if (verdict !== 'exact') await rm(files.verifierPath);
  await writeManifest(folder, from);
}

/** What is prepared of this in `folder`, if it is whole and just this. */
async function read(folder: string, from: PreparedFrom): Promise<Manifest | undefined> {
  const seen = await readPreparedFolder(folder);
  if (seen.state !== 'whole') return undefined;
  const { origin, weightType } = seen.manifest;
  return isDeepStrictEqual({ origin, weightType }, from) ? seen.manifest : undefined;
}

/** True if the folder got the name; false if there is a folder of that name already. */
async function named(folder: string, name: string): Promise<boolean> {
  try {
    await rename(folder, name);
    return true;
  } catch (error) {
    // POSIX leaves it to the system which of two codes says that the other end is not empty; Windows has its own.
    if (['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(codeOf(error))) return false;
    throw error;
  }
}

/**
 * Gives a finished folder its name. What is there under that name and not whole is mended file by file, the manifest
 * last: whoever does it at the same time has the same bytes, so the order of the renames does not matter, and no
 * moment finds a file missing.
 */
async function publish(folder: string, finished: string, from: PreparedFrom): Promise<Manifest> {
  if (!(await named(folder, finished))) {
    const files = (await readdir(folder)).filter((name) => name !== MANIFEST_NAME);
    for (const name of [...files, MANIFEST_NAME]) await rename(join(folder, name), join(finished, name));
  }
  const manifest = await read(finished, from);
  if (manifest === undefined) throw new Error('the prepared graphs cannot be put in place');
  return manifest;
}

async function build(options: PreparationOptions, from: PreparedFrom): Promise<Manifest> {
  const { outputDir } = options;
  const work = await createWorkFolder(outputDir);
  try {
    const folder = join(work, FINISHED_NAME);
    await mkdir(folder);
    await fill(folder, options, from);
    const manifest = await publish(folder, join(outputDir, preparedFolderName(from)), from);
    await removeSuperseded(outputDir);
    return manifest;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function prepare(options: PreparationOptions): Promise<Preparation> {
  const from = { origin: originOf(options.published), weightType: await fastestWeightType() };
  const folder = join(options.outputDir, preparedFolderName(from));
  const manifest = (await read(folder, from)) ?? (await build(options, from));
  if (manifest.files.length === 0) throw new Error('the prepared graphs do not give the published result');
  const { verifierPath, ...files } = filesIn(folder);
  if (manifest.files.some(({ name }) => name === PREPARED_NAMES.verifier)) return { ...files, verifierPath };
  return { ...files, warning: 'drafts are not used: on this processor they would change results' };
}

/**
 * Prepares a model, or finds it prepared: the second call for the same files takes a fraction of a second. What is
 * found is read to the last byte, and made anew if it is not what it was. Nothing half-written is ever found, and
 * several processes may prepare the same model at once. What was built is compared with the published graphs before it
 * is used. Never throws: if anything fails, the published files come back with a warning.
 */
export async function prepareMoonshine(options: PreparationOptions): Promise<Preparation> {
  try {
    return await prepare(options);
  } catch (error) {
    const { encoderPath, decoderPath } = options;
    const reason = error instanceof Error ? error.message : String(error);
    return { encoderPath, decoderPath, warning: `the published graphs are used as they are: ${reason}` };
  }
}
