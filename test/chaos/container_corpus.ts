/** Containers and encodings that are unusual, wrong or hostile, and what a session makes of each. */
import { CONTAINER_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import {
  cutInto,
  element,
  liveWebm,
  oggPages,
  opusHead,
  webmBlock,
  webmTrack,
  webmTracks,
} from '../support/containers.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { wavOf } from '../support/wav.ts';
import type { AudioItem } from './audio_corpus.ts';

const AUTO = 'encoding=auto';
const FLOATS = 'encoding=pcm_f32le';
const UNSUPPORTED = 'refused: unsupported_audio';

async function speech(): Promise<Int16Array> {
  return concat(silence(300), await synthesise('good morning', { voice: 'rms' }), silence(900));
}

async function packets(): Promise<readonly Uint8Array[]> {
  return encodeOpus(await speech());
}

function floats(values: Iterable<number>): readonly Uint8Array[] {
  return cutInto(new Uint8Array(Float32Array.from(values).buffer), [2_560]);
}

async function webm(head = opusHead()): Promise<Uint8Array> {
  const blocks = (await packets()).map((packet) => element(0xa3, webmBlock(packet)));
  return liveWebm(blocks, webmTracks(webmTrack({ head })));
}

export const CONTAINER_CORPUS: readonly AudioItem[] = [
  {
    title: 'Ogg',
    query: AUTO,
    messages: async () => cutInto(Buffer.concat(oggPages(await packets())), [97]),
    verdict: 'heard',
  },
  {
    title: 'Ogg with every eighth page damaged',
    query: 'encoding=ogg_opus',
    messages: async () =>
      oggPages(await packets(), { perPage: 1 }).map((page, i) => (i % 8 === 7 ? page.fill(0, 40) : page)),
    verdict: 'heard, packets lost',
  },
  { title: 'live WebM', query: AUTO, messages: async () => cutInto(await webm(), [997]), verdict: 'heard' },
  {
    title: 'WebM without its beginning',
    query: 'encoding=webm_opus',
    messages: async () => cutInto((await webm()).subarray(300), [997]),
    verdict: UNSUPPORTED,
  },
  {
    title: 'WebM with six channels',
    query: AUTO,
    messages: async () => cutInto(await webm(opusHead({ channels: 6, family: 1 })), [997]),
    verdict: UNSUPPORTED,
  },
  {
    title: 'WAV with its length open',
    query: AUTO,
    messages: async () => cutInto(wavOf(await speech(), { dataBytes: 0 }), [3_200]),
    verdict: 'heard',
  },
  {
    title: 'MP4, as Safari records it',
    query: 'partials=true',
    messages: () => [Buffer.from('\0\0\0\x1cftypiso5')],
    verdict: UNSUPPORTED,
  },
  { title: 'bare packets without an encoding', query: AUTO, messages: packets, verdict: UNSUPPORTED },
  {
    title: 'a slice above its bound',
    query: AUTO,
    messages: () => [new Uint8Array(CONTAINER_MESSAGE_MAX_BYTES + 1)],
    verdict: 'refused: message_too_large',
  },
  {
    title: 'an hour of silence in one message',
    query: AUTO,
    messages: () => {
      // Packets of 120 ms in two bytes; what is decoded of a message is known at the next.
      const quiet = new Array<Uint8Array>(20_000).fill(Uint8Array.of(0x1b, 2));
      return [Buffer.concat(oggPages(quiet, { perPage: 255 })).subarray(0, CONTAINER_MESSAGE_MAX_BYTES)];
    },
    verdict: 'refused: too_fast',
  },
  {
    title: 'floats',
    query: FLOATS,
    messages: async () => floats(Array.from(await speech(), (sample) => sample / 32_768)),
    verdict: 'heard',
  },
  {
    title: 'NaN as floats',
    query: FLOATS,
    messages: () => floats(new Array<number>(32_000).fill(NaN)),
    verdict: UNSUPPORTED,
  },
  {
    title: 'infinity as floats',
    query: FLOATS,
    messages: () => floats(new Array<number>(32_000).fill(Infinity)),
    verdict: UNSUPPORTED,
  },
  {
    title: '16-bit samples as floats',
    query: FLOATS,
    messages: async () => cutInto(new Uint8Array((await speech()).buffer), [640]),
    verdict: UNSUPPORTED,
  },
];
