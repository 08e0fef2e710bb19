/** Opus streams inside containers: their header, and what a demuxer says of them. */
import { startsWith } from './container_magic.ts';
import type { Refusal } from '../refusal.ts';

const MAGIC = 'OpusHead';
const HEAD_MIN_BYTES = 19;
const CHANNELS_MAX_COUNT = 2;

/** What a container holds, in order. `bytes` are a view that lasts until the next step. */
export type Demuxed =
  /** A stream begins: its first samples, in number at 48 kHz, only warm the decoder up. */
  | { readonly type: 'head'; readonly preSkipSamples: number }
  | { readonly type: 'packet'; readonly bytes: Uint8Array }
  /** Nothing can come after it. */
  | { readonly type: 'refused'; readonly reason: Refusal };

/**
 * Takes the Opus packets out of a container that comes cut anywhere. Deterministic, and bounded in memory whatever
 * the bytes say. A packet that is known to be lost comes as `UNDECODABLE_PACKET`.
 */
export interface OpusDemuxer {
  push(bytes: Uint8Array): Iterable<Demuxed>;
  /** A self-contained copy of the state. */
  save(): Uint8Array;
  restore(saved: Uint8Array): void;
}

/** Reads an identification header (RFC 7845 section 5.1). `undefined` if it is none. */
export function readOpusHead(bytes: Uint8Array): Exclude<Demuxed, { type: 'packet' }> | undefined {
  if (!startsWith(bytes, MAGIC)) return undefined;
  const [version = 0, channels = 0] = bytes.subarray(MAGIC.length);
  // The upper half of the version is that of incompatible changes.
  if (bytes.length < HEAD_MIN_BYTES || version >= 16) return { type: 'refused', reason: 'damaged' };
  const family = bytes[HEAD_MIN_BYTES - 1];
  if (channels < 1 || channels > CHANNELS_MAX_COUNT || family !== 0) {
    return { type: 'refused', reason: 'channels' };
  }
  const preSkipSamples = new DataView(bytes.buffer, bytes.byteOffset).getUint16(10, true);
  return { type: 'head', preSkipSamples };
}
