/** A stretch of PCM that knows its place in the audio: appended at its end, forgotten from its start. */
import assert from 'node:assert/strict';

/** Smallest allocation; a typical look-back fits without growing. */
const CAPACITY_MIN_SAMPLES = 16_384;

export class AudioSpan {
  #samples = new Int16Array(0);
  /** Index of the first sample that is still held. */
  #head = 0;
  #length = 0;
  #startSamples: number;

  constructor(startSamples: number) {
    this.#startSamples = startSamples;
  }

  get startSamples(): number {
    return this.#startSamples;
  }

  get endSamples(): number {
    return this.#startSamples + this.#length;
  }

  /** Appends PCM that begins at `startSamples`; where that is not our end, what we hold is let go first. */
  append(startSamples: number, pcm: Int16Array): void {
    if (startSamples !== this.endSamples) {
      this.#head = 0;
      this.#length = 0;
      this.#startSamples = startSamples;
    }
    if (this.#head + this.#length + pcm.length > this.#samples.length)
      this.#makeRoom(this.#length + pcm.length);
    this.#samples.set(pcm, this.#head + this.#length);
    this.#length += pcm.length;
  }

  /** A copy of [fromSamples, toSamples), which must lie inside what is held. */
  slice(fromSamples: number, toSamples: number): Int16Array {
    assert(fromSamples >= this.#startSamples && toSamples <= this.endSamples, 'the span is held');
    const offset = this.#head - this.#startSamples;
    return this.#samples.slice(fromSamples + offset, toSamples + offset);
  }

  /** Forgets what lies before `samples`. */
  dropBefore(samples: number): void {
    const count = Math.min(this.#length, Math.max(0, samples - this.#startSamples));
    this.#head += count;
    this.#length -= count;
    this.#startSamples += count;
  }

  /** Gives back memory that is not needed for what is held. */
  compact(): void {
    this.#samples = this.#samples.slice(this.#head, this.#head + this.#length);
    this.#head = 0;
  }

  /** Moves to the front, in twice the space that is needed: the copying is amortised. */
  #makeRoom(neededSamples: number): void {
    const capacity = Math.max(CAPACITY_MIN_SAMPLES, neededSamples * 2);
    const roomy = capacity > this.#samples.length ? new Int16Array(capacity) : this.#samples;
    roomy.set(this.#samples.subarray(this.#head, this.#head + this.#length));
    this.#samples = roomy;
    this.#head = 0;
  }
}
