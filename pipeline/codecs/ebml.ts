/** The elements of EBML (RFC 8794), the binary tree that WebM and Matroska are written in. */

const ID_MAX_BYTES = 4;
const SIZE_MAX_BYTES = 8;

/** An element without its content. */
export interface ElementHead {
  /** With its length marker, as specifications write it. */
  readonly id: number;
  /** Bytes of the content; `Infinity` where the length is left open, as live streams do. */
  readonly size: number;
  readonly headBytes: number;
}

/** A number of variable length, and its own length. */
export interface VariableInt {
  readonly value: number;
  readonly bytes: number;
}

/** Reads the head of an element; `undefined` if more bytes are needed, `damaged` if it is none. */
export function readElementHead(bytes: Uint8Array): ElementHead | 'damaged' | undefined {
  const id = readVariableInt(bytes, { maxBytes: ID_MAX_BYTES, keepsMarker: true });
  if (id === undefined || id === 'damaged') return id;
  const size = readVariableInt(bytes.subarray(id.bytes), { maxBytes: SIZE_MAX_BYTES });
  if (size === undefined || size === 'damaged') return size;
  const isOpen = size.value === 2 ** (7 * size.bytes) - 1;
  return { id: id.value, size: isOpen ? Infinity : size.value, headBytes: id.bytes + size.bytes };
}

/**
 * Reads a number whose first byte tells, by its leading zeros, how many bytes it has. Numbers above 2^53 are rounded:
 * nothing that large is taken.
 */
export function readVariableInt(
  bytes: Uint8Array,
  { maxBytes = SIZE_MAX_BYTES, keepsMarker = false } = {},
): VariableInt | 'damaged' | undefined {
  const [first] = bytes;
  if (first === undefined) return undefined;
  const length = Math.clz32(first) - 23;
  if (length > maxBytes) return 'damaged';
  if (bytes.length < length) return undefined;
  let value = keepsMarker ? first : first & (0xff >> length);
  for (const byte of bytes.subarray(1, length)) value = value * 256 + byte;
  return { value, bytes: length };
}

/** The elements in the content of one that has come whole; the first that is cut short or damaged ends it. */
export function* childrenOf(
  content: Uint8Array,
): Generator<{ readonly id: number; readonly content: Uint8Array }> {
  for (let rest = content; rest.length > 0;) {
    const head = readElementHead(rest);
    if (head === undefined || head === 'damaged' || head.headBytes + head.size > rest.length) return;
    const end = head.headBytes + head.size;
    yield { id: head.id, content: rest.subarray(head.headBytes, end) };
    rest = rest.subarray(end);
  }
}
