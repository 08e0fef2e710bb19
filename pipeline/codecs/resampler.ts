/**
 * Sample-rate conversion to 16 kHz: a windowed-sinc low-pass (Kaiser, 80 dB) evaluated at the times of the output
 * samples. It is our own because its state must be copied exactly, mid-stream, into another process (a replayed
 * session continues bit-identically), and because the result must not depend on how the input was cut.
 */
import assert from 'node:assert/strict';
import { SAMPLE_RATE_HZ } from '../audio.ts';
import {
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  RESAMPLER_FILTER_MAX_COUNT,
  RESAMPLER_PHASE_MAX_COUNT,
} from '../limits.ts';

/** Pass band and stop band end this far below and above the cut-off, as a share of it: 7 and 9 kHz around 8 kHz. */
const TRANSITION_RATIO = 0.125;
const STOP_BAND_DB = 84;
/** Kaiser's formulas for the window's shape and length (Oppenheim & Schafer, section 7.5.3). */
const KAISER_BETA = 0.1102 * (STOP_BAND_DB - 8.7);
const KAISER_LENGTH = (STOP_BAND_DB - 7.95) / 2.285;

/** The filter of one input rate, tabulated for each position of an output sample between two input samples. */
interface Filter {
  readonly inputRateHz: number;
  /** Input samples on each side of an output sample. */
  readonly halfTaps: number;
  readonly phaseCount: number;
  /** `phaseCount + 1` rows of `2 * halfTaps`, each summing to 1; the last is the first, one sample later. */
  readonly rows: Float64Array;
  /** The ratio of rates in lowest terms: output sample n lies at input position n * `down` / `up`. */
  readonly up: number;
  readonly down: number;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Modified Bessel function of the first kind, order 0, of √`square`, by its power series. */
function bessel0OfRoot(square: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-16; k++) {
    term *= square / (4 * k * k);
    sum += term;
  }
  return sum;
}

/** Fills `row` with the filter for an output sample that lies `fraction` of a sample after the middle tap. */
function fillRow(row: Float64Array, fraction: number, cutoffRatio: number): void {
  const halfTaps = row.length / 2;
  let sum = 0;
  for (let tap = 0; tap < row.length; tap++) {
    const distance = tap - (halfTaps - 1) - fraction;
    const x = Math.PI * cutoffRatio * distance;
    const sinc = x === 0 ? 1 : Math.sin(x) / x;
    const place = distance / halfTaps;
    const window = bessel0OfRoot(KAISER_BETA * KAISER_BETA * Math.max(0, 1 - place * place));
    row[tap] = sinc * window;
    sum += sinc * window;
  }
  // Equal gain for every row: otherwise a constant input would come out with a tone on it.
  for (let tap = 0; tap < row.length; tap++) row[tap] = (row[tap] ?? 0) / sum;
}

function designFilter(inputRateHz: number): Filter {
  const divisor = greatestCommonDivisor(SAMPLE_RATE_HZ, inputRateHz);
  const up = SAMPLE_RATE_HZ / divisor;
  const cutoffHz = Math.min(SAMPLE_RATE_HZ, inputRateHz) / 2;
  const transition = (2 * Math.PI * 2 * TRANSITION_RATIO * cutoffHz) / inputRateHz;
  // Even, so that a row is a multiple of four.
  const halfTaps = 2 * Math.ceil(KAISER_LENGTH / transition / 4);
  const phaseCount = Math.min(up, RESAMPLER_PHASE_MAX_COUNT);
  const taps = 2 * halfTaps;
  const rows = new Float64Array((phaseCount + 1) * taps);
  const rowOf = (phase: number): Float64Array => rows.subarray(phase * taps, (phase + 1) * taps);
  for (let phase = 0; 2 * phase <= phaseCount; phase++) {
    const row = rowOf(phase);
    fillRow(row, phase / phaseCount, (2 * cutoffHz) / inputRateHz);
    // As far before the next sample as that one lies after this.
    rowOf(phaseCount - phase).set(row.toReversed());
  }
  return { inputRateHz, halfTaps, phaseCount, rows, up, down: inputRateHz / divisor };
}

/** Filters by input rate, bounded. One per process is enough; resamplers share what it returns. */
export class FilterCache {
  readonly #filters = new Map<number, Filter>();

