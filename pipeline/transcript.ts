/** The text of one utterance as hypotheses come in: revisions, and the prefix that has settled. */

/** A partial as it is shown. */
export interface Revision {
  readonly revision: number;
  readonly text: string;
  readonly stableLength: number;
}

/**
 * Local agreement (Liu et al. 2020, "Low-latency sequence-to-sequence speech recognition"): what two successive
 * hypotheses agree on is stable. A later hypothesis may still disagree with it: only a final never changes.
 */
export class Transcript {
  #text = '';
  #revision = 0;

  get text(): string {
    return this.#text;
  }

  /**
   * Takes a hypothesis; returns the revision to show, or undefined while no word has been heard. Text that did not
   * change is shown too: it has settled, and the client sees that somebody still listens.
   */
  revise(text: string): Revision | undefined {
    if (text === '' && this.#revision === 0) return undefined;
    const stableLength = agreedLength(this.#text, text);
    this.#text = text;
    this.#revision++;
    return { revision: this.#revision, text, stableLength };
  }
}

/** Length of the longest common prefix of two texts that ends with a whole word of both. */
export function agreedLength(earlier: string, later: string): number {
  const shorter = Math.min(earlier.length, later.length);
  let same = 0;
  while (same < shorter && earlier[same] === later[same]) same++;
  while (same > 0 && !(isWordEnd(earlier, same) && isWordEnd(later, same))) same--;
  return same;
}

function isWordEnd(text: string, index: number): boolean {
  return index === text.length || text[index] === ' ';
}
