/** The API keys in force, kept in step with their file. */
import { stat } from 'node:fs/promises';
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { KEYS_POLL_INTERVAL_MS } from '../../pipeline/limits.ts';
import { isReadableByOthers, readKeySet, type KeySet } from './keys_file.ts';
import type { Log } from '../records/log.ts';

export interface KeyRingOptions {
  /** Empty: no keys are asked for, whatever there is. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Told which keys were in force and are no longer, by id. */
  readonly onRevoked: (keyIds: ReadonlySet<string>) => void;
}

/**
 * Keys are asked for from the moment their file exists, even if it holds none, until the server ends: that it
 * vanishes or is damaged must not open the door, so the keys that were read last stay in force. The file is looked
 * at every KEYS_POLL_INTERVAL_MS and not watched: notices of changes do not come from network volumes, nor when
 * Kubernetes swaps a mounted secret.
 */
export class KeyRing {
  readonly #options: KeyRingOptions;
  #keySet: KeySet | undefined;
  #stamp = '';
  #cancel: Cancel | undefined;
  #isClosed = false;
  #reading: Promise<void> | undefined;

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** What is in force; undefined as long as no keys are asked for. */
  get keySet(): KeySet | undefined {
    return this.#keySet;
  }

  /** Reads the file for the first time. Throws `ConfigError` if it is there and cannot be used. */
  async start(): Promise<void> {
    const { path } = this.#options;
    if (path === '') return;
    this.#stamp = await stampOf(path);
    await this.#read();
    this.#schedule();
  }

  /** Reads the file now, changed or not. Throws `ConfigError` if it cannot be used; the old keys stay in force. */
  async reload(): Promise<void> {
    if (this.#options.path === '') return;
    this.#stamp = await stampOf(this.#options.path);
    await this.#read();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#cancel = this.#options.clock.after(KEYS_POLL_INTERVAL_MS, () => {
      void this.#poll();
    });
  }

  async #poll(): Promise<void> {
    const { path, log } = this.#options;
    try {
      const stamp = await stampOf(path);
      if (stamp !== this.#stamp) {
        this.#stamp = stamp;
        await this.#read();
      }
    } catch (error) {
      log.error('the keys were not read again: those before stay in force', { err: error });
    }
    this.#schedule();
  }

  /** One at a time, so that an older state never replaces a newer one. */
  async #read(): Promise<void> {
    const before = this.#reading;
    const reading = (async (): Promise<void> => {
      await before?.catch(() => undefined); // Told to whoever asked for it.
      await this.#readNow();
    })();
    this.#reading = reading;
    await reading;
  }

  async #readNow(): Promise<void> {
    const { path, log, onRevoked } = this.#options;
    const keySet = await readKeySet(path);
    const old = this.#keySet;
    if (keySet === undefined) {
      if (old !== undefined) log.warn('the file of keys is gone: the keys before stay in force', { path });
      return;
    }
    if (await isReadableByOthers(path)) log.warn('others can read the file of keys; chmod 600 it', { path });
    this.#keySet = keySet;
    log.info('keys read', { count: keySet.keys.length });
    const left = new Set(keySet.keys.map((key) => key.id));
    const revoked = new Set(old?.keys.map((key) => key.id).filter((id) => !left.has(id)));
    if (revoked.size > 0) onRevoked(revoked);
  }
}

/** Changes whenever the file is replaced or written to. */
async function stampOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs} ${size} ${ino}`;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'none';
    throw error;
  }
}
