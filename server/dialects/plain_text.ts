/** Text as recognisers without punctuation write it, for clients that expect that. */

/** A word in lower case, without the punctuation around it; empty if it was nothing else. */
export function plainWord(word: string): string {
  return word.toLowerCase().replaceAll(/^[^\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+$/gu, '');
}

/** A text in lower case without punctuation, but for what stands inside a word. */
export function plainText(text: string): string {
  return text
    .split(/\s+/)
    .map(plainWord)
    .filter((word) => word !== '')
    .join(' ');
}
