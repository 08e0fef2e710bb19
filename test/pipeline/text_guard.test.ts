import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { msToSamples } from '../../pipeline/audio.ts';
import { judgeText } from '../../pipeline/text_guard.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const SECOND = msToSamples(1_000);
function tokens(count: number): number[] {
  return new Array<number>(count).fill(7);
}

describe('text guard', () => {
  it('[TXT10] text at the pace of speech is shown', () => {
    assert.equal(judgeText(hypothesisOf('hello there', { tokens: tokens(6) }), SECOND), undefined);
    assert.equal(judgeText(hypothesisOf('yes', { tokens: tokens(2) }), msToSamples(100)), undefined);
  });

  it('[TXT11] text where hardly a frame was speech is withheld, but nothing is not', () => {
    assert.equal(judgeText(hypothesisOf('thank you'), 0), 'no_speech');
    assert.equal(judgeText(hypothesisOf(''), 0), undefined);
  });

  it('[TXT12] more tokens than anybody can speak are withheld', () => {
    assert.equal(judgeText(hypothesisOf('x', { tokens: tokens(16) }), SECOND), undefined);
    assert.equal(judgeText(hypothesisOf('x', { tokens: tokens(17) }), SECOND), 'token_rate');
  });

  it('[TXT13] a loop that was cut is called one', () => {
    const loop = hypothesisOf('la la', { tokens: tokens(60), stop: 'repetition' });
    assert.equal(judgeText(loop, SECOND), 'repetition');
    assert.equal(judgeText({ ...loop, tokens: tokens(10) }, SECOND), undefined);
  });
});
