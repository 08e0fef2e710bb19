/** Takes Opus packets out of WebM and Matroska (RFC 9559), as files or as the live streams of browsers. */
import { childrenOf, readElementHead, readVariableInt, type ElementHead } from './ebml.ts';
import { WEBM_BLOCK_MAX_BYTES, WEBM_SKIPPED_MAX_BYTES, WEBM_TRACKS_MAX_BYTES } from '../limits.ts';
import { readOpusHead, type Demuxed, type OpusDemuxer } from './opus_head.ts';
import { UNDECODABLE_PACKET } from './opus_packet.ts';
import { PendingBytes } from './pending_bytes.ts';
import type { Refusal } from '../refusal.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

/** Elements that matter; any other is skipped. */
const EBML = 0x1a45dfa3;
const SEGMENT = 0x18538067;
const TRACKS = 0x1654ae6b;
const TRACK_ENTRY = 0xae;
const TRACK_NUMBER = 0xd7;
const TRACK_TYPE = 0x83;
const CODEC_ID = 0x86;
const CODEC_PRIVATE = 0x63a2;
const CONTENT_ENCODINGS = 0x6d80;
const CLUSTER = 0x1f43b675;
const BLOCK_GROUP = 0xa0;
const BLOCK = 0xa1;
const SIMPLE_BLOCK = 0xa3;

const AUDIO_TRACK = 2;
const OPUS_CODEC = 'A_OPUS';
/** Longest head of an element: four bytes of id, eight of size. */
const HEAD_MAX_BYTES = 12;
/** Of a block, after its track: time (2 bytes) and flags. */
const BLOCK_HEAD_BYTES = 3;
/** Enough of a block to see which track it is of. */
const TRACK_HEAD_BYTES = 8;

const SNAPSHOT_KIND = 'M';
const NO_TRACK = -1;

/**
 * The tree is read flat: of the elements that hold packets only the heads are taken, as if all lengths were left open,
 * which in a live stream they are. So nothing is nested, and a file that follows another is simply read on. The first
 * Opus track is read. Zeros between elements are padding. Times and padding at the end of a packet are not looked at.
 */
export class WebmDemuxer implements OpusDemuxer {
  readonly #pending = new PendingBytes();
  #hasStarted = false;
  #track = NO_TRACK;

  *push(bytes: Uint8Array): Generator<Demuxed> {
    this.#pending.append(bytes);
    for (;;) {
      const [padding] = this.#pending.peek(1);
      if (padding === 0 && this.#hasStarted) {
        this.#pending.skip(1);
        continue;
      }
      const head = readElementHead(this.#pending.peek(HEAD_MAX_BYTES));
      if (head === undefined) return;
      const step = head === 'damaged' ? refusal('damaged') : this.#step(head);
      if (step === 'wait') return;
      yield* step;
    }
  }

  /** What an element gives, after it was used up; `wait` if it has not come as far as is needed. */
  #step(head: ElementHead): readonly Demuxed[] | 'wait' {
    const { id, size, headBytes } = head;
    if (!this.#hasStarted && id !== EBML) return refusal('headerless');
    this.#hasStarted = true;
    switch (id) {
      case SEGMENT:
      case CLUSTER:
      case BLOCK_GROUP:
        this.#pending.skip(headBytes);
        return [];
      case TRACKS:
        if (size > WEBM_TRACKS_MAX_BYTES) return refusal('damaged');
        return this.#whole(head, (content) => this.#chooseTrack(content));
      case BLOCK:
      case SIMPLE_BLOCK:
        return this.#block(head);
      default:
        if (size > WEBM_SKIPPED_MAX_BYTES) return refusal('damaged');
        this.#pending.skip(headBytes + size);
        return [];
    }
  }

  #whole(
    { headBytes, size }: ElementHead,
    read: (content: Uint8Array) => readonly Demuxed[],
  ): readonly Demuxed[] | 'wait' {
    const element = this.#pending.peek(headBytes + size);
    if (element.length < headBytes + size) return 'wait';
    this.#pending.skip(element.length);
    return read(element.subarray(headBytes));
  }

