/**
 * A folder of small files that nobody else may read: written whole or not at all, bounded in count, bytes and age.
 * Files that do not bear its names are left alone.
 */
import { open, readdir, rename, stat, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { isOpenToOthers, makePrivateFolder } from '../../models/new_folder.ts';
import { CLOCK_BACK_MAX_MS } from '../../pipeline/limits.ts';

/** What is needed of node:fs, so that tests can have full and slow disks. */
export interface FileSystem {
  /** Makes the folder, for its owner alone; one that is there is left as it is. */
  makeFolder(path: string): Promise<void>;
  /** True if others than the owner can look into the folder. */
  isOpenToOthers(path: string): Promise<boolean>;
  list(path: string): Promise<readonly string[]>;
  facts(path: string): Promise<{ readonly bytes: number; readonly modifiedAtMs: number }>;
  /** Creates a file with mode 0600; fails if it is there. */
  create(path: string, content: Uint8Array): Promise<void>;
  /** Sets the time a file was modified at. */
  stamp(path: string, atMs: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

/** The real one. */
export const diskFileSystem: FileSystem = {
  makeFolder: makePrivateFolder,
  isOpenToOthers,
  list: (path) => readdir(path),
  async facts(path) {
    const { size, mtimeMs } = await stat(path);
    return { bytes: size, modifiedAtMs: mtimeMs };
  },
  async create(path, content) {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  stamp: (path, atMs) => utimes(path, atMs / 1_000, atMs / 1_000),
  rename,
  remove: unlink,
};

/** Bounds of a folder. A record is all files whose names are equal but for their ending. */
export interface FolderBounds {
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly maxAgeMs?: number;
}

export interface PrivateFolderOptions {
  readonly path: string;
  readonly bounds: FolderBounds;
  /** What the folder's own files are called. */
  readonly isOurs: (name: string) => boolean;
  /** The wall clock; files carry it. */
  readonly now: () => Date;
  readonly files?: FileSystem;
}

interface Entry {
  readonly name: string;
  readonly record: string;
  readonly bytes: number;
  readonly modifiedAtMs: number;
}

const TEMPORARY_SUFFIX = '.tmp';

export class PrivateFolder {
  readonly #options: PrivateFolderOptions;
  readonly #files: FileSystem;

  constructor(options: PrivateFolderOptions) {
    this.#options = options;
    this.#files = options.files ?? diskFileSystem;
  }

  get path(): string {
    return this.#options.path;
  }

  /**
   * Creates the folder and removes what an earlier process left half done. A folder that is open to others is not ours
   * to close: `onOpen` hears of it. Throws what node:fs throws.
   */
  async open(onOpen: () => void): Promise<void> {
    await this.#files.makeFolder(this.path);
    if (await this.#files.isOpenToOthers(this.path)) onOpen();
    for (const { name, bytes } of await this.#entries()) {
      if (bytes === 0 || name.endsWith(TEMPORARY_SUFFIX)) await this.#removeQuietly(name);
    }
    await this.prune();
  }

  /** Writes a file whole; on failure nothing of it stays. Throws what node:fs throws. */
  async write(name: string, content: Uint8Array): Promise<void> {
    const temporary = join(this.path, `${name}${TEMPORARY_SUFFIX}`);
    // An operator may have removed the folder to empty it.
    await this.#files.makeFolder(this.path);
    try {
      await this.#files.create(temporary, content);
      const { bytes, modifiedAtMs } = await this.#files.facts(temporary);
      if (bytes !== content.length) throw new Error(`${bytes} of ${content.length} bytes were written`);
      const atMs = await this.#timeAfterOthers(modifiedAtMs);
      if (atMs > modifiedAtMs) await this.#files.stamp(temporary, atMs);
      await this.#files.rename(temporary, join(this.path, name));
    } catch (error) {
      await this.#removeQuietly(`${name}${TEMPORARY_SUFFIX}`);
      throw error;
    }
  }

  /** The time of a file that is written now: later than that of any other, though the clock may have gone back since. */
  async #timeAfterOthers(nowMs: number): Promise<number> {
    const times = (await this.#entries())
      .filter(({ name }) => !name.endsWith(TEMPORARY_SUFFIX))
      .map(({ modifiedAtMs }) => modifiedAtMs)
      .filter((atMs) => atMs - nowMs <= CLOCK_BACK_MAX_MS);
    return Math.max(nowMs, ...times.map((atMs) => atMs + 1));
  }

  async remove(name: string): Promise<void> {
    await this.#files.remove(join(this.path, name));
  }

  /** Names of its files, in no order. */
  async names(): Promise<readonly string[]> {
    return (await this.#files.list(this.path)).filter((name) => this.#isOurs(name));
  }

  /** Removes records, those that were written first before the others, until the bounds hold. */
  async prune(): Promise<void> {
    const { maxCount, maxBytes, maxAgeMs = Infinity } = this.#options.bounds;
    const records = groupByRecord(await this.#entries());
    const bornAfterMs = this.#options.now().getTime() - maxAgeMs;
    let count = 0;
    let bytes = 0;
    for (const files of records) {
      count++;
      bytes += files.reduce((sum, file) => sum + file.bytes, 0);
      const isOld = files.every((file) => file.modifiedAtMs <= bornAfterMs);
      if (count <= maxCount && bytes <= maxBytes && !isOld) continue;
      for (const { name } of files) await this.#removeQuietly(name);
    }
  }

  async #entries(): Promise<readonly Entry[]> {
    const entries: Entry[] = [];
    for (const name of await this.names()) {
      const facts = await this.#files.facts(join(this.path, name)).catch(() => undefined);
      // Removed meanwhile by whoever else looks after the folder.
      if (facts !== undefined) entries.push({ name, record: recordOf(name), ...facts });
    }
    return entries;
  }

  #isOurs(name: string): boolean {
    const isTemporary = name.endsWith(TEMPORARY_SUFFIX);
    return this.#options.isOurs(isTemporary ? name.slice(0, -TEMPORARY_SUFFIX.length) : name);
  }

  /** What cannot be removed now is found again by the next `prune`. */
  async #removeQuietly(name: string): Promise<void> {
    await this.remove(name).catch(() => undefined);
  }
}

/** The part of a file's name that all files of its record share: `a` of `a.json`, `a.node.json` and `a.wav.tmp`. */
function recordOf(name: string): string {
  return name.replace(/(\.node)?\.\w+(\.tmp)?$/, '');
}

/** The files of each record, the newest record first. */
function groupByRecord(entries: readonly Entry[]): readonly (readonly Entry[])[] {
  const records = new Map<string, Entry[]>();
  for (const entry of entries) records.set(entry.record, [...(records.get(entry.record) ?? []), entry]);
  const newest = (files: readonly Entry[]): number => Math.max(...files.map((file) => file.modifiedAtMs));
  return [...records.values()].sort(
    (a, b) => newest(b) - newest(a) || ((b[0]?.record ?? '') < (a[0]?.record ?? '') ? -1 : 1),
  );
}
