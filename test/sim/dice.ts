/** The only source of chance in the simulation: each concern draws from a stream of its own. */
import { seededRandom } from '../support/random.ts';

export class Dice {
  readonly #seed: number;
  readonly #next: () => number;

  constructor(seed: number) {
    this.#seed = seed;
    this.#next = seededRandom(seed);
  }

  /** A stream that depends on the seed and the name alone: what one concern draws does not shift another's. */
  stream(name: string): Dice {
    let hash = this.#seed ^ 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return new Dice(hash);
  }

  /** In [0, 1). */
  unit(): number {
    return this.#next();
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** In [from, to). */
  between(from: number, to: number): number {
    return from + (to - from) * this.#next();
  }

  /** In [from, to), small values as likely as large ones by order of magnitude. */
  magnitude(from: number, to: number): number {
    return from * (to / from) ** this.#next();
  }

  /** A whole number in [from, to]. */
  whole(from: number, to: number): number {
    return from + Math.floor((to - from + 1) * this.#next());
  }

  pick<T>(options: readonly [T, ...T[]]): T {
    return options[this.whole(0, options.length - 1)] ?? options[0];
  }
}
