/** Turns the token ids of a Moonshine model into text. */

/** First id of the special tokens that Moonshine adds to the Llama vocabulary of 32,000. */
const SPECIAL_TOKENS_START = 32_000;
/** `<unk>`, `<s>` and `</s>` come before the first token that stands for text. */
const FIRST_TEXT_TOKEN = 3;

/** Text of token ids; the ids that stand for no text are left out, the text is trimmed. */
export interface Tokenizer {
  decode(tokens: readonly number[]): string;
}

function isTextToken(token: number): boolean {
  return token >= FIRST_TEXT_TOKEN && token < SPECIAL_TOKENS_START;
}

/**
 * Loads the Llama vocabulary. Takes about 0.1 s the first time, because the package unpacks its vocabulary when it
 * is imported: that is why the import is not at the top of this file.
 */
export async function loadTokenizer(): Promise<Tokenizer> {
  const { default: llama } = await import('llama-tokenizer-js');
  return {
    decode: (tokens) => llama.decode(tokens.filter(isTextToken), false).trim(),
  };
}
