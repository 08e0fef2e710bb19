/** Greedy decoding over any decoder that can say which token is the most likely next, with or without a draft. */
import { Draft } from './draft.ts';
import { END_TOKEN, START_TOKEN } from './moonshine_facts.ts';
import { EXHAUSTED_LOOP, findLoop, RUNNING_LOOP } from './repetition.ts';

/** A decoder in the middle of one utterance: it has read some tokens and keeps what it computed for them. */
export interface TokenContext {
  /** Most tokens that one `extend` may be given. 1 if reading several at once would not give the same result. */
  readonly extendMaxTokens: number;
  /** Reads `tokens` after those read before; returns the most likely next token after each of them. */
  extend(tokens: readonly number[]): Promise<readonly number[]>;
  /** Forgets all but the first `length` tokens read. */
  truncate(length: number): void;
}

/** What greedy decoding made of one utterance. The fields are those of `Hypothesis`. */
export interface Decoding {
  readonly tokens: readonly number[];
  readonly stop: 'end' | 'length' | 'repetition';
  readonly decoderSteps: number;
  readonly draftAcceptedTokens: number;
}

/** What is to be decoded: at most this many tokens, and a guess at them (may be empty, wrong or too long). */
export interface DecodingTask {
  readonly maxTokens: number;
  readonly draft: readonly number[];
}

/** Tokens decided so far, with the rule that says when there are enough. */
class Transcript {
  readonly tokens: number[] = [];
  readonly #maxTokens: number;

  constructor(maxTokens: number) {
    this.#maxTokens = maxTokens;
  }

  /** Takes the next token. Returns why decoding is over, if it is; then it takes no more. */
  push(token: number): Decoding['stop'] | undefined {
    if (token === END_TOKEN) return 'end';
    this.tokens.push(token);
    const exhausted = this.tokens.length >= this.#maxTokens;
    const loop = findLoop(this.tokens, exhausted ? EXHAUSTED_LOOP : RUNNING_LOOP);
    if (loop === undefined) return exhausted ? 'length' : undefined;
    this.tokens.length = loop;
    return 'repetition';
  }
}

/** What a sequence of chosen tokens comes to: as many of them as there are before the rule ends it. */
export function takeTokens(
  chosen: readonly number[],
  maxTokens: number,
): { readonly tokens: readonly number[]; readonly stop: Decoding['stop'] } {
  const transcript = new Transcript(maxTokens);
  for (const token of chosen) {
    const stop = transcript.push(token);
    if (stop !== undefined) return { tokens: transcript.tokens, stop };
  }
  return { tokens: transcript.tokens, stop: 'length' };
}

interface Agreement {
  readonly stop: Decoding['stop'] | undefined;
  /** How many of the offered tokens were right. */
  readonly accepted: number;
}

/** Takes what the decoder chose as long as that is what was offered, and the first token that is not. */
function takeChosen(
  transcript: Transcript,
  chosen: readonly number[],
  offered: readonly number[],
): Agreement {
  for (const [at, token] of chosen.entries()) {
    const stop = transcript.push(token);
    if (stop !== undefined || token !== offered[at]) return { stop, accepted: at };
  }
  return { stop: undefined, accepted: offered.length };
}

/**
 * Takes the most likely token until the model ends, loops, or has used up `maxTokens`. Tokens of the draft are read
 * together with the last decided token; those that the decoder would have chosen itself are kept, so the result is
 * that of decoding without a draft.
 */
export async function decodeGreedily(context: TokenContext, task: DecodingTask): Promise<Decoding> {
  const transcript = new Transcript(task.maxTokens);
  const { tokens } = transcript;
  const draft = new Draft(task.draft);
  let last = START_TOKEN;
  let draftAcceptedTokens = 0;
  for (let decoderSteps = 1; ; decoderSteps++) {
    const before = tokens.length;
    const room = Math.min(context.extendMaxTokens, task.maxTokens - before) - 1;
    const offered = draft.offer(room);
    const chosen = await context.extend([last, ...offered]);
    const { stop, accepted } = takeChosen(transcript, chosen, offered);
    draftAcceptedTokens += accepted;
    if (stop !== undefined) return { tokens, stop, decoderSteps, draftAcceptedTokens };
    draft.follow(tokens.slice(before));
    // The last token is decided but not read yet.
    context.truncate(tokens.length);
    last = tokens.at(-1) ?? START_TOKEN;
  }
}
