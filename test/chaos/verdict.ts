/** What a row of the table finds out while it runs, put together as its outcome. */
import { judged, type Outcome } from './scenario.ts';

type Counts = Partial<Pick<Outcome, 'utterances' | 'lost' | 'repeated' | 'wrong'>>;

/** Each fault and each kind of failure is listed once, however often it is seen. */
const LISTED_MAX_COUNT = 8;

export class Verdict {
  readonly #figures: string[] = [];
  readonly #violations = new Set<string>();
  readonly #misses = new Set<string>();

  /** A promise: broken, it fails the run. */
  expect(isKept: boolean, otherwise: string): void {
    if (!isKept) this.#violations.add(otherwise);
  }

  /** A time that depends on the machine too: beyond its bound it fails the run only with `--strict`. */
  measure(what: string, value: number, bound: { readonly max: number; readonly unit: string }): void {
    const text = `${what} ${Number(value.toFixed(1))} ${bound.unit}`;
    this.#figures.push(text);
    if (value > bound.max) this.#misses.add(`${text}, not ${bound.max}`);
  }

  figure(text: string): void {
    this.#figures.push(text);
  }

  /** `counts` where people speak. */
  outcome(injected: number, counts: Counts = {}): Outcome {
    if (injected === 0) this.expect(false, 'nothing was injected');
    const nobodySpeaks = { utterances: undefined, lost: undefined, repeated: undefined, wrong: undefined };
    return judged({
      ...nobodySpeaks,
      ...counts,
      injected,
      figures: this.#figures,
      violations: [...this.#violations].slice(0, LISTED_MAX_COUNT),
      misses: [...this.#misses],
    });
  }
}
