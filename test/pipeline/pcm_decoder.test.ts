import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PcmDecoder } from '../../pipeline/codecs/pcm_decoder.ts';
import type { SampleFormatName } from '../../pipeline/codecs/pcm_samples.ts';
import { FilterCache } from '../../pipeline/codecs/resampler.ts';
import { makeSignal } from '../support/opus_material.ts';

const filters = new FilterCache();

function createDecoder(
  sampleRateHz: number,
  channels: number,
  samples: SampleFormatName = 's16',
): PcmDecoder {
  const layout = { samples, sampleRateHz, channels };
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

  it('[PCM3] [ENC3] any cut of the bytes gives the same samples, also across snapshots', () => {
    fc.assert(
      fc.property(
        fc.record({
          rateHz: fc.constantFrom(8_000, 16_000, 22_050, 44_100, 44_101, 48_000),
          channels: fc.constantFrom(1, 2),
          samples: fc.constantFrom('s16', 'f32_unit', 'mulaw', 'alaw'),
        }),
        fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 20 }),
        ({ rateHz, channels, samples }, lengths) => {
          const total = lengths.reduce((sum, length) => sum + length, 0);
          const bytes = bytesOf(makeSignal({ kind: 'noise', samples: total, sampleRateHz: rateHz })).subarray(
            0,
            total,
          );
          const whole = createDecoder(rateHz, channels, samples).decode(bytes).pcm;
          let decoder = createDecoder(rateHz, channels, samples);
          const parts: number[] = [];
          let from = 0;
          for (const length of lengths) {
            parts.push(...decoder.decode(bytes.subarray(from, from + length)).pcm);
            from += length;
            // Laid at an odd offset: a snapshot out of a message may lie anywhere.
            const saved = Uint8Array.of(0, ...decoder.snapshot()).subarray(1);
            decoder = createDecoder(rateHz, channels, samples);
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

  it('[ENC1] floats are samples between -1 and 1; up to 1.5 they are clipped, beyond that they are silence and a fault', () => {
    const read = (...values: number[]) =>
      createDecoder(16_000, 1, 'f32_unit').decode(new Uint8Array(Float32Array.from(values).buffer));
    assert.deepEqual(read(0, 0.5, -0.5, 1, -1, 1.5, -1.5, 1e-42), {
      pcm: Int16Array.of(0, 16_384, -16_384, 32_767, -32_768, 32_767, -32_768, 0),
    });
    for (const bad of [NaN, Infinity, -Infinity, 1.51, -1e38]) {
      const damaged = { pcm: Int16Array.of(8_192, 0, 8_192), fault: 'undecodable_packet' };
      assert.deepEqual(read(0.25, bad, 0.25), damaged);
    }
    const stereo = Float32Array.of(0.5, 0.25, NaN, 0.5, 1.5, 0.5);
    const { pcm, fault } = createDecoder(16_000, 2, 'f32_unit').decode(new Uint8Array(stereo.buffer));
    assert.deepEqual([pcm, fault], [Int16Array.of(12_288, 0, 24_576), 'undecodable_packet']);
  });

  it('[ENC2] mu-law and A-law are expanded as ITU-T G.711 tabulates them, at any rate, in one channel or two', () => {
    const muLaw = createDecoder(16_000, 1, 'mulaw').decode(Uint8Array.of(0x00, 0x80, 0xff, 0x7f, 0xf0, 0x8f));
    assert.deepEqual(muLaw, { pcm: Int16Array.of(-32_124, 32_124, 0, 0, 120, 16_764) });
    const aLaw = createDecoder(16_000, 2, 'alaw').decode(Uint8Array.of(0xd5, 0x55, 0x2a, 0x2a, 0xaa, 0x80));
    assert.deepEqual(aLaw, { pcm: Int16Array.of(0, -32_256, 18_880) });
    const telephone = createDecoder(8_000, 1, 'mulaw').decode(new Uint8Array(8_000).fill(0x8f));
    assert(
      telephone.pcm.length > 15_900 && telephone.pcm.subarray(1_000).every((sample) => sample === 16_764),
    );
  });
});
