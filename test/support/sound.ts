/** Generated sound, 16 kHz mono. Levels are RMS in dB below full scale; the same arguments give the same samples. */
import { msToSamples, SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { seededRandom } from './random.ts';

/** Duration and level of a sound. */
export interface SoundLevel {
  readonly durationMs: number;
  /** RMS level, ≤ 0; at 0 peaks are clipped. */
  readonly dbfs: number;
}

/** Digital silence. */
export function silence(durationMs: number): Int16Array {
  return new Int16Array(msToSamples(durationMs));
}

/** White Gaussian noise. */
export function whiteNoise(options: SoundLevel & { readonly seed: number }): Int16Array {
  const random = seededRandom(options.seed);
  return generate(options, () => {
    // Box-Muller; 1 - random() keeps the logarithm finite.
    return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  });
}

/** A sine. */
export function tone(options: SoundLevel & { readonly hz: number }): Int16Array {
  return generate(options, (seconds) => Math.SQRT2 * Math.sin(2 * Math.PI * options.hz * seconds));
}

/** Mains hum: 50 Hz and its odd harmonics up to 350 Hz, each weaker than the one below. */
export function hum(options: SoundLevel): Int16Array {
  const harmonics = [1, 3, 5, 7];
  const power = harmonics.reduce((sum, n) => sum + 1 / (2 * n * n), 0);
  return generate(options, (seconds) => {
    const wave = harmonics.reduce((sum, n) => sum + Math.sin(2 * Math.PI * 50 * n * seconds) / n, 0);
    return wave / Math.sqrt(power);
  });
}

/** Joins sounds, one after the other. */
export function concat(...parts: readonly Int16Array[]): Int16Array {
  const joined = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Adds two sounds, clipping; the shorter one is taken as silent after its end. */
export function mix(one: Int16Array, other: Int16Array): Int16Array {
  const mixed = new Int16Array(Math.max(one.length, other.length));
  for (let i = 0; i < mixed.length; i++) mixed[i] = clip((one[i] ?? 0) + (other[i] ?? 0));
  return mixed;
}

/** `wave` has an RMS of 1; its argument is the time in seconds. */
function generate(level: SoundLevel, wave: (seconds: number) => number): Int16Array {
  const gain = 32_768 * 10 ** (level.dbfs / 20);
  const samples = new Int16Array(msToSamples(level.durationMs));
  for (let i = 0; i < samples.length; i++) samples[i] = clip(Math.round(gain * wave(i / SAMPLE_RATE_HZ)));
  return samples;
}

function clip(sample: number): number {
  return Math.max(-32_768, Math.min(32_767, sample));
}
