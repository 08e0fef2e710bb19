/** Reads the samples of a WAV file: what recorders, telephone systems and editors write. */
import { SAMPLE_RATE_HZ } from '../pipeline/audio.ts';
import { AudioError } from '../pipeline/errors.ts';
import { PCM_RATE_MAX_HZ, PCM_RATE_MIN_HZ } from '../pipeline/limits.ts';
import { FilterCache, Resampler, toPcmSample } from '../pipeline/resampler.ts';

/** Format tags of the `fmt ` part (RFC 2361). */
const TAG_PCM = 1;
const TAG_FLOAT = 3;
const TAG_ALAW = 6;
const TAG_MULAW = 7;
const TAG_EXTENSIBLE = 0xfffe;
/** Where an extensible format keeps the tag it extends. */
const EXTENSIBLE_TAG_OFFSET = 24;
/** Frames that are converted at a time; bounds the memory that a long file takes. */
const BLOCK_FRAMES = 65_536;
/** Silence after the end that brings the resampler's last samples out: its filter is shorter. */
const TAIL_MS = 10;

/** Reads one sample at a byte offset, on the 16-bit scale. */
type ReadSample = (view: DataView, offset: number) => number;

interface WavFormat {
  readonly tag: number;
  readonly channels: number;
  readonly sampleRateHz: number;
  readonly bitsPerSample: number;
}

/** True if the bytes begin as a WAV file does. */
export function isWav(bytes: Uint8Array): boolean {
  return bytes.length >= 12 && textAt(bytes, 0) === 'RIFF' && textAt(bytes, 8) === 'WAVE';
}

/**
 * The audio of a WAV file as 16 kHz mono PCM: integers of 8 to 32 bits, floats, mu-law or A-law, from 8 kHz on, the
 * mean of any number of channels. A file that was cut off ends where it was cut. Throws `AudioError`
 * (`unsupported_audio`) for anything else.
 */
export function readWav(bytes: Uint8Array): Int16Array {
  const format = bytesOf(bytes, 'fmt ');
  const samples = bytesOf(bytes, 'data');
  if (format === undefined || format.length < 16 || samples === undefined) {
    throw unsupported('it has no format or no samples');
  }
  return convert(samples, parseFormat(format));
}

/** Walks the parts of the file, each with a name and a length, to the one of this name. */
function bytesOf(bytes: Uint8Array, name: string): Uint8Array | undefined {
  const view = viewOf(bytes);
  for (let offset = 12; offset + 8 <= bytes.length;) {
    const length = view.getUint32(offset + 4, true);
    const start = offset + 8;
    // Recorders that write to a pipe leave the length open (0 or all ones): the samples reach to the end.
    const isOpen = textAt(bytes, offset) === 'data' && (length === 0 || start + length > bytes.length);
    const end = isOpen ? bytes.length : start + length;
    if (textAt(bytes, offset) === name) return bytes.subarray(start, end);
    offset = end + (end % 2);
  }
  return undefined;
}

function parseFormat(bytes: Uint8Array): WavFormat {
  const view = viewOf(bytes);
  const tag = view.getUint16(0, true);
  const isExtended = tag === TAG_EXTENSIBLE && bytes.length >= EXTENSIBLE_TAG_OFFSET + 2;
  const format = {
    tag: isExtended ? view.getUint16(EXTENSIBLE_TAG_OFFSET, true) : tag,
    channels: view.getUint16(2, true),
    sampleRateHz: view.getUint32(4, true),
    bitsPerSample: view.getUint16(14, true),
  };
  if (format.channels === 0) throw unsupported('it has no channels');
  if (format.sampleRateHz < PCM_RATE_MIN_HZ) {
    throw unsupported(`its rate is ${format.sampleRateHz} Hz; ${PCM_RATE_MIN_HZ} Hz is the lowest`);
  }
  return format;
}

function convert(samples: Uint8Array, format: WavFormat): Int16Array {
  const { channels, bitsPerSample } = format;
  const read = sampleReader(format);
  // High rates are first brought down by whole factors, through plain means: what little could fold into speech
  // from above 32 kHz, no microphone records.
  const factor = Math.ceil(format.sampleRateHz / PCM_RATE_MAX_HZ);
  const rateHz = format.sampleRateHz / factor;
  if (!Number.isInteger(rateHz)) throw unsupported(`its rate is ${format.sampleRateHz} Hz`);
  const toTarget = createConverter(rateHz);
  const sampleBytes = bitsPerSample / 8;
  const meanOf = channels * factor;
  const frameCount = Math.floor(samples.length / (sampleBytes * meanOf));
  const view = viewOf(samples);
  const blocks: Int16Array[] = [];
  for (let first = 0; first < frameCount; first += BLOCK_FRAMES) {
    const mono = new Float64Array(Math.min(BLOCK_FRAMES, frameCount - first));
    for (let i = 0; i < mono.length; i++) {
      let sum = 0;
      for (let j = 0; j < meanOf; j++) sum += read(view, ((first + i) * meanOf + j) * sampleBytes);
      mono[i] = sum / meanOf;
    }
    blocks.push(toTarget(mono));
  }
  if (rateHz !== SAMPLE_RATE_HZ) blocks.push(toTarget(new Float64Array((TAIL_MS * rateHz) / 1000)));
  return joined(blocks, Math.round((frameCount * SAMPLE_RATE_HZ) / rateHz));
}

function createConverter(rateHz: number): (mono: Float64Array) => Int16Array {
  if (rateHz === SAMPLE_RATE_HZ) return (mono) => Int16Array.from(mono, toPcmSample);
  const resampler = new Resampler(new FilterCache().filterFor(rateHz));
  return (mono) => resampler.push(mono);
}

function sampleReader({ tag, bitsPerSample }: WavFormat): ReadSample {
  switch (`${tag}:${bitsPerSample}`) {
    case `${TAG_PCM}:8`:
      return (view, offset) => (view.getUint8(offset) - 128) * 256;
    case `${TAG_PCM}:16`:
      return (view, offset) => view.getInt16(offset, true);
    case `${TAG_PCM}:24`:
      return (view, offset) => view.getInt16(offset + 1, true) + view.getUint8(offset) / 256;
    case `${TAG_PCM}:32`:
      return (view, offset) => view.getInt32(offset, true) / 65_536;
    case `${TAG_FLOAT}:32`:
      return (view, offset) => finite(view.getFloat32(offset, true)) * 32_768;
    case `${TAG_FLOAT}:64`:
      return (view, offset) => finite(view.getFloat64(offset, true)) * 32_768;
    case `${TAG_MULAW}:8`:
      return (view, offset) => expandMuLaw(view.getUint8(offset));
    case `${TAG_ALAW}:8`:
      return (view, offset) => expandALaw(view.getUint8(offset));
    default:
      throw unsupported(`its samples are of format ${tag} with ${bitsPerSample} bits`);
  }
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
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

/** The blocks as one, cut to `length` samples. */
function joined(blocks: readonly Int16Array[], length: number): Int16Array {
  const pcm = new Int16Array(length);
  let offset = 0;
  for (const block of blocks) {
    const part = block.subarray(0, length - offset);
    pcm.set(part, offset);
    offset += part.length;
  }
  return pcm;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function textAt(bytes: Uint8Array, offset: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + 4));
}

function unsupported(reason: string): AudioError {
  return new AudioError('unsupported_audio', `this WAV file cannot be read: ${reason}`);
}
