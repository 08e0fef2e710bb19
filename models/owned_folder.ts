/**
 * Folders that one process works in. Nothing in them is shared, so no lock is needed; what a killed process left behind
 * is found by the name of its folder, which says who owns it.
 */
import { mkdtemp, readdir, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { DOWNLOAD_ABANDONED_MS } from '../pipeline/limits.ts';
import { makeFolder } from './new_folder.ts';

const OWNER = /^(?<prefix>\.[a-z]+-)?(?<host>[^_]*)_(?<pid>\d+)_/;

/** Creates a folder that only the caller writes to. A `prefix` (`.word-`) tells folders of one kind from others. */
export async function createOwnedFolder(parent: string, prefix = ''): Promise<string> {
  await makeFolder(parent);
  return mkdtemp(join(parent, `${prefix}${hostLabel()}_${process.pid}_`));
}

/** Paths of the folders beside `own`, of its kind, whose owners are dead. */
export async function abandonedFolders(own: string): Promise<string[]> {
  const parent = dirname(own);
  const prefix = OWNER.exec(basename(own))?.groups?.['prefix'] ?? '';
  const { mtimeMs } = await stat(own);
  const abandoned: string[] = [];
  for (const each of await readdir(parent, { withFileTypes: true })) {
    const { name } = each;
    const path = join(parent, name);
    if (!each.isDirectory() || path === own || !name.startsWith(prefix)) continue;
    if (await isAbandoned(path, { name, nowMtimeMs: mtimeMs })) abandoned.push(path);
  }
  return abandoned;
}

/**
 * On the owner's host its process can be asked for. Elsewhere (a volume shared by containers) only age tells, in
 * the file system's own time: both stamps come from it.
 */
async function isAbandoned(path: string, seen: { name: string; nowMtimeMs: number }): Promise<boolean> {
  const owner = OWNER.exec(seen.name)?.groups;
  if (owner?.['host'] === hostLabel() && !isAlive(Number(owner['pid']))) return true;
  try {
    return seen.nowMtimeMs - (await stat(path)).mtimeMs > DOWNLOAD_ABANDONED_MS;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

function hostLabel(): string {
  return hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-');
}

/** The system's code of a failure, e.g. `ENOENT`; empty if it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
