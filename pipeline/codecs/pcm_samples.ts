/** How samples are written: integers, floats, and the compressed ones of telephony. */

/** One way of writing a sample. */
export interface SampleFormat {
  readonly bytes: number;
  /** Reads one on the 16-bit scale, fractions included; NaN for what is no sample. */
  readonly read: (view: DataView, offset: number) => number;
}

/** Floats are meant to lie in [-1, 1]; what microphones and filters overshoot by is clipped, beyond that it is no float audio. */
const FLOAT_MAX = 1.5;

/** Little-endian, by name; `f32` and `f64` clip whatever is finite, `f32_unit` takes what lies near [-1, 1] only. */
export const SAMPLE_FORMATS = {
  u8: { bytes: 1, read: (view, offset) => (view.getUint8(offset) - 128) * 256 },
  s16: { bytes: 2, read: (view, offset) => view.getInt16(offset, true) },
  s24: {
    bytes: 3,
    read: (view, offset) => view.getInt16(offset + 1, true) + view.getUint8(offset) / 256,
  },
  s32: { bytes: 4, read: (view, offset) => view.getInt32(offset, true) / 65_536 },
  f32: { bytes: 4, read: (view, offset) => scaled(view.getFloat32(offset, true), Number.MAX_VALUE) },
  f32_unit: { bytes: 4, read: (view, offset) => scaled(view.getFloat32(offset, true), FLOAT_MAX) },
  f64: { bytes: 8, read: (view, offset) => scaled(view.getFloat64(offset, true), Number.MAX_VALUE) },
  mulaw: { bytes: 1, read: (view, offset) => expandMuLaw(view.getUint8(offset)) },
  alaw: { bytes: 1, read: (view, offset) => expandALaw(view.getUint8(offset)) },
} as const satisfies Record<string, SampleFormat>;
export type SampleFormatName = keyof typeof SAMPLE_FORMATS;

function scaled(value: number, max: number): number {
  return Math.abs(value) <= max ? Math.max(-1, Math.min(1, value)) * 32_768 : NaN;
}

/** ITU-T G.711, mu-law: sign, exponent and mantissa, all bits inverted, with a bias of 33 in 14-bit samples. */
function expandMuLaw(byte: number): number {
  const bits = ~byte & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
  return (bits & 0x80) === 0 ? magnitude : -magnitude;
}

/** ITU-T G.711, A-law: sign, exponent and mantissa, every other bit inverted. */
function expandALaw(byte: number): number {
  const bits = byte ^ 0x55;
  const exponent = (bits & 0x70) >> 4;
  const mantissa = ((bits & 0x0f) << 4) + 8;
  const magnitude = exponent === 0 ? mantissa : (mantissa + 0x100) << (exponent - 1);
  return (bits & 0x80) === 0 ? -magnitude : magnitude;
}
