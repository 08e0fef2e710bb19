/** Takes Opus packets out of Ogg (RFC 3533, RFC 7845), page by page. */
import { startsWith } from './container_magic.ts';
import { OGG_LOST_MAX_BYTES, OPUS_MESSAGE_MAX_BYTES } from '../limits.ts';
import { readOpusHead, type Demuxed, type OpusDemuxer } from './opus_head.ts';
import { UNDECODABLE_PACKET } from './opus_packet.ts';
import { PendingBytes } from './pending_bytes.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

const CAPTURE = 'OggS';
const HEADER_BYTES = 27;
/** Places in the header. */
const VERSION_AT = 4;
const FLAGS_AT = 5;
const SERIAL_AT = 14;
const SEQUENCE_AT = 18;
const CHECKSUM_AT = 22;
const SEGMENT_COUNT_AT = 26;
/** Flags of a page: its first packet began on the page before; it is the first of its stream. */
const CONTINUED = 1;
const FIRST = 2;
/** A segment of this size is not the last of its packet. */
const OPEN_SEGMENT_BYTES = 255;
/** What is kept of a packet that goes on: enough to see that it is too large for Opus. */
const KEPT_MAX_BYTES = OPUS_MESSAGE_MAX_BYTES + 1;

/**
 * `new`: nothing has begun; `foreign`: only streams of other codecs have; `tags`: ours has, and its second packet, with
 * the tags, is next; `audio`: packets.
 */
const PHASES = ['new', 'foreign', 'tags', 'audio'] as const;

const SNAPSHOT_KIND = 'G';

interface Page {
  readonly flags: number;
  readonly serial: number;
  readonly sequence: number;
  readonly segments: Uint8Array;
  readonly body: Uint8Array;
}

/**
 * The first Opus stream is read, streams beside it are passed over, and one that begins after it (a chain) takes its
 * place. A page whose checksum is wrong, and what is no page, is skipped; what was lost with it counts as one packet.
 * Positions (granules) are not looked at: padding at the end of the last packet is heard.
 */
export class OggDemuxer implements OpusDemuxer {
  readonly #pending = new PendingBytes();
  #phase: (typeof PHASES)[number] = 'new';
  #serial = 0;
  #nextSequence = 0;
  /** The beginning of a packet that goes on on the next page, if there is one. */
  #open: Uint8Array | undefined;
  /** Bytes that were looked at in vain; those of good pages make up for them. It bounds the work, too. */
  #lostBytes = 0;

  *push(bytes: Uint8Array): Generator<Demuxed> {
    this.#pending.append(bytes);
    for (let page = this.#nextPage(); page !== undefined; page = this.#nextPage()) {
      if (page !== 'lost') {
        yield* this.#read(page);
        continue;
      }
      yield { type: 'refused', reason: this.#phase === 'new' ? 'headerless' : 'damaged' };
      return;
    }
  }

  /** The next whole page; `undefined` until more bytes have come; `lost` if there is no going on. */
  #nextPage(): Page | 'lost' | undefined {
    for (;;) {
      const header = this.#pending.peek(HEADER_BYTES);
      if (header.length < HEADER_BYTES) return undefined;
      if (startsWith(header, CAPTURE) && header[VERSION_AT] === 0) {
        const headBytes = HEADER_BYTES + (header[SEGMENT_COUNT_AT] ?? 0);
        const head = this.#pending.peek(headBytes);
        if (head.length < headBytes) return undefined;
        const segments = head.subarray(HEADER_BYTES);
        const pageBytes = segments.reduce((sum, size) => sum + size, headBytes);
        const page = this.#pending.peek(pageBytes);
        if (page.length < pageBytes) return undefined;
        if (checksumOf(page) === uint32At(page, CHECKSUM_AT)) return this.#accept(page, segments);
        this.#lostBytes += pageBytes;
      }
      this.#skipToCapture();
      if (this.#phase === 'new' || this.#lostBytes > OGG_LOST_MAX_BYTES) return 'lost';
    }
  }

  #accept(page: Uint8Array, segments: Uint8Array): Page {
    this.#pending.skip(page.length);
    this.#lostBytes = Math.max(0, this.#lostBytes - page.length);
    return {
      flags: page[FLAGS_AT] ?? 0,
      serial: uint32At(page, SERIAL_AT),
      sequence: uint32At(page, SEQUENCE_AT),
      segments,
      body: page.subarray(HEADER_BYTES + segments.length),
    };
  }

