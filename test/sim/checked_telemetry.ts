/** Telemetry that only looks whether what it is told can be a measurement. */
import type { CounterName, GaugeName, HistogramName, LabelsOf, Telemetry } from '../../pipeline/telemetry.ts';
import type { Accuse } from './scripted_audio.ts';

export class CheckedTelemetry implements Telemetry {
  readonly #accuse: Accuse;

  constructor(accuse: Accuse) {
    this.#accuse = accuse;
  }

  count<N extends CounterName>(name: N, _labels: LabelsOf<N>, by = 1): void {
    this.#check(name, by);
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
