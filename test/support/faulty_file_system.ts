/** A disk in memory that fails or stands still when a test says so. */
import { basename, dirname } from 'node:path';
import type { FileSystem } from '../../server/records/private_folder.ts';

export class FaultyFileSystem implements FileSystem {
  /** By path. */
  readonly contents = new Map<string, Uint8Array>();
  /** Bytes that still fit; what is written beyond is cut off, with an error or, as some systems do, without. */
  freeBytes = Infinity;
  tellsFull = true;
  /** While set, whatever is asked of it fails with this. */
  broken: string | undefined;
  /** While set, every write waits for it. */
  hold: Promise<void> | undefined;
  readonly #nowMs: () => number;
  readonly #modifiedAt = new Map<string, number>();

  /** `nowMs` stamps the files; by default with the time there is. */
  constructor(nowMs = (): number => new Date().getTime()) {
    this.#nowMs = nowMs;
  }

  async makeFolder(): Promise<void> {
    await this.#work();
  }

  async isOpenToOthers(): Promise<boolean> {
    await this.#work();
    return false;
  }

  async list(path: string): Promise<readonly string[]> {
    await this.#work();
    return [...this.contents.keys()].filter((file) => dirname(file) === path).map((file) => basename(file));
  }

  async facts(path: string): Promise<{ bytes: number; modifiedAtMs: number }> {
    await this.#work();
    return { bytes: this.#at(path).length, modifiedAtMs: this.#modifiedAt.get(path) ?? 0 };
  }

  async create(path: string, content: Uint8Array): Promise<void> {
    await this.#work();
    await this.hold;
    const kept = content.slice(0, this.freeBytes);
    this.freeBytes -= kept.length;
    this.contents.set(path, kept);
    this.#modifiedAt.set(path, this.#nowMs());
    if (kept.length < content.length && this.tellsFull) throw new Error('ENOSPC: no space left on device');
  }

  async stamp(path: string, atMs: number): Promise<void> {
    await this.#work();
    this.#modifiedAt.set(path, atMs);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#work();
    this.contents.set(to, this.#at(from));
    this.#modifiedAt.set(to, this.#modifiedAt.get(from) ?? 0);
    this.contents.delete(from);
  }

  async remove(path: string): Promise<void> {
    await this.#work();
    this.#at(path);
    this.contents.delete(path);
  }

  #work(): Promise<void> {
    return this.broken === undefined ? Promise.resolve() : Promise.reject(new Error(this.broken));
  }

  #at(path: string): Uint8Array {
    const content = this.contents.get(path);
    if (content === undefined) throw new Error('ENOENT: no such file');
    return content;
  }
}