  /** The filter of an integer rate of 8,000–48,000 Hz; designed (about 10 ms) when it is first asked for. */
  filterFor(inputRateHz: number): Filter {
    const known = this.#filters.get(inputRateHz);
    if (known !== undefined) return known;
    assert(Number.isInteger(inputRateHz) && inputRateHz >= PCM_RATE_MIN_HZ && inputRateHz <= PCM_RATE_MAX_HZ);
    const filter = designFilter(inputRateHz);
    this.#filters.set(inputRateHz, filter);
    for (const oldest of this.#filters.keys()) {
      if (this.#filters.size <= RESAMPLER_FILTER_MAX_COUNT) break;
      this.#filters.delete(oldest);
    }
    return filter;
  }
}

/** Rounds to the nearest 16-bit sample and saturates. */
export function toPcmSample(value: number): number {
  return Math.max(-32_768, Math.min(32_767, Math.round(value)));
}

/**
 * Converts one mono stream to 16 kHz. Output sample n lies exactly at n / 16,000 s of the input: positions are not
 * shifted. It is held back until the input half a filter ahead of it has come (1.3 ms at 48 kHz, 2.8 ms at 8 kHz), so
 * the last of the input is never put out.
 */
export class Resampler {
  readonly #filter: Filter;
  /** Input not yet done with. Its first sample is under the first tap of the next output sample. */
  #tail: Float64Array;
  /** Position of the next output sample after the middle tap, in 1/`up` of an input sample. */
  #phase = 0;

  constructor(filter: Filter) {
    this.#filter = filter;
    this.#tail = new Float64Array(filter.halfTaps - 1);
  }

  /** Takes mono samples on the 16-bit scale (fractions allowed); returns all the output they complete. */
  push(input: Float64Array): Int16Array {
    const { halfTaps, up, down } = this.#filter;
    const taps = 2 * halfTaps;
    const line = new Float64Array(this.#tail.length + input.length);
    line.set(this.#tail);
    line.set(input, this.#tail.length);
    const output = new Int16Array(Math.ceil(((input.length + 1) * up) / down) + 1);
    let count = 0;
    let start = 0;
    while (start + taps <= line.length) {
      output[count++] = toPcmSample(this.#sampleAt(line, start));
      this.#phase += down;
      start += Math.floor(this.#phase / up);
      this.#phase %= up;
    }
    this.#tail = line.slice(start);
    return output.slice(0, count);
  }

  #sampleAt(line: Float64Array, start: number): number {
    const { halfTaps, phaseCount, up } = this.#filter;
    const taps = 2 * halfTaps;
    const position = (this.#phase * phaseCount) / up;
    const phase = Math.floor(position);
    const fraction = position - phase;
    const near = this.#dot(line, start, phase * taps);
    if (fraction === 0) return near;
    return near + fraction * (this.#dot(line, start, (phase + 1) * taps) - near);
  }

  /** One row of the filter over `line` from `start`. Four sums, because each addition waits for the one before it. */
  #dot(line: Float64Array, start: number, row: number): number {
    const { halfTaps, rows } = this.#filter;
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let tap = 0; tap < 2 * halfTaps; tap += 4) {
      a += (rows[row + tap] ?? 0) * (line[start + tap] ?? 0);
      b += (rows[row + tap + 1] ?? 0) * (line[start + tap + 1] ?? 0);
      c += (rows[row + tap + 2] ?? 0) * (line[start + tap + 2] ?? 0);
      d += (rows[row + tap + 3] ?? 0) * (line[start + tap + 3] ?? 0);
    }
    return a + b + (c + d);
  }

  /** The whole state: the phase, then the input that is still needed. A copy. */
  save(): Float64Array {
    return Float64Array.of(this.#phase, ...this.#tail);
  }

  /** Takes over a state saved by a resampler of the same rate. Throws `AssertionError` for any other. */
  restore(saved: Float64Array): void {
    const [phase = -1] = saved;
    assert(Number.isInteger(phase) && phase >= 0 && phase < this.#filter.up, 'not a state of this rate');
    assert(saved.length <= 2 * this.#filter.halfTaps, 'the saved state is longer than the filter');
    this.#phase = phase;
    this.#tail = saved.slice(1);
  }
}
