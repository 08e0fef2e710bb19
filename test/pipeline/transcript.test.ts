import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { agreedLength, Transcript } from '../../pipeline/transcript.ts';

describe('transcript', () => {
  it('[TXT1] what two successive hypotheses agree on, whole words only, is stable', () => {
    assert.equal(agreedLength('', 'the'), 0);
    assert.equal(agreedLength('the cat', 'the cat sat'), 'the cat'.length);
    assert.equal(agreedLength('the cat', 'the cats'), 'the'.length);
    assert.equal(agreedLength('the cats', 'the cat'), 'the'.length);
    assert.equal(agreedLength('the cat', 'a cat'), 0);
    assert.equal(agreedLength('the', 'then'), 0);
    assert.equal(agreedLength('same', 'same'), 4);
    assert.equal(agreedLength('well, I', 'well I'), 0);
  });

  it('[TXT2] revisions count from 1; text that did not change is shown as settled', () => {
    const transcript = new Transcript();
    assert.deepEqual(transcript.revise('the'), { revision: 1, text: 'the', stableLength: 0 });
    assert.deepEqual(transcript.revise('the cat'), { revision: 2, text: 'the cat', stableLength: 3 });
    assert.deepEqual(transcript.revise('the cat'), { revision: 3, text: 'the cat', stableLength: 7 });
    assert.deepEqual(transcript.revise('the cat'), { revision: 4, text: 'the cat', stableLength: 7 });
    assert.equal(transcript.text, 'the cat');
  });

  it('[TXT3] an empty hypothesis at first shows nothing', () => {
    assert.equal(new Transcript().revise(''), undefined);
  });

  it('[TXT4] the agreed prefix is a prefix of both, ends with a word of both, and is the longest such', () => {
    const words = fc.array(fc.constantFrom('a', 'ab', 'b', 'ba', 'äö', '😀', '😀a'), { maxLength: 6 });
    const text = fc.tuple(words, fc.constantFrom(' ', '  ')).map(([list, gap]) => list.join(gap));
    fc.assert(
      fc.property(text, text, (earlier, later) => {
        const length = agreedLength(earlier, later);
        const isAgreed = (at: number): boolean =>
          earlier.slice(0, at) === later.slice(0, at) &&
          [earlier, later].every((one) => at === one.length || one[at] === ' ');
        assert(length === 0 || isAgreed(length));
        for (let longer = length + 1; longer <= Math.min(earlier.length, later.length); longer++) {
          assert(!isAgreed(longer));
        }
        assert.equal(agreedLength(later, earlier), length);
      }),
      { numRuns: 1_000 },
    );
  });
});
