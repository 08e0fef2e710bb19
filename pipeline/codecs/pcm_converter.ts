/** Samples of any format, rate and number of channels, in bytes cut anywhere, to 16 kHz mono. */
import assert from 'node:assert/strict';
import { SAMPLE_RATE_HZ } from '../audio.ts';
import { PCM_RATE_MAX_HZ } from '../limits.ts';
import { SAMPLE_FORMATS, type SampleFormat, type SampleFormatName } from './pcm_samples.ts';
import { Resampler, toPcmSample, type FilterCache } from './resampler.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

const SNAPSHOT_KIND = 'C';
/** Silence that brings the resampler's last samples out: longer than half of any filter. */
const TAIL_SAMPLES = 480;

/** What is to be converted; `channels` are interleaved. */
export interface PcmLayout {
  readonly samples: SampleFormatName;
  /** A whole number from 8,000 on; above 48,000 only if `isConvertibleRate` says so. */
  readonly sampleRateHz: number;
  readonly channels: number;
}

const FORMAT_NAMES = Object.keys(SAMPLE_FORMATS) as SampleFormatName[];

/** A layout, or none, as numbers for a snapshot. */
export function layoutFields(layout: PcmLayout | undefined): number[] {
  if (layout === undefined) return [];
  return [FORMAT_NAMES.indexOf(layout.samples), layout.sampleRateHz, layout.channels];
}

/** The layout of the numbers that `layoutFields` gave. */
export function layoutOf([format = -1, sampleRateHz = 0, channels = 0]: readonly number[]):
  PcmLayout | undefined {
  const samples = FORMAT_NAMES[format];
  return samples === undefined ? undefined : { samples, sampleRateHz, channels };
}

/** How many samples in a row are brought down to one first: high rates go through plain means. */
function factorOf(sampleRateHz: number): number {
  return Math.ceil(sampleRateHz / PCM_RATE_MAX_HZ);
}

/** True for a rate that whole factors bring to a whole rate of at most 48 kHz. */
export function isConvertibleRate(sampleRateHz: number): boolean {
  return Number.isInteger(sampleRateHz / factorOf(sampleRateHz));
}

/** Deterministic: any cut of the same bytes gives the same samples. What is no sample becomes silence. */
export class PcmConverter {
  readonly #layout: PcmLayout;
  readonly #format: SampleFormat;
  /** Samples that become one: channels, and at high rates neighbours. What folds into speech from above 32 kHz, no microphone records. */
  readonly #meanOf: number;
  /** Absent at 16 kHz: the samples pass unchanged. */
  readonly #resampler: Resampler | undefined;
  #carry = new Uint8Array(0);

  constructor(layout: PcmLayout, filters: FilterCache) {
    const factor = factorOf(layout.sampleRateHz);
    const rateHz = layout.sampleRateHz / factor;
    this.#layout = layout;
    this.#format = SAMPLE_FORMATS[layout.samples];
    this.#meanOf = layout.channels * factor;
    this.#resampler = rateHz === SAMPLE_RATE_HZ ? undefined : new Resampler(filters.filterFor(rateHz));
  }

  /** Takes the next bytes; `isDamaged` if some of them are no samples. */
  push(message: Uint8Array): { readonly pcm: Int16Array; readonly isDamaged: boolean } {
    const bytes = new Uint8Array(this.#carry.length + message.length);
    bytes.set(this.#carry);
    bytes.set(message, this.#carry.length);
    const frameBytes = this.#format.bytes * this.#meanOf;
    const mono = new Float64Array(Math.floor(bytes.length / frameBytes));
    const view = new DataView(bytes.buffer);
    let isDamaged = false;
    for (let i = 0; i < mono.length; i++) {
      let sum = 0;
      for (let j = 0; j < this.#meanOf; j++)
        sum += this.#format.read(view, i * frameBytes + j * this.#format.bytes);
      isDamaged ||= Number.isNaN(sum);
      mono[i] = Number.isNaN(sum) ? 0 : sum / this.#meanOf;
    }
    this.#carry = bytes.slice(mono.length * frameBytes);
    return { pcm: this.#toTarget(mono), isDamaged };
  }

  /** The last samples, which the resampler holds back, and some silence. */
  drain(): Int16Array {
    return this.#resampler?.push(new Float64Array(TAIL_SAMPLES)) ?? new Int16Array(0);
  }

  #toTarget(mono: Float64Array): Int16Array {
    return this.#resampler === undefined ? Int16Array.from(mono, toPcmSample) : this.#resampler.push(mono);
  }

  save(): Uint8Array {
    const words = this.#resampler?.save() ?? new Float64Array(0);
    return packSnapshot(SNAPSHOT_KIND, {
      fields: layoutFields(this.#layout),
      parts: [this.#carry, new Uint8Array(words.buffer)],
    });
  }

  /** Throws `AssertionError` for anything but what `save` gave of the same layout. */
  restore(saved: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, saved);
    assert.deepEqual(
      fields,
      layoutFields(this.#layout),
      'a PCM snapshot is of another rate, format or other channels',
    );
    const [carry = new Uint8Array(0), words = new Uint8Array(0)] = parts;
    assert(carry.length < this.#format.bytes * this.#meanOf, 'a PCM snapshot carries a whole frame');
    // A copy starts at offset 0, which float64 words need; the snapshot may lie anywhere in its buffer.
    this.#resampler?.restore(new Float64Array(words.slice().buffer));
    this.#carry = carry.slice();
  }
}
