/** Makes folders that nobody else may read. */
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder, and what is missing above it, with mode 0700; one that is there is left as it is. True if it was
 * made. Throws what node:fs throws. (Its `recursive` tries for ever where the parent is there and still no folder can
 * be made in it, as under /proc.)
 */
export async function makeFolder(path: string): Promise<boolean> {
  try {
    return await makeOne(path);
  } catch (error) {
    const parent = dirname(path);
    if (!isMissing(error) || parent === path) throw error;
    await makeFolder(parent);
    return makeOne(path);
  }
}

/** True if others than the owner can do anything with the folder. Systems without modes do not tell. */
export async function isOpenToOthers(path: string): Promise<boolean> {
  return process.platform !== 'win32' && ((await stat(path)).mode & 0o077) !== 0;
}

async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (isMissing(error) || !(await isFolder(path))) throw error;
    return false;
  }
  // Whatever the umask took away or a parent's access list added.
  await chmod(path, 0o700);
  return true;
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
