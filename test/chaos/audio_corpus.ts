/** Audio that is unusual, wrong or hostile, and what a session makes of each: section A5 of the study, as a table. */
import { OPUS_MESSAGE_MAX_BYTES, PCM_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { pcmMessages } from '../support/marked_speech.ts';
import { encodeStream, PacketMutator, type StreamSpec } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import { concat, silence, whiteNoise } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';

/**
 * What becomes of a session: `nothing heard` means that no utterance began, so that no model ran; `heard` that there is
 * a final, with words or without.
 */
export type AudioVerdict =
  | 'nothing heard'
  | 'nothing heard, packets lost'
  | 'heard'
  | 'heard, packets lost'
  | 'cut off'
  | `refused: ${string}`;

export interface AudioItem {
  readonly title: string;
  readonly query: string;
  readonly messages: () => Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  readonly verdict: AudioVerdict;
}

const PCM = 'encoding=pcm_s16le';
const OPUS = 'encoding=opus';
const SPEECH = 'good morning';

/** Speech between silences, at any rate that it is played at. */
async function speech(): Promise<Int16Array> {
  return concat(silence(300), await synthesise(SPEECH, { voice: 'rms' }), silence(900));
}

async function speechBytes(): Promise<Uint8Array> {
  return new Uint8Array((await speech()).buffer);
}

/** Cuts bytes into messages. */
function cut(bytes: Uint8Array, size = 640): readonly Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.slice(i * size, (i + 1) * size),
  );
}

/** Floats, as clients send them that take them for 16-bit samples. */
function floats(pcm: Int16Array): Uint8Array {
  return new Uint8Array(Float32Array.from(pcm, (sample) => sample / 32_768).buffer);
}

function filled(durationMs: number, valueAt: (index: number) => number): readonly Uint8Array[] {
  return pcmMessages(Int16Array.from({ length: durationMs * 16 }, (_, i) => valueAt(i)));
}

/** Four seconds of one float value. */
function constantFloats(value: number): readonly Uint8Array[] {
  return cut(new Uint8Array(new Float32Array(32_000).fill(value).buffer));
}

async function swapped(): Promise<readonly Uint8Array[]> {
  return cut(new Uint8Array(Buffer.from(await speechBytes()).swap16()));
}

async function stereo(): Promise<readonly Uint8Array[]> {
  const pcm = await speech();
  return pcmMessages(Int16Array.from({ length: 2 * pcm.length }, (_, i) => pcm[i >> 1] ?? 0));
}

async function clipped(): Promise<readonly Uint8Array[]> {
  const loud = (await speech()).map((sample) => Math.max(-32_768, Math.min(32_767, sample * 40)));
  return pcmMessages(loud);
}

/** A sentence between silences, in packets of this duration. */
function packetsOf(spec: Partial<StreamSpec>): readonly Uint8Array[] {
  const frameMs = spec.frameMs ?? 20;
  const base = { kind: 'voiced', sampleRateHz: 48_000, application: 'audio', bitrate: 32_000 } as const;
  return encodeStream({ ...base, frameMs, frames: Math.ceil(2_400 / frameMs), ...spec });
}

async function withDamage(
  damage: (packet: Uint8Array, index: number, mutator: PacketMutator) => Uint8Array,
): Promise<readonly Uint8Array[]> {
  const packets = encodeOpus(await speech());
  const mutator = new PacketMutator(packets, seededRandom(19));
  return packets.map((packet, index) => (index % 20 === 19 ? damage(packet, index, mutator) : packet));
}

/** The first bytes of a file, and then more of it. */
function fileOf(magic: readonly number[] | string): () => readonly Uint8Array[] {
  const head = typeof magic === 'string' ? Buffer.from(magic, 'latin1') : Buffer.from(magic);
  return () => [
    new Uint8Array(Buffer.concat([head, Buffer.alloc(200, 1)])),
    ...Array.from({ length: 20 }, (_, i) =>
      Uint8Array.from({ length: 200 }, (_unused, k) => (i * 31 + k * 7) & 0xff),
    ),
  ];
}

/** Code 3 packets: frames of the same size, `count` of them. */
function codeThree(config: number, count: number, frameBytes: number): Uint8Array {
  return Uint8Array.from([(config << 3) | 3, count, ...new Array<number>(count * frameBytes).fill(0x55)]);
}

async function repeated(text: string, times: number): Promise<readonly Uint8Array[]> {
  const words = await synthesise(text, { voice: 'rms' });
  return pcmMessages(concat(silence(300), ...Array.from({ length: times }, () => words), silence(900)));
}

const unsupported = 'refused: unsupported_audio';

