/** What a row of the table finds out while it runs, put together as its outcome. */
import { judged, NOBODY_SPEAKS, type Outcome } from './scenario.ts';

interface Counts extends Partial<Pick<Outcome, 'utterances' | 'lost' | 'repeated' | 'wrong'>> {
  /** What was wrong, in words. */
  readonly examples?: readonly string[];
}

/** Each fault and each kind of failure is listed once, however often it is seen. */
const LISTED_MAX_COUNT = 8;
/** A machine with other work on both cores was seen to take eleven times as long; what takes longer than this is the server. */
const FAILS_AT_RATIO = 20;

/** A bound on a figure that says as much about the machine as about the server. */
export interface Bound {
  readonly max: number;
  readonly unit: string;
  /** Beyond so many times `max` the server is at fault on any machine; default 20. */
  readonly failsAtRatio?: number;
}

export class Verdict {
  readonly #prefix: string;
  readonly #figures: string[] = [];
  readonly #violations = new Set<string>();
  readonly #misses = new Set<string>();

  /** `prefix` stands before all that is said. */
  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  /** A promise: broken, it fails the run. */
  expect(isKept: boolean, otherwise: string): void {
    if (!isKept) this.#violations.add(`${this.#prefix}${otherwise}`);
  }

  /** A figure with its bound: beyond it a run with `--strict` fails, and far beyond it every run. */
  measure(what: string, value: number, { max, unit, failsAtRatio = FAILS_AT_RATIO }: Bound): void {
    const text = `${what} ${Number(value.toFixed(1))} ${unit}`;
    this.figure(text);
    if (value <= max) return;
    const isAtFault = !(value <= failsAtRatio * max);
    (isAtFault ? this.#violations : this.#misses).add(`${this.#prefix}${text}, not ${max}`);
  }

  figure(text: string): void {
    this.#figures.push(`${this.#prefix}${text}`);
  }

  /** `counts` where people speak. */
  outcome(injected: number, { examples = [], ...counts }: Counts = {}): Outcome {
    this.expect(injected > 0, 'nothing was injected');
    for (const example of examples) this.expect(false, example);
    return judged({
      ...NOBODY_SPEAKS,
      ...counts,
      injected,
      figures: this.#figures,
      violations: [...this.#violations].slice(0, LISTED_MAX_COUNT),
      misses: [...this.#misses],
    });
  }
}
