/** Numbers of 16 bits (IEEE 754 binary16), which Node 20 has no array for. */

/** Bits of 32-bit numbers: infinity, the least that is beyond 16 bits, and the least that is normal there. */
const INFINITY_32 = 0x7f80_0000;
const BEYOND = 0x4780_0000;
const LEAST_NORMAL = 0x3880_0000;
/** What the exponents' biases differ by, and the bits by which the mantissas do. */
const BIAS_DIFFERENCE = 0x3800_0000;
const DROPPED_BITS = 13;
const INFINITY_16 = 0x7c00;
const NAN_16 = 0x7e00;
/** Subnormal numbers are multiples of 2⁻²⁴. */
const SUBNORMAL_STEPS = 2 ** 24;

/** The bits of each number, rounded to the nearest, ties to even; what is too large becomes infinite. */
export function toFloat16(floats: Float32Array): Uint16Array {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  return Uint16Array.from(
    bits,
    (of, at) => ((of >>> 16) & 0x8000) | magnitudeOf(of & 0x7fff_ffff, floats[at] ?? 0),
  );
}

function magnitudeOf(bits: number, value: number): number {
  if (bits > INFINITY_32) return NAN_16;
  if (bits >= BEYOND) return INFINITY_16;
  if (bits < LEAST_NORMAL) return roundToEven(Math.abs(value) * SUBNORMAL_STEPS);
  const moved = bits - BIAS_DIFFERENCE;
  const isOdd = (moved >>> DROPPED_BITS) & 1;
  // What is rounded up over the end of the mantissa goes on in the exponent by itself.
  return (moved + (2 ** (DROPPED_BITS - 1) - 1) + isOdd) >>> DROPPED_BITS;
}

function roundToEven(value: number): number {
  const lower = Math.floor(value);
  const isUp = value - lower > 0.5 || (value - lower === 0.5 && lower % 2 === 1);
  return isUp ? lower + 1 : lower;
}
