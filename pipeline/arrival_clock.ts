/** When audio has stopped coming. */
import { isContainerEncoding, type AudioFormat } from './audio.ts';
import { CONTAINER_SLICE_MAX_MS } from './limits.ts';

/**
 * Counts from the last message. A recorder sends its container in slices, each when it is full, and between two of them
 * nothing is missing: a slice is taken to last as long as the last one took to come.
 */
export class ArrivalClock {
  readonly #sliceMaxMs: number;
  #sliceMs: number;
  #atMs: number;

  constructor({ encoding }: AudioFormat, nowMs: number) {
    this.#sliceMaxMs = isContainerEncoding(encoding) ? CONTAINER_SLICE_MAX_MS : 0;
    this.#sliceMs = this.#sliceMaxMs;
    this.#atMs = nowMs;
  }

  /** A message has come. */
  note(nowMs: number): void {
    this.#sliceMs = Math.min(this.#sliceMaxMs, nowMs - this.#atMs);
    this.#atMs = nowMs;
  }

  /** We did not listen for so long. */
  forgive(stalledMs: number): void {
    this.#atMs += stalledMs;
  }

  /** Time for which nothing has come although it should have; below zero while nothing is due. */
  missingMs(nowMs: number): number {
    return nowMs - this.#atMs - this.#sliceMs;
  }
}
