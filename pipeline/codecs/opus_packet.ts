/** Reads the structure of an Opus packet without decoding it: RFC 6716 section 3, pure. */
import { msToSamples } from '../audio.ts';
import { OPUS_MESSAGE_MAX_BYTES, OPUS_PACKET_MAX_MS } from '../limits.ts';

/** Largest frame that the length coding can express (RFC 6716 section 3.4, rule R2). */
const FRAME_MAX_BYTES = 1_275;
const PACKET_MAX_SAMPLES = msToSamples(OPUS_PACKET_MAX_MS);
/** Code 3 without its frame count: no decoder takes it, so it stands for a packet that was lost. */
export const UNDECODABLE_PACKET = Uint8Array.of(3);
/** Frame durations of one group of TOC configurations in ms, shortest first (RFC 6716 table 2). */
const SILK_FRAME_MS = [10, 20, 40, 60] as const;
const HYBRID_FRAME_MS = [10, 20] as const;
const CELT_FRAME_MS = [2.5, 5, 10, 20] as const;

/** The coder that made a packet: speech, music, or both (speech below 8 kHz). */
export type OpusMode = 'silk' | 'hybrid' | 'celt';

/** What a well-formed packet says about itself. */
export interface OpusPacket {
  readonly mode: OpusMode;
  readonly stereo: boolean;
  /** 1–48. */
  readonly frameCount: number;
  /** Audio in the whole packet, in 16 kHz samples: 40 (2.5 ms) to 1,920 (120 ms). */
  readonly durationSamples: number;
}

/** A length that was read, and where the reading ended. */
interface Span {
  readonly bytes: number;
  readonly end: number;
}

function at(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}

function modeOf(config: number): { mode: OpusMode; frameMs: number } {
  if (config < 12) return { mode: 'silk', frameMs: SILK_FRAME_MS[config % 4] ?? 0 };
  if (config < 16) return { mode: 'hybrid', frameMs: HYBRID_FRAME_MS[config % 2] ?? 0 };
  return { mode: 'celt', frameMs: CELT_FRAME_MS[config % 4] ?? 0 };
}

/** Reads a frame length of one or two bytes at `offset`; `undefined` if the packet ends inside it. */
function readFrameLength(bytes: Uint8Array, offset: number): Span | undefined {
  if (offset >= bytes.length) return undefined;
  const first = at(bytes, offset);
  if (first < 252) return { bytes: first, end: offset + 1 };
  if (offset + 1 >= bytes.length) return undefined;
  return { bytes: 4 * at(bytes, offset + 1) + first, end: offset + 2 };
}

/** Sums the padding's length bytes from `offset` on (a 255 adds 254 and goes on); `undefined` if cut short. */
function readPadding(bytes: Uint8Array, offset: number): Span | undefined {
  let padding = 0;
  for (let end = offset; end < bytes.length; end++) {
    const value = at(bytes, end);
    if (value !== 255) return { bytes: padding + value, end: end + 1 };
    padding += 254;
  }
  return undefined;
}

/** Rule R4: two frames, the first with its length in front. */
function isTwoFrames(bytes: Uint8Array): boolean {
  const first = readFrameLength(bytes, 1);
  if (first === undefined) return false;
  const rest = bytes.length - first.end - first.bytes;
  return rest >= 0 && rest <= FRAME_MAX_BYTES;
}

/** Rules R6 and R7: `frameCount` frames of one size, or each but the last with its length in front. */
function isManyFrames(bytes: Uint8Array, frameCount: number): boolean {
  const header = at(bytes, 1);
  let offset = 2;
  let end = bytes.length;
  if ((header & 0x40) !== 0) {
    const padding = readPadding(bytes, offset);
    if (padding === undefined) return false;
    offset = padding.end;
    end -= padding.bytes;
  }
  if (end < offset) return false;
  if ((header & 0x80) === 0) {
    const frameBytes = (end - offset) / frameCount;
    return Number.isInteger(frameBytes) && frameBytes <= FRAME_MAX_BYTES;
  }
  const unpadded = bytes.subarray(0, end);
  let body = 0;
  for (let i = 1; i < frameCount; i++) {
    const length = readFrameLength(unpadded, offset);
    if (length === undefined) return false;
    offset = length.end;
    body += length.bytes;
  }
  const rest = end - offset - body;
  return rest >= 0 && rest <= FRAME_MAX_BYTES;
}

/** Frames in the packet, or `undefined` if its lengths do not add up (rules R2 to R7). */
function countFrames(bytes: Uint8Array): number | undefined {
  switch (at(bytes, 0) & 3) {
    case 0:
      return bytes.length - 1 <= FRAME_MAX_BYTES ? 1 : undefined;
    case 1:
      return bytes.length % 2 === 1 && (bytes.length - 1) / 2 <= FRAME_MAX_BYTES ? 2 : undefined;
    case 2:
      return isTwoFrames(bytes) ? 2 : undefined;
    default: {
      const frameCount = at(bytes, 1) & 0x3f;
      return bytes.length > 1 && frameCount > 0 && isManyFrames(bytes, frameCount) ? frameCount : undefined;
    }
  }
}

/**
 * Reads a packet's table-of-contents byte and checks every length in it (RFC 6716 section 3.4, rules R1 to R7)
 * and our own bound on its size. `undefined` means that it is not an Opus packet. A well-formed packet can still
 * hold noise: Opus has no checksum, and any body decodes to something.
 */
export function readOpusPacket(bytes: Uint8Array): OpusPacket | undefined {
  if (bytes.length === 0 || bytes.length > OPUS_MESSAGE_MAX_BYTES) return undefined;
  const frameCount = countFrames(bytes);
  if (frameCount === undefined) return undefined;
  const toc = at(bytes, 0);
  const { mode, frameMs } = modeOf(toc >> 3);
  const durationSamples = msToSamples(frameMs) * frameCount;
  if (durationSamples > PACKET_MAX_SAMPLES) return undefined;
  return { mode, stereo: (toc & 4) !== 0, frameCount, durationSamples };
}
