/** Numbers of 16 bits (IEEE 754 binary16), which Node 20 has no array for. */

const MANTISSA_BITS = 10;
const EXPONENT_BIAS = 15;
const LARGEST = 65_504;
const INFINITY_BITS = 0x7c00;
const SIGN_BIT = 0x8000;

/** The bits of each number, rounded to the nearest; beyond ±65,504 they are infinite. */
export function toFloat16(floats: Float32Array): Uint16Array {
  return Uint16Array.from(floats, bitsOf);
}

function bitsOf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? SIGN_BIT : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return INFINITY_BITS + 1;
  if (magnitude > LARGEST) return sign + INFINITY_BITS;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), 1 - EXPONENT_BIAS);
  // In units of the last place; what rounds up to the next power of two carries into the exponent by itself.
  const mantissa = roundToEven(magnitude / 2 ** (exponent - MANTISSA_BITS));
  return sign + mantissa + (exponent + EXPONENT_BIAS - 1) * 2 ** MANTISSA_BITS;
}

function roundToEven(value: number): number {
  const lower = Math.floor(value);
  const isUp = value - lower > 0.5 || (value - lower === 0.5 && lower % 2 === 1);
  return isUp ? lower + 1 : lower;
}
