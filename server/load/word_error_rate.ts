/** How far a transcript is from what was said, in words. */

/** Words as they are compared: lower case, without punctuation (but for apostrophes inside), hyphens as spaces. */
export function normalisedWords(text: string): string[] {
  return text
    .toLowerCase()
    .replaceAll('’', "'")
    .replaceAll(/[^\p{L}\p{M}\p{N}']+/gu, ' ')
    .split(' ')
    .map((word) => word.replaceAll(/^'+|'+$/g, ''))
    .filter((word) => word !== '');
}

/** Fewest substitutions, insertions and deletions that turn one sequence of words into the other (Levenshtein). */
export function wordEditCount(reference: readonly string[], hypothesis: readonly string[]): number {
  let row = Array.from({ length: hypothesis.length + 1 }, (_, i) => i);
  for (const [i, expected] of reference.entries()) {
    const next = [i + 1];
    for (const [j, found] of hypothesis.entries()) {
      const substituted = at(row, j) + (expected === found ? 0 : 1);
      next.push(Math.min(substituted, at(row, j + 1) + 1, at(next, j) + 1));
    }
    row = next;
  }
  return at(row, hypothesis.length);
}

/**
 * Edits per word of the reference: 0 for the same words, above 1 when more was invented than said. With no words in
 * the reference it is 0 for no words in the hypothesis and infinite otherwise.
 */
export function wordErrorRate(reference: string, hypothesis: string): number {
  const expected = normalisedWords(reference);
  const edits = wordEditCount(expected, normalisedWords(hypothesis));
  return edits === 0 ? 0 : edits / expected.length;
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
