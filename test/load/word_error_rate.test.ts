import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { normalisedWords, wordEditCount, wordErrorRate } from '../../server/load/word_error_rate.ts';

const words = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 8 });

describe('word error rate', () => {
  it('[WER1] case, punctuation and hyphens do not count, apostrophes and numbers do', () => {
    assert.deepEqual(normalisedWords("Don't — “stop”, well-known: 42 rock 'n' roll’s!"), [
      ...["don't", 'stop', 'well', 'known', '42', 'rock', 'n', "roll's"],
    ]);
    assert.deepEqual(normalisedWords(' … '), []);
    assert.equal(wordErrorRate('The air is pure.', 'the AIR is pure'), 0);
  });

  it('[WER2] a substitution, an insertion and a deletion cost one word each', () => {
    assert.equal(wordErrorRate('one two three four', 'one too three four'), 0.25);
    assert.equal(wordErrorRate('one two three four', 'one two three three four'), 0.25);
    assert.equal(wordErrorRate('one two three four', 'one three four'), 0.25);
    assert.equal(wordErrorRate('one two three four', 'two three four five'), 0.5);
    assert.equal(wordErrorRate('one', 'two three four'), 3);
    assert.equal(wordErrorRate('', ''), 0);
    assert.equal(wordErrorRate('', 'invented'), Infinity);
    assert.equal(wordErrorRate('said', ''), 1);
  });

  it('[WER3] the edit count is a distance', () => {
    fc.assert(
      fc.property(words, words, words, (one, two, three) => {
        const direct = wordEditCount(one, three);
        assert.equal(direct, wordEditCount(three, one));
        assert.equal(wordEditCount(one, one), 0);
        assert.equal(direct === 0, one.join() === three.join());
        assert.ok(direct <= wordEditCount(one, two) + wordEditCount(two, three));
        assert.ok(direct >= Math.abs(one.length - three.length));
        assert.ok(direct <= Math.max(one.length, three.length));
      }),
    );
  });
});
