import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readWav } from '../../server/commands/wav_file.ts';
import { tone } from '../support/sound.ts';
import { wavOf, type WavSpec } from '../support/wav.ts';

const FORMATS: readonly (readonly [
  name: string,
  spec: Pick<WavSpec, 'tag' | 'bitsPerSample'>,
  tolerance: number,
])[] = [
  ['8-bit', { tag: 1, bitsPerSample: 8 }, 256],
  ['16-bit', { tag: 1, bitsPerSample: 16 }, 0],
  ['24-bit', { tag: 1, bitsPerSample: 24 }, 0],
  ['32-bit', { tag: 1, bitsPerSample: 32 }, 0],
  ['float', { tag: 3, bitsPerSample: 32 }, 0],
  ['double', { tag: 3, bitsPerSample: 64 }, 0],
];

/** Largest difference between two sounds, and how much longer one is. */
function difference(one: Int16Array, other: Int16Array): { samples: number; length: number } {
  const samples = one.reduce((most, sample, i) => Math.max(most, Math.abs(sample - (other[i] ?? sample))), 0);
  return { samples, length: Math.abs(one.length - other.length) };
}

describe('readWav', () => {
  const pcm = tone({ durationMs: 200, dbfs: -6, hz: 440 });

  for (const [name, spec, tolerance] of FORMATS) {
    it(`[WAV1] reads ${name} samples`, () => {
      const read = readWav(wavOf(pcm, spec));
      assert.equal(read.length, pcm.length);
      assert(difference(read, pcm).samples <= tolerance, `differs by ${difference(read, pcm).samples}`);
    });
  }

  it('[WAV2] expands mu-law and A-law as ITU-T G.711 tabulates them', () => {
    const codes = Uint8Array.of(0x00, 0x80, 0xff, 0x7f, 0xf0, 0x8f);
    const spec = { sampleRateHz: 16_000, bitsPerSample: 8 };
    const muLaw = readWav(wavOf(codes, { ...spec, tag: 7 }));
    assert.deepEqual([...muLaw], [-32_124, 32_124, 0, 0, 120, 16_764]);
    const aLaw = readWav(wavOf(Uint8Array.of(0xd5, 0x55, 0x2a, 0xaa, 0x80), { ...spec, tag: 6 }));
    assert.deepEqual([...aLaw], [8, -8, -32_256, 32_256, 5_504]);
  });

  for (const [sampleRateHz, channels] of [
    [8_000, 1],
    [11_025, 2],
    [44_100, 2],
    [48_000, 6],
    [96_000, 2],
    [176_400, 1],
    [192_000, 1],
  ] as const) {
    it(`[WAV3] brings ${channels} channels of ${sampleRateHz} Hz to 16 kHz mono`, () => {
      const samples = new Int16Array((sampleRateHz / 5) * channels);
      const wave = (i: number): number => 16_000 * Math.sin((2 * Math.PI * 440 * i) / sampleRateHz);
      for (let i = 0; i < samples.length; i++) samples[i] = wave(Math.floor(i / channels));
      const read = readWav(wavOf(samples, { sampleRateHz, channels }));
      const expected = Int16Array.from(
        { length: 3_200 },
        (_, i) => 16_000 * Math.sin((2 * Math.PI * 440 * i) / 16_000),
      );
      assert.equal(read.length, 3_200);
      // The edges have half a filter of silence in them, and a mean of four samples lies 8 µs beside the first.
      const { samples: most } = difference(read.subarray(100, -100), expected.subarray(100, -100));
      assert(most < 400, `differs by ${most}`);
    });
  }

  it('[WAV4] an extensible format is what it extends, and parts that are not known are passed over', () => {
    const read = readWav(
      wavOf(pcm, {
        isExtensible: true,
        before: [
          ['LIST', 7],
          ['bext', 602],
        ],
      }),
    );
    assert.deepEqual(read, pcm);
  });

  it('[WAV5] a recording with its length left open, or cut off, ends where the file ends', () => {
    for (const dataBytes of [0, 0xffff_ffff, 1_000_000]) {
      assert.deepEqual(readWav(wavOf(pcm, { dataBytes })), pcm);
    }
    assert.deepEqual(readWav(wavOf(pcm, {}).subarray(0, 44 + 101)), pcm.subarray(0, 50));
  });

  it('[WAV6] what cannot be read is refused with the reason', () => {
    const refuse = (bytes: Uint8Array, reason: RegExp): void => {
      assert.throws(() => readWav(bytes), { code: 'unsupported_audio', message: reason });
    };
    for (const spec of [
      ...[{ tag: 2, bitsPerSample: 4 }, { sampleRateHz: 4_000 }, { sampleRateHz: 88_201 }, { channels: 0 }],
      ...[{ channels: 65 }, { sampleRateHz: 192_002 }],
    ]) {
      refuse(wavOf(pcm, spec), /its samples are not PCM of 8 to 32 bits/);
    }
    refuse(wavOf(pcm, {}).subarray(0, 36), /no format or no samples/);
  });

  it('[WAV7] any bytes after a WAV header are read or refused, never anything else', () => {
    const head = wavOf(pcm, {}).subarray(0, 12);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom('fmt ', 'data', 'LIST'),
        fc.nat({ max: 60 }),
        (noise, name, length) => {
          const bytes = Buffer.concat([
            head,
            Buffer.from(name),
            Buffer.of(length, 0, 0, 0),
            noise,
            noise,
            noise,
          ]);
          try {
            readWav(bytes);
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'unsupported_audio');
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
