import type { AudioSettings, BareEncoding } from './protocol.ts';

/** Audio of which every message lasts as long as its bytes say. */
export interface BareAudio extends AudioSettings {
  readonly encoding: BareEncoding;
}

/** Bytes of a sample. */
const SAMPLE_BYTES = { pcm_s16le: 2, pcm_f32le: 4, mulaw: 1, alaw: 1 } as const;

/** Frame durations of the Opus coders, by the configuration number in the first byte (RFC 6716 table 2). */
const SILK_FRAME_MS = [10, 20, 40, 60] as const;
const CELT_FRAME_MS = [2.5, 5, 10, 20] as const;

/** Duration of the audio in one message, in ms: of an Opus packet from its header, of PCM from its length. */
export function audioDurationMs(audio: BareAudio, bytes: Uint8Array): number {
  if (audio.encoding === 'opus') return opusFrameMs(bytes) * opusFrameCount(bytes);
  const frameBytes = SAMPLE_BYTES[audio.encoding] * (audio.channels ?? 1);
  return (bytes.length * 1000) / (frameBytes * (audio.sampleRateHz ?? 16_000));
}

function opusFrameMs(packet: Uint8Array): number {
  const config = (packet[0] ?? 0) >> 3;
  if (config < 12) return SILK_FRAME_MS[config % 4] ?? 0;
  if (config < 16) return config % 2 === 0 ? 10 : 20;
  return CELT_FRAME_MS[config % 4] ?? 0;
}

function opusFrameCount(packet: Uint8Array): number {
  switch ((packet[0] ?? 0) & 3) {
    case 0:
      return 1;
    case 1:
    case 2:
      return 2;
    default:
      return (packet[1] ?? 0) & 0x3f;
  }
}
