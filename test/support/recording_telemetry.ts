/** Telemetry that remembers everything it was told. */
import type { CounterName, GaugeName, HistogramName, LabelsOf, Telemetry } from '../../pipeline/telemetry.ts';

export class RecordingTelemetry implements Telemetry {
  readonly #counts = new Map<string, number>();
  readonly #gauges = new Map<string, number>();
  readonly #observed = new Map<string, number[]>();

  count<N extends CounterName>(name: N, labels: LabelsOf<N>, by = 1): void {
    const key = keyOf(name, labels);
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by);
  }

  set<N extends GaugeName>(name: N, labels: LabelsOf<N>, value: number): void {
    this.#gauges.set(keyOf(name, labels), value);
  }

  forget<N extends GaugeName>(name: N, labels: LabelsOf<N>): void {
    this.#gauges.delete(keyOf(name, labels));
  }

  observe<N extends HistogramName>(name: N, labels: LabelsOf<N>, value: number): void {
    const key = keyOf(name, labels);
    this.#observed.set(key, [...(this.#observed.get(key) ?? []), value]);
  }

  /** Sum of a counter with exactly these labels; 0 if it was never counted. */
  total<N extends CounterName>(name: N, labels: LabelsOf<N>): number {
    return this.#counts.get(keyOf(name, labels)) ?? 0;
  }

  gauge<N extends GaugeName>(name: N, labels: LabelsOf<N>): number | undefined {
    return this.#gauges.get(keyOf(name, labels));
  }

  /** Values of a histogram with exactly these labels, in order. */
  values<N extends HistogramName>(name: N, labels: LabelsOf<N>): readonly number[] {
    return this.#observed.get(keyOf(name, labels)) ?? [];
  }
}

function keyOf(name: string, labels: object): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([name, pairs]);
}
