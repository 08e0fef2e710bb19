/**
 * Takes a growing WebM stream apart into its packets, as `MediaRecorder` makes one: a single track of Opus, without
 * lacing. Of EBML (RFC 8794) and Matroska (RFC 9559) it reads only what that takes.
 */

/** Elements whose content is elements: read through, so that their sizes, often unknown, do not matter. */
const FOLDERS: ReadonlySet<number> = new Set([0x18_53_80_67, 0x1f_43_b6_75, 0xa0]); // Segment, Cluster, BlockGroup
const BLOCKS: ReadonlySet<number> = new Set([0xa3, 0xa1]); // SimpleBlock, Block
/** Largest element that is held: every packet of Opus and every header that a recorder writes is smaller. */
const ELEMENT_MAX_BYTES = 65_536;
/** After the track's number: two bytes of time and one of flags, of which these two bits say how packets are laced. */
const BLOCK_TIME_AND_FLAGS_BYTES = 3;
const LACING_BITS = 0x06;

interface Element {
  readonly id: number;
  readonly contentStart: number;
  /** Infinity if it is not known. */
  readonly contentBytes: number;
}

export class WebmPackets {
  #rest = new Uint8Array(0);

  /** The packets that are whole with these bytes. Throws `Error` for what is no such stream. */
  push(bytes: Uint8Array): readonly Uint8Array[] {
    const stream = new Uint8Array(this.#rest.length + bytes.length);
    stream.set(this.#rest);
    stream.set(bytes, this.#rest.length);
    const packets: Uint8Array[] = [];
    let position = 0;
    for (;;) {
      const element = elementAt(stream, position);
      if (element === undefined) break;
      const { id, contentStart, contentBytes } = element;
      if (FOLDERS.has(id)) {
        position = contentStart;
        continue;
      }
      if (contentBytes > ELEMENT_MAX_BYTES) throw new Error('not a WebM stream of Opus packets');
      const end = contentStart + contentBytes;
      if (end > stream.length) break;
      if (BLOCKS.has(id)) packets.push(packetOf(stream.subarray(contentStart, end)));
      position = end;
    }
    this.#rest = stream.slice(position);
    return packets;
  }
}

/** Undefined while its head is not whole. */
function elementAt(stream: Uint8Array, position: number): Element | undefined {
  const idBytes = vintBytes(stream[position], 4);
  if (idBytes === undefined) return undefined;
  const sizeStart = position + idBytes;
  const sizeBytes = vintBytes(stream[sizeStart], 8);
  if (sizeBytes === undefined || sizeStart + sizeBytes > stream.length) return undefined;
  let id = 0;
  for (const byte of stream.subarray(position, sizeStart)) id = id * 256 + byte;
  return {
    id,
    contentStart: sizeStart + sizeBytes,
    contentBytes: sizeAt(stream.subarray(sizeStart, sizeStart + sizeBytes)),
  };
}

/** Length of a number that begins with this byte (RFC 8794 section 4); undefined if there is no byte yet. */
function vintBytes(first: number | undefined, maxBytes: number): number | undefined {
  if (first === undefined) return undefined;
  const bytes = Math.clz32(first) - 23;
  if (bytes > maxBytes) throw new Error('not a WebM stream');
  return bytes;
}

/** All bits set means that the size is not known. */
function sizeAt(bytes: Uint8Array): number {
  const first = (bytes[0] ?? 0) & (0x7f >> (bytes.length - 1));
  const rest = bytes.subarray(1);
  const isUnknown = first === 0x7f >> (bytes.length - 1) && rest.every((byte) => byte === 255);
  return isUnknown ? Infinity : rest.reduce((size, byte) => size * 256 + byte, first);
}

function packetOf(block: Uint8Array): Uint8Array {
  const start = (vintBytes(block[0], 8) ?? 0) + BLOCK_TIME_AND_FLAGS_BYTES;
  if (((block[start - 1] ?? 0) & LACING_BITS) !== 0) throw new Error('laced WebM packets are not supported');
  return block.slice(start);
}
