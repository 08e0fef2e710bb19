import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AudioSpan } from '../../pipeline/audio_span.ts';

/** The same with a plain array: slow and obvious. */
class NaiveSpan {
  samples: number[] = [];
  startSamples: number;

  constructor(startSamples: number) {
    this.startSamples = startSamples;
  }

  get endSamples(): number {
    return this.startSamples + this.samples.length;
  }

  append(startSamples: number, pcm: Int16Array): void {
    if (startSamples !== this.endSamples) {
      this.samples = [];
      this.startSamples = startSamples;
    }
    this.samples.push(...pcm);
  }

  dropBefore(samples: number): void {
    while (this.startSamples < samples && this.samples.length > 0) {
      this.samples.shift();
      this.startSamples++;
    }
  }
}

describe('audio span', () => {
  it('[SPAN1] it holds what a plain array would hold, whatever is appended and forgotten', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ type: fc.constant('append' as const), count: fc.nat(9_000) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('drop' as const),
          ratio: fc.double({ min: -0.2, max: 1.2, noNaN: true }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ type: fc.constant('jump' as const), by: fc.integer({ min: -50, max: 500 }) }),
      },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('compact' as const) }) },
    );
    fc.assert(
      fc.property(fc.nat(100_000), fc.array(step, { maxLength: 30 }), (originSamples, steps) => {
        const span = new AudioSpan(originSamples);
        const naive = new NaiveSpan(originSamples);
        let next = 1;
        for (const action of steps) {
          if (action.type === 'append' || action.type === 'jump') {
            const at = span.endSamples + (action.type === 'jump' ? action.by : 0);
            const pcm = new Int16Array(action.type === 'append' ? action.count : 7).map(
              () => next++ % 30_000,
            );
            span.append(at, pcm);
            naive.append(at, pcm);
          } else if (action.type === 'drop') {
            const length = naive.samples.length;
            const at = naive.startSamples + Math.round(length * action.ratio);
            span.dropBefore(at);
            naive.dropBefore(at);
          } else {
            span.compact();
          }
          assert.equal(span.startSamples, naive.startSamples);
          assert.equal(span.endSamples, naive.endSamples);
        }
        assert.deepEqual([...span.slice(span.startSamples, span.endSamples)], naive.samples);
      }),
      { numRuns: 200 },
    );
  });

  it('[SPAN2] a slice is a copy, and one outside of what is held is refused', () => {
    const span = new AudioSpan(100);
    span.append(100, Int16Array.of(1, 2, 3, 4));
    span.dropBefore(101);
    const slice = span.slice(102, 104);
    assert.deepEqual(slice, Int16Array.of(3, 4));
    slice[0] = 9;
    assert.deepEqual(span.slice(101, 104), Int16Array.of(2, 3, 4));
    assert.throws(() => span.slice(100, 102));
    assert.throws(() => span.slice(103, 105));
  });
});
