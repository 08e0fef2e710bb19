import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clockText, EMPTY_TRANSCRIPT, heard, type TranscriptEvent } from '../../client/page/transcript.ts';
import type { FinalMessage, PartialMessage } from '../../client/protocol.ts';

function partial(utteranceId: number, text: string, stableLength = 0): PartialMessage {
  const startAudioMs = utteranceId * 1_000;
  return {
    ...{ type: 'partial', utteranceId, revision: 1, text, stableLength },
    ...{ startAudioMs, endAudioMs: startAudioMs + 500 },
  };
}

function final(utteranceId: number, text: string): FinalMessage {
  const startAudioMs = utteranceId * 1_000;
  const endAudioMs = startAudioMs + 900;
  const words = [{ text, startAudioMs, endAudioMs, estimated: true }];
  return { type: 'final', utteranceId, text, startAudioMs, endAudioMs, words, ackedAudioMs: endAudioMs };
}

const BEGIN: TranscriptEvent = { type: 'begin', previousAudioMs: 0 };

function play(...events: readonly TranscriptEvent[]) {
  return events.reduce(heard, EMPTY_TRANSCRIPT);
}

describe('the transcript on the page', () => {
  it('[PAGE1] a partial replaces the one before, a final stays', () => {
    const { lines, finals } = play(
      ...[BEGIN, partial(1, 'the'), partial(1, 'the quick', 3), final(1, 'The quick.')],
      partial(2, 'and'),
    );
    assert.deepEqual(
      lines.map((line) => line.type === 'speech' && [line.text, line.stableLength, line.isFinal]),
      [
        ['The quick.', 10, true],
        ['and', 0, false],
      ],
    );
    assert.deepEqual(
      finals.map(({ text }) => text),
      ['The quick.'],
    );
  });

  it('[PAGE1] a line that did not change stays the same object', () => {
    const before = play(BEGIN, final(1, 'One.'), partial(2, 'two'));
    const after = heard(before, partial(2, 'two three'));
    assert.equal(after.lines[0], before.lines[0]);
    assert.notEqual(after.lines[1], before.lines[1]);
  });

  it('[PAGE1] an empty final takes its line away', () => {
    assert.deepEqual(play(BEGIN, partial(1, 'hm'), final(1, '')).lines, []);
  });

  it('[PAGE2] the next recording goes on in time, below, with ids of its own', () => {
    const { lines, finals } = play(
      ...[BEGIN, final(1, 'One.'), { type: 'end' } as const],
      ...[{ type: 'begin', previousAudioMs: 10_000.4 } as const, final(1, 'Two.')],
    );
    assert.deepEqual(
      lines.map(({ id, startAudioMs }) => [id, startAudioMs]),
      [
        ['1-1', 1_000],
        ['2-1', 11_000],
      ],
    );
    const [, second] = finals;
    assert.deepEqual(
      [second?.utteranceId, second?.startAudioMs, second?.endAudioMs, second?.words?.[0]?.startAudioMs],
      [2, 11_000, 11_900, 11_000],
    );
  });

  it('[PAGE3] audio that was lost is a line in its place', () => {
    const { lines } = play(...[BEGIN, final(1, 'One.'), partial(9, 'nine')], {
      type: 'audioLost',
      fromAudioMs: 3_000,
      toAudioMs: 7_000,
    });
    assert.deepEqual(
      lines.map(({ type, startAudioMs }) => [type, startAudioMs]),
      [
        ['speech', 1_000],
        ['gap', 3_000],
        ['speech', 9_000],
      ],
    );
  });

  it('[PAGE1] what has no final at the end of a recording settles as it is', () => {
    const { lines, finals } = play(BEGIN, final(1, 'One.'), partial(2, 'unfinished', 2), { type: 'end' });
    const [, line] = lines;
    assert(line?.type === 'speech');
    assert.deepEqual([line.isFinal, line.stableLength], [true, 10]);
    assert.deepEqual(
      finals.map(({ utteranceId, text }) => [utteranceId, text]),
      [
        [1, 'One.'],
        [2, 'unfinished'],
      ],
      'what is shown is saved',
    );
  });

  it('[PAGE1] positions are shown as clocks do', () => {
    assert.deepEqual([0, 59_999, 61_000, 3_600_000 + 62_000].map(clockText), [
      '0:00',
      '0:59',
      '1:01',
      '1:01:02',
    ]);
  });
});
