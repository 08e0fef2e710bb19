/** Poison on disk: the facts, and where the operator wants it the audio; bounded in count, bytes and age. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import {
  QUARANTINE_AGE_MAX_MS,
  QUARANTINE_MAX_BYTES,
  QUARANTINE_MAX_COUNT,
  QUARANTINE_SWEEP_INTERVAL_MS,
} from '../../pipeline/limits.ts';
import type { Poison, Quarantine } from '../../pipeline/poison_memory.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import { DiskQueue } from './disk_queue.ts';
import type { Log } from './log.ts';
import { PrivateFolder, type FileSystem } from './private_folder.ts';
import type { Config } from '../settings.ts';
import { VERSION } from '../version.ts';
import { renderWav } from '../commands/wav_writer.ts';

const ID_LENGTH = 16;
const NAME = new RegExp(`^[\\da-f]{${ID_LENGTH}}\\.(json|wav)$`);
const sha256 = z.string().regex(/^[\da-f]{64}$/);
const recordSchema = z.object({
  version: z.literal(1),
  id: z.string(),
  at: z.iso.datetime(),
  contentHash: sha256,
  headHash: sha256,
  durationMs: z.number().nonnegative(),
  deathCount: z.int(),
  model: z.string(),
  earwitness: z.string(),
  audioFile: z.string().nullable(),
});

/** One quarantined content, as it is on disk. `at` is ISO 8601; `audioFile` is null where only the facts are kept. */
export type QuarantineRecord = Readonly<z.infer<typeof recordSchema>>;

/** A folder of quarantined audio. `now` is the wall clock. */
export function openQuarantineFolder(
  path: string,
  options: { readonly now: () => Date; readonly files?: FileSystem },
): PrivateFolder {
  const bounds = {
    maxCount: QUARANTINE_MAX_COUNT,
    maxBytes: QUARANTINE_MAX_BYTES,
    maxAgeMs: QUARANTINE_AGE_MAX_MS,
  };
  return new PrivateFolder({ path, bounds, isOurs: (name) => NAME.test(name), ...options });
}

/** The records of a folder, the newest first; files that are no records are skipped. Throws what node:fs throws. */
export async function readQuarantine(folder: PrivateFolder): Promise<readonly QuarantineRecord[]> {
  const records: QuarantineRecord[] = [];
  for (const name of await folder.names()) {
    if (!name.endsWith('.json')) continue;
    const record = parseRecord(await readFile(join(folder.path, name), 'utf8').catch(() => ''));
    if (record !== undefined) records.push(record);
  }
  return records.sort((a, b) => (a.at < b.at ? 1 : -1));
}

function parseRecord(text: string): QuarantineRecord | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    // Cut off, or removed while the folder was read.
    return undefined;
  }
}

/** Removes a record with its audio. */
export async function removeFromQuarantine(folder: PrivateFolder, record: QuarantineRecord): Promise<void> {
  await folder.remove(`${record.id}.json`);
  if (record.audioFile !== null) await folder.remove(record.audioFile);
}

export interface DiskQuarantineOptions {
  readonly folder: string;
  readonly mode: Config['quarantine'];
  readonly model: string;
  readonly clock: Clock;
  readonly now: () => Date;
  readonly telemetry: Telemetry;
  readonly log: Log;
  /** Content that was poison when an earlier process ended. */
  readonly onKnown: (poison: Poison, ageMs: number) => void;
  /** Content that is on disk no more: expired, or cleared by an operator. */
  readonly onForgotten: (contentHash: string) => void;
  readonly files?: FileSystem;
}

export class DiskQuarantine implements Quarantine {
  readonly #options: DiskQuarantineOptions;
  readonly #folder: PrivateFolder;
  /** Content hashes by the name of their file. */
  readonly #onDisk = new Map<string, string>();
  readonly #queue: DiskQueue;
  #cancelSweep: Cancel | undefined;
  #isClosed = false;

  constructor(options: DiskQuarantineOptions) {
    this.#options = options;
    const { folder, now, files, clock } = options;
    this.#queue = new DiskQueue(clock);
    this.#folder = openQuarantineFolder(folder, { now, ...(files === undefined ? {} : { files }) });
  }

  /** Tells what is on disk and begins to look after it. Never rejects, and does not wait for long. */
  async open(): Promise<void> {
    if (this.#options.mode === 'off') return;
    this.#enqueue(async () => {
      await this.#folder.open(() => {
        const { log, folder } = this.#options;
        log.warn('others can look into the folder of the quarantine, but read nothing', { folder });
      });
      for (const record of await readQuarantine(this.#folder)) {
        this.#onDisk.set(`${record.id}.json`, record.contentHash);
        const ageMs = this.#options.now().getTime() - Date.parse(record.at);
        this.#options.onKnown(record, Math.max(0, ageMs));
      }
    });
    await this.#queue.settled();
    this.#armSweep();
  }

  keep(poison: Poison, pcm: Int16Array): void {
    const { mode, log } = this.#options;
    const { contentHash, durationMs } = poison;
    log.error('audio quarantined', { contentHash, durationMs, mode });
    if (mode === 'off' || this.#isClosed) return;
    this.#enqueue(() => this.#write(poison, mode === 'full' ? pcm : undefined));
  }

  /** Looks through the folder for what has expired and for what is gone; resolves when that and all writes are done. */
  sweep(): Promise<void> {
    this.#enqueue(async () => {
      await this.#folder.prune();
      const names = new Set(await this.#folder.names());
      for (const [name, contentHash] of this.#onDisk) {
        if (names.has(name)) continue;
        this.#onDisk.delete(name);
        this.#options.onForgotten(contentHash);
      }
    });
    return this.#queue.settled();
  }

  /** Ends the sweeps and resolves when what was kept is written, or the disk does not answer. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelSweep?.();
    await this.#queue.settled();
  }

  async #write(poison: Poison, pcm: Int16Array | undefined): Promise<void> {
    const id = poison.contentHash.slice(0, ID_LENGTH);
    const audioFile = pcm === undefined ? null : `${id}.wav`;
    const { now, model } = this.#options;
    const record: QuarantineRecord = {
      version: 1,
      id,
      at: now().toISOString(),
      ...poison,
      model,
      earwitness: VERSION,
      audioFile,
    };
    // The audio first: a record that names it must not be without it.
    if (pcm !== undefined && audioFile !== null) await this.#folder.write(audioFile, renderWav(pcm));
    await this.#folder.write(`${id}.json`, Buffer.from(`${JSON.stringify(record, null, 2)}\n`));
    this.#onDisk.set(`${id}.json`, poison.contentHash);
    await this.#folder.prune();
  }

  #armSweep(): void {
    if (this.#isClosed) return;
    this.#cancelSweep = this.#options.clock.after(QUARANTINE_SWEEP_INTERVAL_MS, () => {
      void this.sweep();
      this.#armSweep();
    });
  }

  #enqueue(work: () => Promise<void>): void {
    const verdict = this.#queue.push(() => this.#guard(work));
    if (verdict === 'full') this.#fail(new Error('too much waits for the disk'));
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#options.telemetry.count('quarantine_write_failures_total', {});
    this.#options.log.error('the quarantine cannot be kept on disk', { err: error });
  }
}