  #chooseTrack(tracks: Uint8Array): readonly Demuxed[] {
    for (const { id, content } of childrenOf(tracks)) {
      if (id !== TRACK_ENTRY) continue;
      const fields = new Map(Array.from(childrenOf(content), (child) => [child.id, child.content]));
      const isOpus =
        numberOf(fields.get(TRACK_TYPE)) === AUDIO_TRACK && textOf(fields.get(CODEC_ID)) === OPUS_CODEC;
      // Compressed or encrypted content is not Opus to us.
      if (!isOpus || fields.has(CONTENT_ENCODINGS)) continue;
      this.#track = numberOf(fields.get(TRACK_NUMBER));
      const codecPrivate = fields.get(CODEC_PRIVATE);
      if (codecPrivate === undefined) return [{ type: 'head', preSkipSamples: 0 }];
      return [readOpusHead(codecPrivate) ?? { type: 'refused', reason: 'damaged' }];
    }
    return refusal('codec');
  }

  #block(head: ElementHead): readonly Demuxed[] | 'wait' {
    const { headBytes, size } = head;
    if (this.#track === NO_TRACK) return refusal('headerless');
    if (size > WEBM_SKIPPED_MAX_BYTES) return refusal('damaged');
    const seenBytes = headBytes + Math.min(size, TRACK_HEAD_BYTES);
    const seen = this.#pending.peek(seenBytes);
    const track = readVariableInt(seen.subarray(headBytes));
    if (track === undefined && seen.length < seenBytes) return 'wait';
    if (track === undefined || track === 'damaged') return refusal('damaged');
    if (track.value !== this.#track) {
      this.#pending.skip(headBytes + size);
      return [];
    }
    if (size > WEBM_BLOCK_MAX_BYTES) return refusal('damaged');
    return this.#whole(head, (content) => packetsOf(content.subarray(track.bytes)));
  }

  save(): Uint8Array {
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [this.#hasStarted ? 1 : 0, this.#track],
      parts: [this.#pending.save()],
    });
  }

  restore(saved: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, saved);
    const [hasStarted, track = NO_TRACK] = fields;
    this.#pending.restore(parts[0] ?? new Uint8Array(0));
    this.#hasStarted = hasStarted === 1;
    this.#track = track;
  }
}

function refusal(reason: Refusal): readonly Demuxed[] {
  return [{ type: 'refused', reason }];
}

function numberOf(content: Uint8Array = new Uint8Array(0)): number {
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

function textOf(content: Uint8Array = new Uint8Array(0)): string {
  return String.fromCharCode(...content).replace(/\0+$/, '');
}

/** The packets of a block, from its time on; one that cannot be decoded where their sizes make no sense. */
function packetsOf(block: Uint8Array): readonly Demuxed[] {
  const flags = block[BLOCK_HEAD_BYTES - 1] ?? 0;
  const frames = unlaced(block.subarray(BLOCK_HEAD_BYTES), (flags >> 1) & 3) ?? [UNDECODABLE_PACKET];
  return frames.filter((bytes) => bytes.length > 0).map((bytes) => ({ type: 'packet', bytes }));
}

/** Takes apart several packets in one block: none (0), Xiph (1), fixed (2) or EBML lacing (3). */
function unlaced(content: Uint8Array, lacing: number): Uint8Array[] | undefined {
  if (lacing === 0) return [content];
  const count = (content[0] ?? 0) + 1;
  const rest = content.subarray(1);
  if (lacing === 2) {
    const size = rest.length / count;
    if (!Number.isInteger(size)) return undefined;
    return Array.from({ length: count }, (_, i) => rest.subarray(i * size, (i + 1) * size));
  }
  const sizes = lacing === 1 ? xiphSizes(rest, count - 1) : ebmlSizes(rest, count - 1);
  if (sizes === undefined) return undefined;
  const frames: Uint8Array[] = [];
  let offset = sizes.bytes;
  for (const size of sizes.values) {
    if (size < 0 || offset + size > rest.length) return undefined;
    frames.push(rest.subarray(offset, offset + size));
    offset += size;
  }
  return [...frames, rest.subarray(offset)];
}

interface LacedSizes {
  readonly values: readonly number[];
  /** What they take themselves. */
  readonly bytes: number;
}

/** Each size is a sum of bytes up to the first that is not 255. */
function xiphSizes(bytes: Uint8Array, count: number): LacedSizes | undefined {
  const values: number[] = [];
  let size = 0;
  for (const [i, byte] of bytes.entries()) {
    if (values.length === count) return { values, bytes: i };
    size += byte;
    if (byte === 255) continue;
    values.push(size);
    size = 0;
  }
  return values.length === count ? { values, bytes: bytes.length } : undefined;
}

/** The first size, then what each differs by from the one before: numbers of variable length around their middle. */
function ebmlSizes(bytes: Uint8Array, count: number): LacedSizes | undefined {
  const values: number[] = [];
  let offset = 0;
  while (values.length < count) {
    const next = readVariableInt(bytes.subarray(offset));
    if (next === undefined || next === 'damaged') return undefined;
    const before = values.at(-1);
    values.push(before === undefined ? next.value : before + next.value - (2 ** (7 * next.bytes - 1) - 1));
    offset += next.bytes;
  }
  return { values, bytes: offset };
}
