/** A disk in memory that fails or stands still when a test says so. */
import { basename, dirname } from 'node:path';
import type { FileSystem } from '../../server/private_folder.ts';

export class FaultyFileSystem implements FileSystem {
  /** By path. */
  readonly contents = new Map<string, Uint8Array>();
  /** Bytes that still fit; what is written beyond is cut off, with an error or, as some systems do, without. */
  freeBytes = Infinity;
  tellsFull = true;
  /** While set, every write waits for it. */
  hold: Promise<void> | undefined;
  readonly #nowMs: () => number;
  readonly #modifiedAt = new Map<string, number>();

  /** `nowMs` stamps the files; by default with the time there is. */
  constructor(nowMs = (): number => new Date().getTime()) {
    this.#nowMs = nowMs;
  }

  makeFolder(): Promise<void> {
    return Promise.resolve();
  }

  isOpenToOthers(): Promise<boolean> {
    return Promise.resolve(false);
  }

  list(path: string): Promise<readonly string[]> {
    return Promise.resolve(
      [...this.contents.keys()].filter((file) => dirname(file) === path).map((file) => basename(file)),
    );
  }

  facts(path: string): Promise<{ bytes: number; modifiedAtMs: number }> {
    const content = this.contents.get(path);
    if (content === undefined) return Promise.reject(new Error('ENOENT'));
    return Promise.resolve({ bytes: content.length, modifiedAtMs: this.#modifiedAt.get(path) ?? 0 });
  }

  async create(path: string, content: Uint8Array): Promise<void> {
    await this.hold;
    const kept = content.slice(0, this.freeBytes);
    this.freeBytes -= kept.length;
    this.contents.set(path, kept);
    this.#modifiedAt.set(path, this.#nowMs());
    if (kept.length < content.length && this.tellsFull) throw new Error('ENOSPC: no space left on device');
  }

  rename(from: string, to: string): Promise<void> {
    const content = this.contents.get(from);
    if (content === undefined) return Promise.reject(new Error('ENOENT'));
    this.contents.set(to, content);
    this.#modifiedAt.set(to, this.#nowMs());
    this.contents.delete(from);
    return Promise.resolve();
  }

  remove(path: string): Promise<void> {
    return this.contents.delete(path) ? Promise.resolve() : Promise.reject(new Error('ENOENT'));
  }
}
