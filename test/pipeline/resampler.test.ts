import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FilterCache, Resampler } from '../../pipeline/codecs/resampler.ts';
import { makeSignal } from '../support/opus_material.ts';

const filters = new FilterCache();
const RATES_HZ = [
  8_000, 11_025, 12_000, 15_999, 16_001, 22_050, 24_000, 32_000, 44_100, 44_101, 47_999, 48_000,
];

function sine(rateHz: number, hz: number, amplitude = 16_000): Float64Array {
  return Float64Array.from(
    { length: rateHz },
    (_, i) => amplitude * Math.sin((2 * Math.PI * hz * i) / rateHz),
  );
}

function resample(rateHz: number, input: Float64Array): Int16Array {
  return new Resampler(filters.filterFor(rateHz)).push(input);
}

/** Amplitude and phase (radians, of a sine) of `hz` in the middle of 16 kHz audio, under a Hann window. */
function measure(pcm: Int16Array, hz: number): { amplitude: number; phase: number } {
  const from = 2_000;
  const length = 12_000;
  let [real, imaginary] = [0, 0];
  for (let i = 0; i < length; i++) {
    const weight = (1 - Math.cos((2 * Math.PI * i) / length)) / length;
    const angle = (2 * Math.PI * hz * (from + i)) / 16_000;
    real += 2 * weight * (pcm[from + i] ?? 0) * Math.sin(angle);
    imaginary += 2 * weight * (pcm[from + i] ?? 0) * Math.cos(angle);
  }
  return { amplitude: Math.hypot(real, imaginary), phase: Math.atan2(imaginary, real) };
}

/** Loudest sample of the middle, where neither the start nor the end is heard. */
function peak(pcm: Int16Array): number {
  return pcm.subarray(2_000, 14_000).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}

function decibels(ratio: number): number {
  return 20 * Math.log10(ratio);
}

describe('The resampler', () => {
  it('[RES1] tones up to 7 kHz (3.5 kHz from 8 kHz, in proportion between) pass within 0.05 dB', () => {
    for (const rateHz of RATES_HZ) {
      const passHz = 7_000 * Math.min(1, rateHz / 16_000);
      for (const share of [0.01, 0.1, 0.5, 0.9, 1]) {
        const hz = share * passHz;
        const gain = decibels(measure(resample(rateHz, sine(rateHz, hz)), hz).amplitude / 16_000);
        assert(Math.abs(gain) < 0.05, `${hz} Hz at ${rateHz} Hz: ${gain} dB`);
      }
    }
  });

  it('[RES2] tones above 9 kHz are at least 70 dB down', () => {
    for (const rateHz of [22_050, 24_000, 32_000, 44_100, 44_101, 48_000]) {
      for (let hz = 9_000; hz < rateHz / 2; hz += 487) {
        const level = decibels(peak(resample(rateHz, sine(rateHz, hz))) / 16_000);
        assert(level <= -70, `${hz} Hz at ${rateHz} Hz: ${level} dB`);
      }
    }
  });

  it('[RES3] images of an 8 kHz input are at least 70 dB down', () => {
    for (const hz of [200, 1_000, 2_500, 3_400]) {
      const image = measure(resample(8_000, sine(8_000, hz)), 8_000 - hz).amplitude;
      assert(decibels(image / 16_000) <= -70, `${hz} Hz: ${image}`);
    }
  });

  it('[RES4] audio is not shifted: a tone keeps its phase to a microsecond', () => {
    for (const rateHz of RATES_HZ) {
      const { phase } = measure(resample(rateHz, sine(rateHz, 1_000)), 1_000);
      const shiftMs = (Math.abs(phase) / (2 * Math.PI * 1_000)) * 1_000;
      assert(shiftMs < 0.001, `${rateHz} Hz: ${shiftMs} ms`);
    }
  });

  it('[RES5] the output of 5 s is as long as the input less at most 3 ms', () => {
    for (const rateHz of RATES_HZ) {
      const resampler = new Resampler(filters.filterFor(rateHz));
      let samples = 0;
      for (let second = 0; second < 5; second++) samples += resampler.push(new Float64Array(rateHz)).length;
      const missing = 5 * 16_000 - samples;
      assert(missing >= 0 && missing <= 48, `${rateHz} Hz: ${missing} samples`);
    }
  });

  it('[RES6] any cut of the input gives the same samples, and so does a state restored between any two', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8_000, max: 48_000 }),
        fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 20 }),
        (rateHz, lengths) => {
          const total = lengths.reduce((sum, length) => sum + length, 0);
          const input = Float64Array.from(
            makeSignal({ kind: 'noise', samples: total, sampleRateHz: rateHz }),
          );
          const whole = resample(rateHz, input);
          let resampler = new Resampler(filters.filterFor(rateHz));
          const parts: number[] = [];
          let from = 0;
          for (const length of lengths) {
            parts.push(...resampler.push(input.subarray(from, from + length)));
            from += length;
            const next = new Resampler(filters.filterFor(rateHz));
            next.restore(resampler.save());
            resampler = next;
          }
          assert.deepEqual(Int16Array.from(parts), whole);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('[RES7] full scale saturates and never wraps; a constant comes out constant', () => {
    for (const rateHz of RATES_HZ) {
      const square = Float64Array.from({ length: rateHz }, (_, i) => (i % 160 < 80 ? 32_767 : -32_768));
      const pcm = resample(rateHz, square);
      const reference = resample(
        rateHz,
        square.map((sample) => sample / 2),
      );
      for (const [i, sample] of pcm.entries()) {
        assert(Math.abs(sample - Math.max(-32_768, Math.min(32_767, 2 * (reference[i] ?? 0)))) <= 2);
      }
      assert(pcm.includes(32_767) && pcm.includes(-32_768));
      const constant = resample(rateHz, new Float64Array(rateHz).fill(12_345)).subarray(200, 15_000);
      assert(constant.every((sample) => sample === 12_345));
    }
  });

  it('[RES9] a tone of 6.9 kHz comes out within 3 of 65,536 steps of the ideal, also at rates whose filters are interpolated', () => {
    for (const rateHz of [16_001, 44_100, 44_101, 47_999, 48_000]) {
      const pcm = resample(rateHz, sine(rateHz, 6_900));
      for (let i = 200; i < 15_900; i++) {
        const ideal = 16_000 * Math.sin((2 * Math.PI * 6_900 * i) / 16_000);
        const error = Math.abs((pcm[i] ?? 0) - ideal);
        assert(error <= 3, `${rateHz} Hz, sample ${i}: ${error}`);
      }
    }
  });

  it('[RES8] a state of another rate is refused, and so is a rate out of range', () => {
    const other = new Resampler(filters.filterFor(8_000));
    other.push(new Float64Array(100));
    assert.throws(() => {
      other.restore(new Resampler(filters.filterFor(48_000)).save());
    }, /longer than the filter/);
    assert.throws(() => {
      other.restore(Float64Array.of(7.5));
    }, /not a state of this rate/);
    for (const rateHz of [7_999, 48_001, 44_100.5, Number.NaN])
      assert.throws(() => filters.filterFor(rateHz));
  });
});
