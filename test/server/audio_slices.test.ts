import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ChannelSplitter, slicesOf } from '../../server/dialects/audio_slices.ts';
import { plainText } from '../../server/dialects/plain_text.ts';

describe('audio and text of dialects', () => {
  it('[DIA2] a message of any length becomes messages that a session takes, byte for byte', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 1, max: 40 }), (bytes, maxBytes) => {
        const slices = slicesOf(bytes, maxBytes);
        assert.deepEqual(Buffer.concat(slices), Buffer.from(bytes));
        assert(slices.every(({ length }) => length <= maxBytes));
      }),
    );
  });

  it('[DIA3] channels come apart the same however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4),
        fc.array(fc.uint8Array({ maxLength: 13 }), { maxLength: 12 }),
        (sampleBytes, messages) => {
          const splitter = new ChannelSplitter(sampleBytes, 2);
          const parts = messages.map((message) => splitter.push(message));
          const whole = Buffer.concat(messages);
          const frames = Math.floor(whole.length / (2 * sampleBytes));
          for (const channel of [0, 1]) {
            const heard = Buffer.concat(parts.map((part) => part[channel] ?? new Uint8Array(0)));
            const expected = Array.from({ length: frames * sampleBytes }, (_, i) => {
              const frame = Math.floor(i / sampleBytes);
              return whole[(2 * frame + channel) * sampleBytes + (i % sampleBytes)];
            });
            assert.deepEqual([...heard], expected);
          }
        },
      ),
    );
  });

  it('[DIA4] plain text has no capitals and no punctuation but inside of words', () => {
    assert.equal(plainText("Don't — well, it's 3.5 O'Clock!"), "don't well it's 3.5 o'clock");
    assert.equal(plainText(' … '), '');
    assert.equal(plainText('¿Qué? ¡Sí!'), 'qué sí');
  });
});