  /** Skips to where the next page may begin. */
  #skipToCapture(): void {
    const rest = this.#pending.peek(this.#pending.length);
    let lost = 1;
    for (; lost < rest.length; lost++) {
      const candidate = rest.subarray(lost, lost + CAPTURE.length);
      if (startsWith(candidate, CAPTURE.slice(0, candidate.length))) break;
    }
    this.#pending.skip(lost);
    this.#lostBytes += lost;
  }

  *#read(page: Page): Generator<Demuxed> {
    if ((page.flags & FIRST) !== 0) {
      yield* this.#begin(page);
    } else if (this.#phase === 'new' || this.#phase === 'foreign') {
      yield { type: 'refused', reason: this.#phase === 'new' ? 'headerless' : 'codec' };
    } else if (page.serial === this.#serial) {
      yield* this.#continue(page);
    }
  }

  /** The first page of a stream holds its header and nothing else. */
  *#begin({ serial, sequence, body }: Page): Generator<Demuxed> {
    // All streams that lie beside each other begin before any goes on: this one begins a new link of a chain.
    if (this.#phase === 'audio') this.#phase = 'new';
    if (this.#phase === 'tags') return;
    const head = readOpusHead(body);
    this.#phase = head === undefined ? 'foreign' : 'tags';
    if (head === undefined) return;
    this.#serial = serial;
    this.#nextSequence = (sequence + 1) >>> 0;
    this.#open = undefined;
    yield head;
  }

  *#continue({ flags, sequence, segments, body }: Page): Generator<Demuxed> {
    const isContinued = (flags & CONTINUED) !== 0;
    const isNext = sequence === this.#nextSequence && isContinued === (this.#open !== undefined);
    this.#nextSequence = (sequence + 1) >>> 0;
    if (!isNext) {
      this.#open = undefined;
      if (this.#phase === 'audio') yield { type: 'packet', bytes: UNDECODABLE_PACKET };
    }
    // The end of a packet without its beginning.
    let isRest = isContinued && !isNext;
    let [start, end] = [0, 0];
    for (const size of segments) {
      end += size;
      if (size === OPEN_SEGMENT_BYTES) continue;
      const bytes = this.#joined(body.subarray(start, end));
      start = end;
      this.#open = undefined;
      if (!isRest) yield* this.#take(bytes);
      isRest = false;
    }
    if (segments.at(-1) === OPEN_SEGMENT_BYTES && !isRest)
      this.#open = this.#joined(body.subarray(start)).slice();
  }

  /** A packet with what came of it before, up to the size at which it is none. */
  #joined(part: Uint8Array): Uint8Array {
    const open = this.#open;
    if (open === undefined) return part.subarray(0, KEPT_MAX_BYTES);
    const bytes = new Uint8Array(Math.min(KEPT_MAX_BYTES, open.length + part.length));
    bytes.set(open);
    bytes.set(part.subarray(0, bytes.length - open.length), open.length);
    return bytes;
  }

  *#take(bytes: Uint8Array): Generator<Demuxed> {
    if (this.#phase === 'audio') {
      if (bytes.length > 0) yield { type: 'packet', bytes };
    } else if (startsWith(bytes, 'OpusTags')) {
      this.#phase = 'audio';
    } else {
      yield { type: 'refused', reason: 'damaged' };
    }
  }

  save(): Uint8Array {
    const isOpen = this.#open === undefined ? 0 : 1;
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [PHASES.indexOf(this.#phase), this.#serial, this.#nextSequence, this.#lostBytes, isOpen],
      parts: [this.#pending.save(), this.#open ?? new Uint8Array(0)],
    });
  }

  restore(saved: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, saved);
    const [phase = 0, serial = 0, nextSequence = 0, lostBytes = 0, isOpen] = fields;
    const [pending = new Uint8Array(0), open] = parts;
    this.#pending.restore(pending);
    this.#phase = PHASES[phase] ?? 'new';
    this.#serial = serial;
    this.#nextSequence = nextSequence;
    this.#lostBytes = lostBytes;
    this.#open = isOpen === 1 ? open?.slice() : undefined;
  }
}

function uint32At(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);
}

/** Remainders of the polynomial 0x04c11db7 for four bits. */
const REMAINDERS = Uint32Array.of(
  ...[0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b, 0x1a864db2, 0x1e475005],
  ...[0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61, 0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd],
);

/** CRC-32 of a page with zeros in place of its checksum: most significant bit first, from 0 (RFC 3533 section 6). */
function checksumOf(page: Uint8Array): number {
  let crc = 0;
  for (let i = 0; i < page.length; i++) {
    const byte = i >= CHECKSUM_AT && i < CHECKSUM_AT + 4 ? 0 : (page[i] ?? 0);
    crc = (crc << 4) ^ (REMAINDERS[((crc >>> 28) ^ (byte >> 4)) & 15] ?? 0);
    crc = (crc << 4) ^ (REMAINDERS[((crc >>> 28) ^ byte) & 15] ?? 0);
  }
  return crc >>> 0;
}
