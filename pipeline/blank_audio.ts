/** Stands in for a message that must not be decoded again: silence, or what a decoder makes of a loss, of its length. */
import type { AudioFormat } from './audio.ts';
import { readOpusPacket } from './opus_packet.ts';

/** A code-3 packet without its frame count: no decoder takes it, and it is concealed like any undecodable one. */
const UNDECODABLE_OPUS = 3;

/**
 * A harmless message that lasts as long as `bytes`. PCM becomes silence; an Opus packet keeps its table of contents and
 * loses the content of its frames, which stands for frames that were lost (RFC 6716 section 3.2.1).
 */
export function blankAudio(bytes: Uint8Array, { encoding }: AudioFormat): Uint8Array {
  switch (encoding) {
    case 'pcm_s16le':
      return new Uint8Array(bytes.length);
    case 'opus': {
      const packet = readOpusPacket(bytes);
      if (packet === undefined) return Uint8Array.of(UNDECODABLE_OPUS);
      return Uint8Array.of((bytes[0] ?? 0) | 3, packet.frameCount);
    }
  }
}
