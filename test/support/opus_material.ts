/** Opus packets for tests, made by libopus's own encoder from generated signals, and the signals themselves. */
import { createRequire } from 'node:module';
import { seededRandom } from './random.ts';

interface CodecOptions {
  readonly channels: number;
  readonly sample_rate: number;
  readonly application?: OpusApplication;
}
/** What the package's WebAssembly build exports; it has no types of its own. Never the native build: it crashes. */
interface OpusPackage {
  readonly Encoder: new (options: CodecOptions) => {
    ctl(request: number, value: number): number;
    encode(pcm: ArrayBufferView): Uint8Array;
    drop(): void;
  };
  readonly Decoder: new (options: CodecOptions) => ReferenceDecoder;
}
/** The package's own decoder, for comparison. `decode` returns PCM bytes and throws for what is no packet. */
export interface ReferenceDecoder {
  decode(packet: Uint8Array): Uint8Array;
  drop(): void;
}

const codec = createRequire(import.meta.url)('@evan/opus/wasm/index.js') as OpusPackage;

const SET_BITRATE = 4002;
const SET_VBR = 4006;
const SET_INBAND_FEC = 4012;
const SET_PACKET_LOSS = 4014;
const SET_DTX = 4016;

export type OpusApplication = 'voip' | 'audio' | 'restricted_lowdelay';
export type SignalKind = 'silence' | 'tone' | 'noise' | 'chirp' | 'voiced';

/** How a stream is made; one channel of `sampleRateHz` (8, 12, 16, 24 or 48 kHz) unless `channels` is 2. */
export interface StreamSpec {
  readonly kind: SignalKind;
  readonly frames: number;
  readonly sampleRateHz: number;
  readonly channels?: number;
  readonly application: OpusApplication;
  readonly bitrate: number;
  /** 2.5, 5, 10, 20, 40, 60, 80, 100 or 120. */
  readonly frameMs: number;
  readonly dtx?: boolean;
  readonly fec?: boolean;
  readonly cbr?: boolean;
  readonly seed?: number;
}

/** One sample, in [-1, 1], of a signal at `seconds`. */
function sampleAt(kind: SignalKind, seconds: number, random: () => number): number {
  const turn = 2 * Math.PI * seconds;
  switch (kind) {
    case 'silence':
      return 0;
    case 'tone':
      return 0.4 * Math.sin(440 * turn);
    case 'noise':
      return 0.6 * random() - 0.3;
    case 'chirp':
      return 0.4 * Math.sin((100 + 600 * (seconds % 4)) * turn);
    case 'voiced': {
      // A glottal pulse train through three formants, in syllables of a quarter second.
      const envelope = Math.max(0, Math.sin(4 * turn));
      const pitch = 120 + 20 * Math.sin(0.7 * turn);
      const harmonics =
        Math.sin(pitch * turn) + 0.6 * Math.sin(5 * pitch * turn) + 0.3 * Math.sin(14 * pitch * turn);
      return envelope * (0.25 * harmonics + 0.01 * (random() - 0.5));
    }
  }
}

/** `samples` interleaved samples per channel of a signal. */
export function makeSignal(spec: {
  readonly kind: SignalKind;
  readonly samples: number;
  readonly sampleRateHz: number;
  readonly channels?: number;
  readonly seed?: number;
}): Int16Array {
  const { channels = 1 } = spec;
  const random = seededRandom(spec.seed ?? 1);
  const pcm = new Int16Array(spec.samples * channels);
  for (let i = 0; i < pcm.length; i++) {
    const seconds = Math.floor(i / channels) / spec.sampleRateHz;
    pcm[i] = Math.round(32_767 * sampleAt(spec.kind, seconds, random));
  }
  return pcm;
}

/** Encodes a signal to `spec.frames` packets. */
export function encodeStream(spec: StreamSpec): Uint8Array[] {
  const { channels = 1, sampleRateHz, frameMs, frames, application } = spec;
  const encoder = new codec.Encoder({ channels, sample_rate: sampleRateHz, application });
  encoder.ctl(SET_BITRATE, spec.bitrate);
  if (spec.cbr === true) encoder.ctl(SET_VBR, 0);
  if (spec.dtx === true) encoder.ctl(SET_DTX, 1);
  if (spec.fec === true) {
    encoder.ctl(SET_INBAND_FEC, 1);
    encoder.ctl(SET_PACKET_LOSS, 20);
  }
  const frameSamples = (frameMs * sampleRateHz) / 1000;
  const pcm = makeSignal({ ...spec, samples: frames * frameSamples });
  const packets: Uint8Array[] = [];
  for (let i = 0; i < frames; i++) {
    packets.push(
      encoder.encode(pcm.subarray(i * frameSamples * channels, (i + 1) * frameSamples * channels)),
    );
  }
  encoder.drop();
  return packets;
}

/** Size of libopus's state of a mono decoder, which is the end of a snapshot. */
const STATE_BYTES = 18_172;

