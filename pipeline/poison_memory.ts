/**
 * Which audio has ended workers. A final that has used up its tries makes its audio poison: it is refused from then
 * on, whoever sends it. Audio that begins like one that ended a worker is suspect: it gets no partials, for what kills
 * is usually a prefix, and every partial would be another prefix. Nothing is hashed while nothing is remembered.
 */
import { createHash } from 'node:crypto';
import { msToSamples, samplesToMs } from './audio.ts';
import type { Clock } from './clock.ts';
import {
  POISON_HEAD_MS,
  POISON_MEMORY_MAX_COUNT,
  QUARANTINE_AGE_MAX_MS,
  SUSPECT_AGE_MAX_MS,
} from './limits.ts';

/** `poison` must reach no worker; `suspect` may as a final only; `clean` may. */
export type PoisonVerdict = 'clean' | 'suspect' | 'poison';

/** What is known of poison without its audio. */
export interface Poison {
  /** SHA-256 of the samples (16-bit little-endian), in hex. */
  readonly contentHash: string;
  /** The same of the first POISON_HEAD_MS, or of all if there is less. */
  readonly headHash: string;
  readonly durationMs: number;
  /** Workers that it ended. */
  readonly deathCount: number;
}

/** Where poison is kept beyond the life of the process. */
export interface Quarantine {
  /** Told once for each poison. Must neither throw nor block; `pcm` is shared and must not be written to. */
  keep(poison: Poison, pcm: Int16Array): void;
}

export interface PoisonMemoryOptions {
  readonly clock: Clock;
  /** Absent: poison is remembered in this process only. */
  readonly quarantine?: Quarantine;
}

interface Remembered {
  readonly headHash: string;
  readonly expiresAtMs: number;
}

/** SHA-256 of 16 kHz mono PCM in hex: 1.6 ms for 30 s of audio. */
export function contentHash(pcm: Int16Array): string {
  return createHash('sha256')
    .update(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength))
    .digest('hex');
}

export class PoisonMemory {
  readonly #options: PoisonMemoryOptions;
  /** By content hash, the oldest first. */
  readonly #poisons = new Map<string, Remembered>();
  /** Expiry by head hash, the oldest first. */
  readonly #suspects = new Map<string, number>();

  constructor(options: PoisonMemoryOptions) {
    this.#options = options;
  }

  /** Contents that are refused. */
  get count(): number {
    this.#expire();
    return this.#poisons.size;
  }

  judge(pcm: Int16Array): PoisonVerdict {
    this.#expire();
    if (this.#poisons.size === 0 && this.#suspects.size === 0) return 'clean';
    const headHash = hashOfHead(pcm);
    const beginsAlike = [...this.#poisons.values()].some((poison) => poison.headHash === headHash);
    if (beginsAlike && this.#poisons.has(contentHash(pcm))) return 'poison';
    // Too short to tell from the beginning of any poison: a partial of it can wait for more audio.
    const isUnclear = this.#poisons.size > 0 && pcm.length < HEAD_SAMPLES;
    return beginsAlike || isUnclear || this.#suspects.has(headHash) ? 'suspect' : 'clean';
  }

  /** A worker ended on this audio. */
  suspect(pcm: Int16Array): void {
    const expiresAtMs = this.#options.clock.nowMs() + SUSPECT_AGE_MAX_MS;
    setBounded(this.#suspects, hashOfHead(pcm), expiresAtMs);
  }

  /** A worker survived this final: what was held against its beginning was chance. */
  absolve(pcm: Int16Array): void {
    if (this.#suspects.size > 0) this.#suspects.delete(hashOfHead(pcm));
  }

  /** This audio has used up its tries: so many workers ended on it. */
  condemn(pcm: Int16Array, deathCount: number): void {
    const poison = {
      contentHash: contentHash(pcm),
      headHash: hashOfHead(pcm),
      durationMs: samplesToMs(pcm.length),
      deathCount,
    };
    this.remember(poison, 0);
    this.#options.quarantine?.keep(poison, pcm);
  }

  /** Refuses what became poison `ageMs` ago, in this process or an earlier one. */
  remember({ contentHash: hash, headHash }: Poison, ageMs: number): void {
    const expiresAtMs = this.#options.clock.nowMs() + QUARANTINE_AGE_MAX_MS - ageMs;
    setBounded(this.#poisons, hash, { headHash, expiresAtMs });
  }

  /** Gives this content, and what begins like it, new tries. */
  forget(hash: string): void {
    const poison = this.#poisons.get(hash);
    if (poison === undefined) return;
    this.#poisons.delete(hash);
    this.#suspects.delete(poison.headHash);
  }

  #expire(): void {
    if (this.#poisons.size === 0 && this.#suspects.size === 0) return;
    const nowMs = this.#options.clock.nowMs();
    for (const [hash, { expiresAtMs }] of this.#poisons) if (expiresAtMs <= nowMs) this.#poisons.delete(hash);
    for (const [hash, expiresAtMs] of this.#suspects) if (expiresAtMs <= nowMs) this.#suspects.delete(hash);
  }
}

const HEAD_SAMPLES = msToSamples(POISON_HEAD_MS);

function hashOfHead(pcm: Int16Array): string {
  return contentHash(pcm.subarray(0, HEAD_SAMPLES));
}

/** Sets an entry as the newest; beyond POISON_MEMORY_MAX_COUNT the oldest goes. */
export function setBounded<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= POISON_MEMORY_MAX_COUNT) return;
    map.delete(oldest);
  }
}
