/**
 * The place where one pull works: a folder of its own under `<modelsDir>/.downloads`, on the same file system as
 * the weights so that a finished file is renamed into place.
 */
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { abandonedFolders, codeOf, createOwnedFolder } from './owned_folder.ts';

const FOLDER = '.downloads';

/** Creates a folder that only the caller writes to. */
export function createDownloadFolder(modelsDir: string): Promise<string> {
  return createOwnedFolder(join(modelsDir, FOLDER));
}

/** Removes a folder of `createDownloadFolder` with all it holds. Its parent stays: another pull may be about to use it. */
export async function removeDownloadFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Moves the tarballs that dead pulls left behind into `folder`, and removes the rest of what they left. */
export async function adoptAbandoned(folder: string): Promise<string[]> {
  const adopted: string[] = [];
  for (const path of await abandonedFolders(folder)) {
    adopted.push(...(await takeTarballs(path, { into: folder, takenCount: adopted.length })));
    await rm(path, { recursive: true, force: true });
  }
  return adopted;
}

async function takeTarballs(
  from: string,
  { into, takenCount }: { readonly into: string; readonly takenCount: number },
): Promise<string[]> {
  const taken: string[] = [];
  const names = await readdir(from).catch(emptyIfGone);
  for (const name of names.filter((each) => each.endsWith('.tgz'))) {
    const path = join(into, `adopted-${takenCount + taken.length}-${name}`);
    try {
      await rename(join(from, name), path);
      taken.push(path);
    } catch (error) {
      // Two pulls may find the same leftovers; the rename decides which of them has the tarball.
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }
  return taken;
}

function emptyIfGone(error: unknown): string[] {
  if (codeOf(error) === 'ENOENT') return [];
  throw error;
}
