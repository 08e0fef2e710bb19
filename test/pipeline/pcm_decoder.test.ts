import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PcmDecoder } from '../../pipeline/pcm_decoder.ts';
import { FilterCache } from '../../pipeline/resampler.ts';
import { makeSignal } from '../support/opus_material.ts';

const filters = new FilterCache();

function createDecoder(sampleRateHz: number, channels: number): PcmDecoder {
  const layout = { samples: 's16', sampleRateHz, channels } as const;
  return new PcmDecoder({ layout, filters, onClosed: () => undefined });
}

function bytesOf(samples: readonly number[] | Int16Array): Uint8Array {
  return new Uint8Array(Int16Array.from(samples).buffer);
}

describe('PCM sessions', () => {
  it('[PCM1] 16 kHz mono passes unchanged', () => {
    const pcm = makeSignal({ kind: 'noise', samples: 5_000, sampleRateHz: 16_000 });
    pcm.set([-32_768, 32_767, 0, -1]);
    assert.deepEqual(createDecoder(16_000, 1).decode(bytesOf(pcm)), { pcm });
  });

  it('[PCM2] stereo becomes the mean of its channels, without overflow', () => {
    const stereo = bytesOf([100, 300, -32_768, -32_768, 32_767, 32_767, -5, -6, 32_767, -32_768]);
    const { pcm } = createDecoder(16_000, 2).decode(stereo);
    assert.deepEqual(pcm, Int16Array.of(200, -32_768, 32_767, -5, 0));
  });

  it('[PCM3] any cut of the bytes gives the same samples, also across snapshots', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(8_000, 16_000, 22_050, 44_100, 44_101, 48_000),
        fc.constantFrom(1, 2),
        fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 20 }),
        (rateHz, channels, lengths) => {
          const total = lengths.reduce((sum, length) => sum + length, 0);
          const bytes = bytesOf(makeSignal({ kind: 'noise', samples: total, sampleRateHz: rateHz })).subarray(
            0,
            total,
          );
          const whole = createDecoder(rateHz, channels).decode(bytes).pcm;
          let decoder = createDecoder(rateHz, channels);
          const parts: number[] = [];
          let from = 0;
          for (const length of lengths) {
            parts.push(...decoder.decode(bytes.subarray(from, from + length)).pcm);
            from += length;
            // Laid at an odd offset: a snapshot out of a message may lie anywhere.
            const saved = Uint8Array.of(0, ...decoder.snapshot()).subarray(1);
            decoder = createDecoder(rateHz, channels);
            decoder.restore(saved);
          }
          assert.deepEqual(Int16Array.from(parts), whole);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('[PCM4] an empty message gives nothing; a single byte waits for its other half', () => {
    const decoder = createDecoder(16_000, 1);
    assert.deepEqual(decoder.decode(new Uint8Array(0)), { pcm: new Int16Array(0) });
    assert.deepEqual(decoder.decode(Uint8Array.of(0x34)), { pcm: new Int16Array(0) });
    assert.deepEqual(decoder.decode(Uint8Array.of(0x12)), { pcm: Int16Array.of(0x1234) });
  });

  it('[PCM5] a compressed container as first message is unsupported for good, also after a restore; WAV passes', () => {
    const magics = {
      ogg: 'OggS',
      webm: '\x1aE\xdf\xa3',
      flac: 'fLaC',
      mp3: 'ID3',
      mp4: '\0\0\0\x20ftypM4A ',
    };
    for (const [reason, magic] of Object.entries(magics)) {
      const message = Buffer.from(`${magic}${'\x01'.repeat(60)}`, 'latin1');
      const decoder = createDecoder(16_000, 1);
      const refused = { pcm: new Int16Array(0), fault: 'unsupported_audio', reason };
      assert.deepEqual(decoder.decode(message), refused);
      const restored = createDecoder(16_000, 1);
      restored.restore(decoder.snapshot());
      assert.deepEqual(restored.decode(bytesOf([1, 2])), refused);
      const later = createDecoder(16_000, 1);
      later.decode(bytesOf([1]));
      assert.equal(later.decode(message).fault, undefined);
    }
    assert.deepEqual(createDecoder(16_000, 1).decode(Buffer.from('RIFF')).pcm.length, 2);
  });

  it('[PCM6] what a decoder returned is not touched by what it decodes next', () => {
    const decoder = createDecoder(48_000, 1);
    const noise = bytesOf(makeSignal({ kind: 'noise', samples: 2_000, sampleRateHz: 48_000 }));
    const { pcm } = decoder.decode(noise);
    const copy = pcm.slice();
    decoder.decode(noise);
    assert.deepEqual(pcm, copy);
  });
});
