/** Stands in for a message that must not be decoded again: silence, or what a decoder makes of a loss, of its length. */
import type { AudioFormat } from './audio.ts';
import { readOpusPacket, UNDECODABLE_PACKET } from './codecs/opus_packet.ts';

/** The codes of silence in G.711. */
const MULAW_SILENCE = 0xff;
const ALAW_SILENCE = 0xd5;

/**
 * A harmless message that lasts as long as `bytes`. PCM becomes silence; an Opus packet keeps its table of contents and
 * loses the content of its frames, which stands for frames that were lost (RFC 6716 section 3.2.1). Of a container
 * zeros of the same length are left: what it lasts cannot be known here, and demuxers find their way behind them if
 * any way is left.
 */
export function blankAudio(bytes: Uint8Array, { encoding }: AudioFormat): Uint8Array {
  switch (encoding) {
    case 'mulaw':
      return new Uint8Array(bytes.length).fill(MULAW_SILENCE);
    case 'alaw':
      return new Uint8Array(bytes.length).fill(ALAW_SILENCE);
    case 'pcm_s16le':
    case 'pcm_f32le':
    case 'ogg_opus':
    case 'webm_opus':
    case 'wav':
    case 'auto':
      return new Uint8Array(bytes.length);
    case 'opus': {
      const packet = readOpusPacket(bytes);
      if (packet === undefined) return UNDECODABLE_PACKET.slice();
      return Uint8Array.of((bytes[0] ?? 0) | 3, packet.frameCount);
    }
  }
}