/** A decoder's snapshot whose next CELT packet traps: it points at constants outside the codec's memory. */
export function breakOpusSnapshot(snapshot: Uint8Array): Uint8Array {
  const broken = snapshot.slice();
  const words = new DataView(broken.buffer);
  const stateOffset = broken.length - STATE_BYTES;
  words.setInt32(stateOffset + words.getInt32(stateOffset, true), 0x7fff_fff0, true);
  return broken;
}

/** The package's decoder at 16 kHz mono. Free it with `drop`. */
export function createReferenceDecoder(): ReferenceDecoder {
  return new codec.Decoder({ channels: 1, sample_rate: 16_000 });
}

/** Streams that between them use every mode, rate, duration and feature that matters to a decoder. */
export function makeCorpus(framesEach: number): Uint8Array[][] {
  const base = {
    kind: 'voiced',
    frames: framesEach,
    sampleRateHz: 16_000,
    application: 'voip',
    bitrate: 24_000,
    frameMs: 20,
  } as const;
  const specs: StreamSpec[] = [
    base,
    { ...base, bitrate: 12_000, sampleRateHz: 8_000 },
    { ...base, bitrate: 16_000, sampleRateHz: 12_000, kind: 'chirp' },
    { ...base, sampleRateHz: 24_000, application: 'audio', bitrate: 28_000 },
    { ...base, sampleRateHz: 48_000, bitrate: 32_000, fec: true },
    { ...base, sampleRateHz: 48_000, channels: 2, bitrate: 64_000, kind: 'noise' },
    { ...base, sampleRateHz: 48_000, application: 'audio', bitrate: 96_000, kind: 'chirp' },
    { ...base, dtx: true, kind: 'silence' },
    { ...base, fec: true, bitrate: 32_000 },
    { ...base, bitrate: 6_000, cbr: true },
    { ...base, kind: 'tone', application: 'audio', bitrate: 128_000, sampleRateHz: 48_000, cbr: true },
  ];
  for (const frameMs of [2.5, 5, 10, 40, 60, 80, 100, 120]) {
    specs.push({
      ...base,
      frameMs,
      sampleRateHz: 48_000,
      kind: 'chirp',
      application: 'audio',
      bitrate: 32_000,
    });
    if (frameMs >= 10) specs.push({ ...base, frameMs });
    else specs.push({ ...base, frameMs, sampleRateHz: 48_000, application: 'restricted_lowdelay' });
  }
  return specs.map((spec, i) => encodeStream({ ...spec, seed: i + 1 }));
}

/** Damages packets the ways a network, a bug or an attacker does. Sizes stay within 4,000 bytes. */
export class PacketMutator {
  readonly #random: () => number;
  readonly #packets: readonly Uint8Array[];

  constructor(packets: readonly Uint8Array[], random: () => number) {
    this.#packets = packets;
    this.#random = random;
  }

  /** An integer in [0, end). */
  #below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  valid(): Uint8Array {
    return this.#packets[this.#below(this.#packets.length)] ?? Uint8Array.of(0);
  }

  randomBytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#below(256));
  }

  /** Mix of the reliability study: 30 % random, 10 % random of many frames, 20 % valid, 20 % bit-flipped … */
  next(): { kind: string; packet: Uint8Array } {
    const draw = this.#random();
    if (draw < 0.3) return { kind: 'random', packet: this.randomBytes(1 + this.#below(200)) };
    if (draw < 0.4) return { kind: 'many frames', packet: this.#manyFrames() };
    if (draw < 0.6) return { kind: 'valid', packet: this.valid() };
    if (draw < 0.75) return { kind: 'bits flipped', packet: this.#flipped(0) };
    if (draw < 0.8) return { kind: 'toc flipped', packet: this.#flipped(1) };
    const valid = this.valid();
    if (draw < 0.9) return { kind: 'truncated', packet: valid.subarray(0, this.#below(valid.length)) };
    if (draw < 0.95) return { kind: 'spliced', packet: Buffer.concat([valid, this.valid()]) };
    return { kind: 'oversize', packet: Buffer.concat([valid, this.randomBytes(this.#below(3_000))]) };
  }

  #manyFrames(): Uint8Array {
    const packet = this.randomBytes(2 + this.#below(400));
    packet[0] = (packet[0] ?? 0) | 3;
    packet[1] = ((packet[1] ?? 0) & 0xc0) | (1 + this.#below(12));
    return packet;
  }

  /** Flips 1 to 8 bits, all within the first `headBytes` if that is not 0. */
  #flipped(headBytes: number): Uint8Array {
    const packet = Uint8Array.from(this.valid());
    const bytes = headBytes === 0 ? packet.length : Math.min(headBytes, packet.length);
    for (let flips = 1 + this.#below(8); flips > 0; flips--) {
      const index = this.#below(bytes);
      packet[index] = (packet[index] ?? 0) ^ (1 << this.#below(8));
    }
    return packet;
  }
}