const PCM_ITEMS: readonly AudioItem[] = [
  { title: 'nothing at all', query: PCM, messages: () => [], verdict: 'nothing heard' },
  { title: 'an empty message', query: PCM, messages: () => [new Uint8Array(0)], verdict: 'nothing heard' },
  { title: 'one sample', query: PCM, messages: () => [Uint8Array.of(1, 0)], verdict: 'nothing heard' },
  { title: 'one byte', query: PCM, messages: () => [Uint8Array.of(1)], verdict: 'nothing heard' },
  {
    title: '60 ms of speech',
    query: PCM,
    messages: async () => pcmMessages((await speech()).slice(8_000, 8_960)),
    verdict: 'nothing heard',
  },
  { title: 'speech', query: PCM, messages: async () => pcmMessages(await speech()), verdict: 'heard' },
  {
    title: 'speech in messages of an odd number of bytes',
    query: PCM,
    messages: async () => cut(await speechBytes(), 641),
    verdict: 'heard',
  },
  {
    title: '30 s of digital silence',
    query: PCM,
    messages: () => pcmMessages(silence(29_000)),
    verdict: 'nothing heard',
  },
  {
    title: 'a constant of 0.9',
    query: PCM,
    messages: () => filled(4_000, () => 29_500),
    verdict: 'nothing heard',
  },
  {
    title: 'a square wave at full scale',
    query: PCM,
    messages: () => filled(4_000, (i) => (i % 36 < 18 ? 32_767 : -32_768)),
    verdict: 'nothing heard',
  },
  {
    title: 'full scale, alternating',
    query: PCM,
    messages: () => filled(4_000, (i) => (i % 2 === 0 ? 32_767 : -32_768)),
    verdict: 'nothing heard',
  },
  {
    title: 'white noise',
    query: PCM,
    messages: () => pcmMessages(whiteNoise({ durationMs: 25_000, dbfs: -20, seed: 1 })),
    verdict: 'nothing heard',
  },
  { title: 'speech that is clipped through and through', query: PCM, messages: clipped, verdict: 'heard' },
  { title: 'speech in the wrong byte order', query: PCM, messages: swapped, verdict: 'nothing heard' },
  {
    title: 'floats as 16-bit samples',
    query: PCM,
    messages: async () => cut(floats(await speech())),
    verdict: 'nothing heard',
  },
  {
    title: 'NaN as 16-bit samples',
    query: PCM,
    messages: () => constantFloats(NaN),
    verdict: 'nothing heard',
  },
  {
    title: 'infinity as 16-bit samples',
    query: PCM,
    messages: () => constantFloats(Infinity),
    verdict: 'nothing heard',
  },
  {
    title: '1e38 as 16-bit samples',
    query: PCM,
    messages: () => constantFloats(1e38),
    verdict: 'nothing heard',
  },
  {
    title: 'denormals as 16-bit samples',
    query: PCM,
    messages: () => constantFloats(1e-42),
    verdict: 'nothing heard',
  },
  { title: 'stereo as mono', query: PCM, messages: stereo, verdict: 'nothing heard' },
  { title: 'stereo as stereo', query: `${PCM}&channels=2`, messages: stereo, verdict: 'heard' },
  {
    title: '16 kHz as 8 kHz',
    query: `${PCM}&sampleRateHz=8000`,
    messages: async () => cut(await speechBytes()),
    verdict: 'heard',
  },
  {
    title: '16 kHz as 12 kHz',
    query: `${PCM}&sampleRateHz=12000`,
    messages: async () => cut(await speechBytes()),
    verdict: 'heard',
  },
  {
    title: '16 kHz as 24 kHz',
    query: `${PCM}&sampleRateHz=24000`,
    messages: async () => cut(await speechBytes()),
    verdict: 'heard',
  },
  {
    title: '16 kHz as 44.1 kHz',
    query: `${PCM}&sampleRateHz=44100`,
    messages: async () => cut(await speechBytes()),
    verdict: 'heard',
  },
  {
    title: '16 kHz as 48 kHz',
    query: `${PCM}&sampleRateHz=48000`,
    messages: async () => cut(await speechBytes()),
    verdict: 'heard',
  },
  {
    title: 'a message above its bound',
    query: PCM,
    messages: () => [new Uint8Array(PCM_MESSAGE_MAX_BYTES + 2)],
    verdict: 'refused: message_too_large',
  },
  {
    title: 'ten million samples at once',
    query: PCM,
    messages: () => cut(new Uint8Array(20_000_000), PCM_MESSAGE_MAX_BYTES),
    verdict: 'refused: too_fast',
  },
  {
    title: 'a WAV file as PCM',
    query: PCM,
    messages: async () => [new Uint8Array(Buffer.from('RIFF\0\0\0\0WAVEfmt ')), ...cut(await speechBytes())],
    verdict: 'heard',
  },
  { title: 'an Ogg file as PCM', query: PCM, messages: fileOf('OggS\0\x02'), verdict: unsupported },
  {
    title: 'a phrase again and again for 25 s',
    query: PCM,
    messages: () => repeated('yes', 30),
    verdict: 'heard',
  },
];

