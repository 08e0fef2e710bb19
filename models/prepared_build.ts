/** Builds a folder of prepared graphs, or finds it built; several processes may do so at once. */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { codeOf } from './owned_folder.ts';
import {
  createWorkFolder,
  MANIFEST_NAME,
  preparedFolderName,
  readPreparedFolder,
  removeSuperseded,
  writeManifest,
  type Manifest,
  type PreparedFrom,
} from './prepared_folder.ts';

/** In the folder that is worked in, which only its owner may read. */
const FINISHED_NAME = 'finished';

/** What is built, and where. */
export interface PreparedBuild {
  /** Created if need be. Holds one folder for each version of the inputs and the preparer, and each kind of machine. */
  readonly outputDir: string;
  readonly from: PreparedFrom;
  /** Writes the graphs that can be used into a folder, none if there are none. */
  readonly fill: (folder: string) => Promise<void>;
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

async function build({ outputDir, from, fill }: PreparedBuild): Promise<Manifest> {
  const work = await createWorkFolder(outputDir);
  try {
    const folder = join(work, FINISHED_NAME);
    await mkdir(folder);
    await fill(folder);
    await writeManifest(folder, from);
    const manifest = await publish(folder, join(outputDir, preparedFolderName(from)), from);
    await removeSuperseded(outputDir);
    return manifest;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The folder with its manifest. Rejects with the file system's error, or what `fill` rejects with. */
export async function preparedFolder(
  options: PreparedBuild,
): Promise<{ readonly folder: string; readonly manifest: Manifest }> {
  const folder = join(options.outputDir, preparedFolderName(options.from));
  const manifest = (await read(folder, options.from)) ?? (await build(options));
  return { folder, manifest };
}
