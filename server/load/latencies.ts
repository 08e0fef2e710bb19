/** Durations in bounded memory: an HDR histogram, which joins those of several processes without loss. */
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from 'hdr-histogram-js';
import { LOAD_LATENCY_MAX_MS } from '../../pipeline/limits.ts';

/** Quantiles of some durations, in ms; NaN when there were none. */
export interface Quantiles {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Durations are counted in tenths of a ms: exact up to 200 ms, within a thousandth above. */
const UNITS_PER_MS = 10;

export class Latencies {
  readonly #histogram: Histogram = build({
    bitBucketSize: 32,
    autoResize: true,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LOAD_LATENCY_MAX_MS * UNITS_PER_MS,
    numberOfSignificantValueDigits: 3,
  });

  /** Those of `valuesMs`. */
  static of(valuesMs: Iterable<number>): Latencies {
    const latencies = new Latencies();
    for (const valueMs of valuesMs) latencies.record(valueMs);
    return latencies;
  }

  /** What `encode` made. */
  static decode(text: string): Latencies {
    const latencies = new Latencies();
    latencies.#histogram.add(decodeFromCompressedBase64(text));
    return latencies;
  }

  /** Counts a duration; what came before its time counts as no delay. */
  record(valueMs: number): void {
    const boundMs = Math.min(Math.max(0, valueMs), LOAD_LATENCY_MAX_MS);
    this.#histogram.recordValue(Math.round(boundMs * UNITS_PER_MS));
  }

  add(other: Latencies): void {
    this.#histogram.add(other.#histogram);
  }

  /** By the nearest rank: each is a duration that occurred, to a thousandth. */
  quantiles(): Quantiles {
    const histogram = this.#histogram;
    const count = histogram.totalCount;
    if (count === 0) return { count: 0, p50: NaN, p95: NaN, p99: NaN, max: NaN };
    const max = histogram.maxValue / UNITS_PER_MS;
    // The histogram answers with the upper end of a value's bucket.
    const at = (percentile: number): number =>
      Math.min(max, histogram.getValueAtPercentile(percentile) / UNITS_PER_MS);
    return { count, p50: at(50), p95: at(95), p99: at(99), max };
  }

  /** As text, for another process. */
  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram);
  }
}