const OPUS_ITEMS: readonly AudioItem[] = [
  {
    title: 'an empty Opus message',
    query: OPUS,
    messages: () => [new Uint8Array(0)],
    verdict: 'nothing heard',
  },
  { title: 'one byte as Opus', query: OPUS, messages: () => [Uint8Array.of(0x48)], verdict: 'nothing heard' },
  {
    title: 'speech as Opus',
    query: OPUS,
    messages: async () => encodeOpus(await speech()),
    verdict: 'heard',
  },
  {
    title: 'silence as Opus',
    query: OPUS,
    messages: () => encodeOpus(silence(20_000)),
    verdict: 'nothing heard',
  },
  {
    title: 'DTX only',
    query: OPUS,
    messages: () => packetsOf({ kind: 'silence', dtx: true, application: 'voip' }),
    verdict: 'nothing heard',
  },
  ...[2.5, 5, 10, 40, 60, 80, 100, 120].map((frameMs): AudioItem => ({
    title: `a tone in packets of ${frameMs} ms`,
    query: OPUS,
    messages: () => packetsOf({ frameMs, kind: 'tone' }),
    verdict: 'nothing heard',
  })),
  {
    title: '48 frames of 2.5 ms in each packet',
    query: OPUS,
    messages: () => Array.from({ length: 20 }, () => codeThree(28, 48, 20)),
    verdict: 'nothing heard',
  },
  {
    title: '49 frames of 2.5 ms in each packet',
    query: OPUS,
    messages: () => Array.from({ length: 20 }, () => codeThree(28, 49, 20)),
    verdict: unsupported,
  },
  {
    title: 'packets without a frame',
    query: OPUS,
    messages: () => Array.from({ length: 20 }, () => Uint8Array.of(3, 0)),
    verdict: unsupported,
  },
  {
    title: 'frames of 1,275 bytes',
    query: OPUS,
    messages: () => packetsOf({ kind: 'noise', bitrate: 510_000, cbr: true }),
    verdict: 'nothing heard',
  },
  {
    title: 'a packet above its bound',
    query: OPUS,
    messages: () => [new Uint8Array(OPUS_MESSAGE_MAX_BYTES + 1)],
    verdict: 'refused: message_too_large',
  },
  {
    title: 'every twentieth packet cut short',
    query: OPUS,
    messages: () => withDamage((packet) => packet.subarray(0, 1 + (packet.length >> 1))),
    verdict: 'heard',
  },
  {
    title: 'every twentieth packet without a frame',
    query: OPUS,
    messages: () => withDamage(() => Uint8Array.of(3, 0)),
    verdict: 'heard, packets lost',
  },
  {
    title: 'every twentieth packet random behind a good first byte',
    query: OPUS,
    messages: () =>
      withDamage((packet, _index, mutator) => Uint8Array.of(packet[0] ?? 0, ...mutator.randomBytes(60))),
    verdict: 'heard',
  },
  {
    title: 'SILK, CELT and hybrid in turns',
    query: OPUS,
    messages: () => {
      const streams = [
        packetsOf({ application: 'voip', bitrate: 12_000, sampleRateHz: 16_000 }),
        packetsOf({ application: 'restricted_lowdelay' }),
        packetsOf({ application: 'voip', bitrate: 32_000 }),
      ];
      return streams[0]?.map((_, i) => streams[i % 3]?.[i] ?? Uint8Array.of(0)) ?? [];
    },
    verdict: 'nothing heard',
  },
  { title: 'PCM as Opus', query: OPUS, messages: async () => cut(await speechBytes()), verdict: unsupported },
  {
    title: 'zeros as Opus',
    query: OPUS,
    messages: () => Array.from({ length: 40 }, () => new Uint8Array(640)),
    verdict: unsupported,
  },
  {
    title: 'ones as Opus',
    query: OPUS,
    messages: () => Array.from({ length: 40 }, () => new Uint8Array(640).fill(255)),
    verdict: unsupported,
  },
  {
    title: 'a WAV file as Opus',
    query: OPUS,
    messages: fileOf('RIFF\0\0\0\0WAVEfmt '),
    verdict: unsupported,
  },
  { title: 'an Ogg file as Opus', query: OPUS, messages: fileOf('OggS\0\x02'), verdict: unsupported },
  {
    title: 'a WebM file as Opus',
    query: OPUS,
    messages: fileOf([0x1a, 0x45, 0xdf, 0xa3]),
    verdict: unsupported,
  },
  { title: 'an MP3 file as Opus', query: OPUS, messages: fileOf('ID3\x04'), verdict: unsupported },
  { title: 'a FLAC file as Opus', query: OPUS, messages: fileOf('fLaC\0'), verdict: unsupported },
];

/** What is refused never reaches a model, and what ends a worker would be a bug in any of them. */
export const AUDIO_CORPUS: readonly AudioItem[] = [...PCM_ITEMS, ...OPUS_ITEMS];
