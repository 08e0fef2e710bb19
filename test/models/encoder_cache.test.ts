import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { Tensor } from 'onnxruntime-node';
import { EncoderCache, type KeptEncoding } from '../../models/encoder_cache.ts';
import { ENCODER_CACHE_IDLE_MS } from '../../pipeline/limits.ts';

function encodingOf(pcm: Int16Array): KeptEncoding {
  const front = new Tensor('float32', new Float32Array(), [1, 0, 2]);
  return { pcm, frames: 0, rows: new Map(), front, frontStart: 0, sums: [0, 0] };
}

describe('what is kept of utterances', () => {
  it('[STR3] is handed out once, for audio that goes on where it ended', () => {
    const cache = new EncoderCache();
    const encoding = encodingOf(Int16Array.of(1, 2, 3));
    for (const [pcm, isSame] of [
      [[1, 2, 3], true],
      [[1, 2, 3, 4], true],
      [[1, 2], false],
      [[1, 2, 4, 4], false],
      [[0, 1, 2, 3], false],
    ] as const) {
      cache.put(7, encoding);
      assert.equal(cache.take(7, Int16Array.from(pcm)), isSame ? encoding : undefined);
      assert.equal(cache.size, 0);
    }
    assert.equal(cache.take(8, Int16Array.of(1, 2, 3)), undefined);
    cache.clear();
  });

  it('[STR8] is forgotten when nothing has asked for it for a while', (test) => {
    mock.timers.enable({ apis: ['setInterval'] });
    test.after(() => {
      mock.timers.reset();
    });
    const cache = new EncoderCache();
    const [idle, busy] = [encodingOf(Int16Array.of(1)), encodingOf(Int16Array.of(2))];
    cache.put(1, idle);
    cache.put(2, busy);
    mock.timers.tick(ENCODER_CACHE_IDLE_MS);
    cache.put(2, cache.take(2, Int16Array.of(2)) ?? assert.fail('it is still there'));
    mock.timers.tick(ENCODER_CACHE_IDLE_MS);
    assert.equal(cache.take(1, Int16Array.of(1)), undefined);
    assert.equal(cache.take(2, Int16Array.of(2)), busy);
    cache.put(2, busy);
    mock.timers.tick(2 * ENCODER_CACHE_IDLE_MS);
    assert.equal(cache.size, 0);
  });
});
