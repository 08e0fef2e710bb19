import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { estimateWordTimes } from '../../pipeline/word_times.ts';

describe('word times', () => {
  it('[TXT20] words share the span by their length and say that they are estimated', () => {
    assert.deepEqual(estimateWordTimes('a lot', { startAudioMs: 1_000, endAudioMs: 1_600 }), [
      { text: 'a', startAudioMs: 1_000, endAudioMs: 1_200, estimated: true },
      { text: 'lot', startAudioMs: 1_200, endAudioMs: 1_600, estimated: true },
    ]);
    assert.deepEqual(estimateWordTimes('', { startAudioMs: 0, endAudioMs: 100 }), []);
  });

  it('[TXT21] words follow each other without gap or overlap and fill the span exactly', () => {
    const words = fc.array(fc.stringMatching(/^[a-zäö']{1,12}$/), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(words, fc.nat(1e6), fc.nat(30_000), (list, startAudioMs, durationMs) => {
        const span = { startAudioMs, endAudioMs: startAudioMs + durationMs };
        const timed = estimateWordTimes(list.join(' '), span);
        assert.deepEqual(
          timed.map(({ text }) => text),
          list,
        );
        assert.equal(timed[0]?.startAudioMs, span.startAudioMs);
        assert.equal(timed.at(-1)?.endAudioMs, span.endAudioMs);
        timed.slice(1).forEach((word, index) => {
          assert.equal(word.startAudioMs, timed[index]?.endAudioMs);
        });
      }),
    );
  });
});
