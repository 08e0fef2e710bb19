import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeGreedily, type Decoding, type TokenContext } from '../../models/greedy_decoder.ts';
import { END_TOKEN, START_TOKEN } from '../../models/moonshine_facts.ts';
import { EXHAUSTED_LOOP, findLoop, RUNNING_LOOP } from '../../models/repetition.ts';
import { loadTokenizer } from '../../models/tokenizer.ts';

/** A decoder whose choice depends on all it has read, as a real one's does. */
class ScriptedContext implements TokenContext {
  readonly extendMaxTokens: number;
  readonly read: number[] = [];
  readonly #choose: (read: readonly number[]) => number;

  constructor(choose: (read: readonly number[]) => number, extendMaxTokens = 64) {
    this.#choose = choose;
    this.extendMaxTokens = extendMaxTokens;
  }

  extend(tokens: readonly number[]): Promise<readonly number[]> {
    assert(tokens.length >= 1 && tokens.length <= this.extendMaxTokens);
    const chosen = tokens.map((token) => {
      this.read.push(token);
      return this.#choose(this.read);
    });
    return Promise.resolve(chosen);
  }

  truncate(length: number): void {
    assert(length <= this.read.length);
    this.read.length = length;
  }
}

/** Says this text and ends, if it was read back faithfully; after a token that is not its own it says nonsense. */
function saying(text: readonly number[]): (read: readonly number[]) => number {
  return (read) => {
    const faithful = read.slice(1).every((token, at) => token === text[at]) && read[0] === START_TOKEN;
    return faithful ? (text[read.length - 1] ?? END_TOKEN) : 31_000;
  };
}

function decode(text: readonly number[], draft: readonly number[], maxTokens = 64): Promise<Decoding> {
  return decodeGreedily(new ScriptedContext(saying(text)), { maxTokens, draft });
}

const words = fc.array(fc.integer({ min: 3, max: 12 }), { maxLength: 40 });
const edits = fc.record({
  at: fc.nat(40),
  removed: fc.nat(3),
  inserted: fc.array(fc.nat(12), { maxLength: 3 }),
});

describe('greedy decoding', () => {
  it('[REC1] takes the most likely token until the end token', async () => {
    const { tokens, stop, decoderSteps } = await decode([5, 6, 7], []);
    assert.deepEqual({ tokens, stop, decoderSteps }, { tokens: [5, 6, 7], stop: 'end', decoderSteps: 4 });
  });

  it('[REC2] never takes more tokens than the budget', async () => {
    const text = Array.from({ length: 40 }, (_, at) => 100 + at);
    const { tokens, stop } = await decode(text, [], 12);
    assert.deepEqual({ tokens, stop }, { tokens: text.slice(0, 12), stop: 'length' });
    const drafted = await decode(text, text, 12);
    assert.deepEqual([drafted.tokens, drafted.stop], [text.slice(0, 12), 'length']);
  });

  it('[REC3] a phrase that repeats without end is cut back to its first occurrence', async () => {
    const phrase = [10, 11, 12];
    const text = [7, 8, ...Array.from({ length: 20 }, () => phrase).flat()];
    const { tokens, stop } = await decode(text, []);
    assert.deepEqual({ tokens, stop }, { tokens: [7, 8, 10, 11, 12], stop: 'repetition' });
  });

  it('[REC3] a word said four times is believed', async () => {
    const text = [7, 9, 9, 9, 9, 8];
    assert.deepEqual((await decode(text, [])).tokens, text);
  });

  it('[REC3] a budget used up by repetition is a loop even if it is short', async () => {
    const { tokens, stop } = await decode(new Array<number>(30).fill(9), [], 8);
    assert.deepEqual({ tokens, stop }, { tokens: [9], stop: 'repetition' });
  });

  it('[REC4] no draft, true, false or mad, changes the result', async () => {
    const mad = fc.array(fc.oneof(fc.integer({ min: -3, max: 33_000 }), fc.constant(NaN), fc.double()));
    const related = fc
      .tuple(words, words, words)
      .map(([start, middle, end]) => [...start, ...middle, ...end]);
    await fc.assert(
      fc.asyncProperty(
        words,
        fc.oneof(words, mad, related),
        fc.integer({ min: 1, max: 50 }),
        async (text, draft, max) => {
          const plain = await decode(text, [], max);
          const drafted = await decode(text, draft, max);
          assert.deepEqual([drafted.tokens, drafted.stop], [plain.tokens, plain.stop]);
          assert(drafted.decoderSteps <= plain.decoderSteps);
          assert(drafted.draftAcceptedTokens <= draft.length);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('[REC4] an edited copy of the text as draft gives the text', async () => {
    await fc.assert(
      fc.asyncProperty(words, edits, async (text, { at, removed, inserted }) => {
        const draft = [...text.slice(0, at), ...inserted, ...text.slice(at + removed)];
        const [plain, drafted] = [await decode(text, []), await decode(text, draft)];
        assert.deepEqual([drafted.tokens, drafted.stop], [plain.tokens, plain.stop]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('[REC5] a right draft is verified in one run', async () => {
    const text = [5, 6, 7, 8, 9, 10];
    const { decoderSteps, draftAcceptedTokens } = await decode(text, text);
    assert.deepEqual([decoderSteps, draftAcceptedTokens], [1, text.length]);
  });

  it('[REC5] after one changed word the rest of the draft is offered again', async () => {
    const text = Array.from({ length: 20 }, (_, at) => 100 + at);
    const draft = text.map((token, at) => (at === 5 ? 999 : token));
    const { tokens, decoderSteps } = await decode(text, draft);
    assert.deepEqual(tokens, text);
    assert(decoderSteps <= 3, `took ${decoderSteps} steps`);
  });

  it('[REC5] a decoder that reads one token at a time is never given a draft', async () => {
    const context = new ScriptedContext(saying([5, 6, 7]), 1);
    const { tokens, draftAcceptedTokens } = await decodeGreedily(context, { maxTokens: 9, draft: [5, 6, 7] });
    assert.deepEqual([tokens, draftAcceptedTokens], [[5, 6, 7], 0]);
  });
});

describe('loop detection', () => {
  it('[REC3] finds the shortest period and keeps one copy', () => {
    assert.equal(findLoop([1, 2, ...new Array<number>(16).fill(5)], RUNNING_LOOP), 3);
    assert.equal(findLoop([4, 5, 4, 5, 4, 5], EXHAUSTED_LOOP), 2);
  });

  it('[REC3] sees no loop in text without repetition', () => {
    const distinct = fc.uniqueArray(fc.nat(1_000), { maxLength: 60 });
    fc.assert(fc.property(distinct, (tokens) => findLoop(tokens, EXHAUSTED_LOOP) === undefined));
  });
});

describe('tokenizer', () => {
  it('[REC6] decodes as the Llama tokenizer does and trims', async () => {
    const tokenizer = await loadTokenizer();
    assert.equal(tokenizer.decode([2646, 1327, 287]), 'grabbed');
    assert.equal(tokenizer.decode([29871, 243, 162, 169, 156, 259]), '🦙');
  });

  it('[REC6] leaves out the ids that stand for no text', async () => {
    const tokenizer = await loadTokenizer();
    assert.equal(tokenizer.decode([0, 1, 2, 2646, 32_000, 1327, 32_767, 287, 2]), 'grabbed');
    assert.equal(tokenizer.decode([]), '');
  });
});
