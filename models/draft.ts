/** A guess at what will be decoded, kept in step with what is. Pure bookkeeping over token ids. */
import { END_TOKEN, VOCABULARY_SIZE } from './moonshine_facts.ts';

/** How far behind and ahead of its place the continuation of a draft is looked for after a disagreement. */
const REALIGN_REACH_TOKENS = 8;
/** Decided tokens that must agree before the rest is offered again: one agrees too often by chance. */
const REALIGN_MATCH_TOKENS = 1;

/** Fewest tokens worth offering: reading two together takes as long as reading one after the other. */
const OFFER_MIN_TOKENS = 2;

function isToken(token: number): boolean {
  return Number.isInteger(token) && token >= 0 && token < VOCABULARY_SIZE && token !== END_TOKEN;
}

/**
 * The rest of a draft. After a disagreement the place where the decided tokens go on is looked for in the draft, so
 * that one changed word does not lose the words after it.
 */
export class Draft {
  readonly #tokens: readonly number[];
  /** Where in the draft the next decided token is expected; undefined while the two do not agree. */
  #at: number | undefined = 0;
  /** The last place known to agree. */
  #anchor = 0;
  readonly #decided: number[] = [];

  constructor(tokens: readonly number[]) {
    const end = tokens.findIndex((token) => !isToken(token));
    this.#tokens = end < 0 ? tokens : tokens.slice(0, end);
  }

  /** The tokens that the draft expects next, at most `count`. */
  offer(count: number): readonly number[] {
    if (this.#at === undefined || count < OFFER_MIN_TOKENS) return [];
    const offered = this.#tokens.slice(this.#at, this.#at + count);
    return offered.length < OFFER_MIN_TOKENS ? [] : offered;
  }

  /** Tells which tokens were decided. */
  follow(tokens: readonly number[]): void {
    for (const token of tokens) {
      this.#decided.push(token);
      if (this.#at !== undefined && this.#tokens[this.#at] === token) {
        this.#at++;
        this.#anchor = this.#at;
      } else {
        this.#at = undefined;
        this.#anchor++;
      }
    }
    this.#at ??= this.#realigned();
  }

  /** The place in the draft, nearest to where it should be, before which the last decided tokens stand. */
  #realigned(): number | undefined {
    const tail = this.#decided.slice(-REALIGN_MATCH_TOKENS);
    for (let distance = 0; distance <= REALIGN_REACH_TOKENS; distance++) {
      for (const place of [this.#anchor - distance, this.#anchor + distance]) {
        const start = place - tail.length;
        if (
          start >= 0 &&
          place < this.#tokens.length &&
          tail.every((token, i) => token === this.#tokens[start + i])
        )
          return place;
      }
    }
    return undefined;
  }
}
