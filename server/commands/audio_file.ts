/** Reads audio files for `transcribe`: WAV of every common kind, Opus in Ogg or WebM. */
import { access, constants, readFile, stat } from 'node:fs/promises';
import { audioDurationMs } from '../../client/audio_duration.ts';
import { joinPcm, SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { findContainer } from '../../pipeline/codecs/container_magic.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { AudioError } from '../../pipeline/errors.ts';
import { OggDemuxer } from '../../pipeline/codecs/ogg_demuxer.ts';
import { REFUSALS } from '../../pipeline/refusal.ts';
import { WebmDemuxer } from '../../pipeline/codecs/webm_demuxer.ts';
import type { FileEncoding } from './file_encoding.ts';
import { encodeOpus } from './opus_encoder.ts';
import { readWav } from './wav_file.ts';

/** One WebSocket message of audio. */
export interface FileMessage {
  readonly bytes: Uint8Array;
  readonly durationMs: number;
}

/** What a file holds before it is brought into the encoding asked for. */
type Content =
  | { readonly type: 'pcm'; readonly pcm: Int16Array }
  | { readonly type: 'opus'; readonly packets: readonly Uint8Array[] };

const IS_FOLDER = 'this is a folder; name the files in it';
/** PCM is sent in messages of 20 ms. */
const PCM_MESSAGE_BYTES = (2 * SAMPLE_RATE_HZ * 20) / 1000;

/**
 * Reads a file as messages of `encoding`; PCM is 16 kHz mono. Opus packets of a file are passed on as they are: its
 * first few ms (the encoder's pre-skip) are then part of the audio. Throws `AudioError` (`unsupported_audio`), with a
 * message that names the file, for one that cannot be read.
 */
export async function readAudioFile(path: string, encoding: FileEncoding): Promise<FileMessage[]> {
  return namingFile(path, async () => {
    const content = readContent(await readFile(path));
    if (content.type === 'pcm') return encodeMessages(content.pcm, encoding);
    if (encoding === 'opus') return opusMessages(content.packets);
    return encodeMessages(await decodeOpus(content.packets), encoding);
  });
}

/** Passes if there is a file that may be read, whatever is in it. Throws as `readAudioFile` does. */
export async function checkReadable(path: string): Promise<void> {
  await namingFile(path, async () => {
    await access(path, constants.R_OK);
    if ((await stat(path)).isDirectory()) throw new AudioError('unsupported_audio', IS_FOLDER);
  });
}

/** Reads a file as 16 kHz mono PCM. Throws as `readAudioFile` does. */
export async function readPcm(path: string): Promise<Int16Array> {
  return namingFile(path, async () => {
    const content = readContent(await readFile(path));
    return content.type === 'pcm' ? content.pcm : decodeOpus(content.packets);
  });
}

/** Cuts 16 kHz mono PCM into messages of 20 ms. */
export function encodeMessages(pcm: Int16Array, encoding: FileEncoding): FileMessage[] {
  switch (encoding) {
    case 'opus':
      return opusMessages(encodeOpus(pcm));
    case 'pcm_s16le':
      return pcmMessages(pcm);
  }
}

async function namingFile<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new AudioError('unsupported_audio', `${path}: ${reasonOf(cause)}`, { cause });
  }
}

function readContent(bytes: Uint8Array): Content {
  const container = findContainer(bytes);
  if (container === 'wav') return { type: 'pcm', pcm: readWav(bytes) };
  if (container === 'ogg' || container === 'webm') {
    return { type: 'opus', packets: readPackets(bytes, container) };
  }
  const kind = container === undefined ? 'something else' : container.toUpperCase();
  throw new AudioError('unsupported_audio', `expected WAV, or Opus in Ogg or WebM; this is ${kind}`);
}

function readPackets(bytes: Uint8Array, container: 'ogg' | 'webm'): Uint8Array[] {
  const demuxer = container === 'ogg' ? new OggDemuxer() : new WebmDemuxer();
  const packets: Uint8Array[] = [];
  for (const item of demuxer.push(bytes)) {
    if (item.type === 'refused') throw new AudioError('unsupported_audio', REFUSALS[item.reason]);
    if (item.type === 'packet') packets.push(item.bytes.slice());
  }
  if (packets.length === 0) throw new AudioError('unsupported_audio', 'there is no audio in it');
  return packets;
}

function opusMessages(packets: readonly Uint8Array[]): FileMessage[] {
  return packets.map((bytes) => ({ bytes, durationMs: audioDurationMs({ encoding: 'opus' }, bytes) }));
}

async function decodeOpus(packets: readonly Uint8Array[]): Promise<Int16Array> {
  const factory = await loadDecoderFactory();
  const decoder = factory.create({ encoding: 'opus', sampleRateHz: SAMPLE_RATE_HZ, channels: 1 });
  try {
    return joinPcm(packets.map((packet) => decoder.decode(packet).pcm));
  } finally {
    decoder.close();
  }
}

function pcmMessages(pcm: Int16Array): FileMessage[] {
  const bytes = new Uint8Array(2 * pcm.length);
  const view = new DataView(bytes.buffer);
  for (const [i, sample] of pcm.entries()) view.setInt16(2 * i, sample, true);
  const messages: FileMessage[] = [];
  for (let start = 0; start < bytes.length; start += PCM_MESSAGE_BYTES) {
    // A copy: the client owns what it sends, and a view would keep the whole file.
    const message = bytes.slice(start, start + PCM_MESSAGE_BYTES);
    messages.push({ bytes: message, durationMs: audioDurationMs({ encoding: 'pcm_s16le' }, message) });
  }
  return messages;
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && 'code' in error) {
    if (error.code === 'ENOENT') return 'there is no such file';
    if (error.code === 'EISDIR') return IS_FOLDER;
  }
  return error instanceof Error ? error.message : String(error);
}
