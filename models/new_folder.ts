/** Makes folders. (`recursive` of node:fs tries for ever where a parent is there and takes no folder, as under /proc.) */
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes a folder, and what is missing above it; one that is there is left as it is. Throws what node:fs throws. */
export async function makeFolder(path: string): Promise<void> {
  await makeAll(path, (missing) => mkdir(missing));
}

/** The same for folders that nobody else may read: what it makes has mode 0700. */
export async function makePrivateFolder(path: string): Promise<void> {
  await makeAll(path, async (missing) => {
    await mkdir(missing, { mode: 0o700 });
    // Whatever the umask took away or a parent's access list added.
    await chmod(missing, 0o700);
  });
}

/** True if others than the owner can do anything with the folder. Systems without modes do not tell. */
export async function isOpenToOthers(path: string): Promise<boolean> {
  return process.platform !== 'win32' && ((await stat(path)).mode & 0o077) !== 0;
}

async function makeAll(path: string, make: (missing: string) => Promise<void>): Promise<void> {
  try {
    await makeOne(path, make);
  } catch (error) {
    const parent = dirname(path);
    if (!isMissing(error) || parent === path) throw error;
    await makeAll(parent, make);
    await makeOne(path, make);
  }
}

async function makeOne(path: string, make: (missing: string) => Promise<void>): Promise<void> {
  try {
    await make(path);
  } catch (error) {
    if (isMissing(error) || !(await isFolder(path))) throw error;
  }
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
