/** One session's raw PCM: bytes cut anywhere, any rate, one or two channels, to 16 kHz mono. */
import assert from 'node:assert/strict';
import { SAMPLE_RATE_HZ } from './audio.ts';
import { findContainer } from './container_magic.ts';
import type { AudioDecoder, DecodedAudio } from './contracts.ts';
import { Resampler, toPcmSample } from './resampler.ts';
import type { FilterCache } from './resampler.ts';

const BYTES_PER_SAMPLE = Int16Array.BYTES_PER_ELEMENT;
const SNAPSHOT_VERSION = 1;
const SNAPSHOT_KIND = 'P'.charCodeAt(0);
/** version, kind, channels, flags, carried bytes, 3 of carry, rate (u32 LE); then the resampler's float64 words. */
const HEADER_BYTES = 12;
const CARRY_OFFSET = 5;
const RATE_OFFSET = 8;
const FLAG_UNSUPPORTED = 1;
const FLAG_STARTED = 2;

/** What a PCM decoder is made of: integer `sampleRateHz` of 8,000–48,000, `channels` 1 or 2 (interleaved). */
export interface PcmDecoderParts {
  readonly sampleRateHz: number;
  readonly channels: number;
  readonly filters: FilterCache;
  /** Called once, when the decoder has been closed. */
  readonly onClosed: () => void;
}

/**
 * Decodes signed 16-bit little-endian PCM. Messages may end inside a sample or between two channels: the rest is
 * carried, and any cut of the same bytes gives the same samples. Stereo becomes the mean of its channels.
 * A session that begins with Ogg, WebM, FLAC or MP3 is refused for good; a WAV header passes, as 3 ms of noise at
 * most, because what follows it is PCM.
 */
export class PcmDecoder implements AudioDecoder {
  readonly #sampleRateHz: number;
  readonly #channels: number;
  readonly #onClosed: () => void;
  /** Absent at 16 kHz: the samples pass unchanged. */
  readonly #resampler: Resampler | undefined;
  #carry = new Uint8Array(0);
  #hasStarted = false;
  #isUnsupported = false;
  #isClosed = false;

  constructor(parts: PcmDecoderParts) {
    const { sampleRateHz, channels, filters } = parts;
    assert(channels === 1 || channels === 2);
    this.#sampleRateHz = sampleRateHz;
    this.#channels = channels;
    this.#onClosed = parts.onClosed;
    this.#resampler =
      sampleRateHz === SAMPLE_RATE_HZ ? undefined : new Resampler(filters.filterFor(sampleRateHz));
  }

  decode(message: Uint8Array): DecodedAudio {
    if (message.length === 0) return { pcm: new Int16Array(0) };
    if (!this.#hasStarted) {
      const container = findContainer(message);
      this.#isUnsupported = container !== undefined && container !== 'wav';
      this.#hasStarted = true;
    }
    if (this.#isUnsupported) return { pcm: new Int16Array(0), fault: 'unsupported_audio' };
    const mono = this.#takeFrames(message);
    return {
      pcm: this.#resampler === undefined ? Int16Array.from(mono, toPcmSample) : this.#resampler.push(mono),
    };
  }

  /** The whole frames in the carried bytes and `message`, mixed down; the rest is carried on. */
  #takeFrames(message: Uint8Array): Float64Array {
    const bytes = new Uint8Array(this.#carry.length + message.length);
    bytes.set(this.#carry);
    bytes.set(message, this.#carry.length);
    const frameBytes = BYTES_PER_SAMPLE * this.#channels;
    const mono = new Float64Array(Math.floor(bytes.length / frameBytes));
    const samples = new DataView(bytes.buffer);
    for (let i = 0; i < mono.length; i++) {
      const left = samples.getInt16(i * frameBytes, true);
      const right = this.#channels === 1 ? left : samples.getInt16(i * frameBytes + BYTES_PER_SAMPLE, true);
      mono[i] = (left + right) / 2;
    }
    this.#carry = bytes.slice(mono.length * frameBytes);
    return mono;
  }

  snapshot(): Uint8Array {
    const words = this.#resampler?.save() ?? new Float64Array(0);
    const bytes = new Uint8Array(HEADER_BYTES + words.byteLength);
    const flags = (this.#isUnsupported ? FLAG_UNSUPPORTED : 0) | (this.#hasStarted ? FLAG_STARTED : 0);
    bytes.set([SNAPSHOT_VERSION, SNAPSHOT_KIND, this.#channels, flags, this.#carry.length, ...this.#carry]);
    new DataView(bytes.buffer).setUint32(RATE_OFFSET, this.#sampleRateHz, true);
    bytes.set(new Uint8Array(words.buffer), HEADER_BYTES);
    return bytes;
  }

  /** Throws `AssertionError` for anything but a snapshot by the same version for the same rate and channels. */
  restore(snapshot: Uint8Array): void {
    const wordsBytes = snapshot.length - HEADER_BYTES;
    assert(wordsBytes >= 0 && wordsBytes % 8 === 0, 'a PCM snapshot has an impossible length');
    const [version, kind, channels, flags = 0, carryBytes = 0] = snapshot;
    assert(version === SNAPSHOT_VERSION && kind === SNAPSHOT_KIND, 'not a PCM snapshot of this version');
    const sampleRateHz = new DataView(snapshot.buffer, snapshot.byteOffset).getUint32(RATE_OFFSET, true);
    assert(
      channels === this.#channels && sampleRateHz === this.#sampleRateHz,
      'a PCM snapshot is of another rate or other channels',
    );
    assert(carryBytes < BYTES_PER_SAMPLE * this.#channels, 'a PCM snapshot carries a whole frame');
    assert((wordsBytes === 0) === (this.#resampler === undefined), 'a PCM snapshot lacks its resampler');
    // A copy starts at offset 0, which float64 words need; the snapshot may lie anywhere in its buffer.
    this.#resampler?.restore(new Float64Array(snapshot.slice(HEADER_BYTES).buffer));
    this.#carry = snapshot.slice(CARRY_OFFSET, CARRY_OFFSET + carryBytes);
    this.#isUnsupported = (flags & FLAG_UNSUPPORTED) !== 0;
    this.#hasStarted = (flags & FLAG_STARTED) !== 0;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClosed();
  }
}
