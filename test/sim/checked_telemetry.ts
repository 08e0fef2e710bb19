/** Telemetry that looks whether what it is told can be a measurement, and adds up what is counted. */
import type { CounterName, GaugeName, HistogramName, LabelsOf, Telemetry } from '../../pipeline/telemetry.ts';
import type { Accuse } from './scripted_audio.ts';

export class CheckedTelemetry implements Telemetry {
  readonly #accuse: Accuse;
  readonly #totals = new Map<CounterName, number>();

  constructor(accuse: Accuse) {
    this.#accuse = accuse;
  }

  count<N extends CounterName>(name: N, _labels: LabelsOf<N>, by = 1): void {
    this.#check(name, by);
    this.#totals.set(name, this.total(name) + by);
  }

  /** Sum of a counter over all its labels. */
  total(name: CounterName): number {
    return this.#totals.get(name) ?? 0;
  }

  set<N extends GaugeName>(name: N, _labels: LabelsOf<N>, value: number): void {
    this.#check(name, value);
  }

  observe<N extends HistogramName>(name: N, _labels: LabelsOf<N>, value: number): void {
    this.#check(name, value);
  }

  #check(name: string, value: number): void {
    if (!(value >= 0 && value < Infinity)) this.#accuse('I8', `${name} was told ${value}`);
  }
}
