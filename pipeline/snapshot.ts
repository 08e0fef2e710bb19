/** Snapshots as bytes: what kind it is, numbers, and parts that are bytes themselves, often snapshots again. */
import assert from 'node:assert/strict';

const VERSION = 1;
/** version, kind, number of fields, number of parts. */
const HEADER_BYTES = 4;
const FIELD_BYTES = Float64Array.BYTES_PER_ELEMENT;
const LENGTH_BYTES = Uint32Array.BYTES_PER_ELEMENT;

export interface SnapshotContent {
  readonly fields: readonly number[];
  readonly parts: readonly Uint8Array[];
}

/** A self-contained copy; `kind` is one character, different for each class that is saved. */
export function packSnapshot(kind: string, { fields, parts }: SnapshotContent): Uint8Array {
  const partsAt = HEADER_BYTES + FIELD_BYTES * fields.length + LENGTH_BYTES * parts.length;
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, partsAt));
  bytes.set([VERSION, kind.charCodeAt(0), fields.length, parts.length]);
  const view = new DataView(bytes.buffer);
  let offset = HEADER_BYTES;
  for (const field of fields) {
    view.setFloat64(offset, field, true);
    offset += FIELD_BYTES;
  }
  for (const { length } of parts) {
    view.setUint32(offset, length, true);
    offset += LENGTH_BYTES;
  }
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** Reads it back; the parts are views. Throws `AssertionError` for anything but a whole snapshot of this kind. */
export function unpackSnapshot(kind: string, bytes: Uint8Array): SnapshotContent {
  const [version, kindCode, fieldCount = 0, partCount = 0] = bytes;
  assert(version === VERSION && kindCode === kind.charCodeAt(0), `not a snapshot '${kind}' of this version`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const lengthsAt = HEADER_BYTES + FIELD_BYTES * fieldCount;
  let offset = lengthsAt + LENGTH_BYTES * partCount;
  assert(offset <= bytes.length, `a snapshot '${kind}' is cut short`);
  const fields = Array.from({ length: fieldCount }, (_, i) =>
    view.getFloat64(HEADER_BYTES + FIELD_BYTES * i, true),
  );
  const parts = Array.from({ length: partCount }, (_, i) => {
    const start = offset;
    offset += view.getUint32(lengthsAt + LENGTH_BYTES * i, true);
    return bytes.subarray(start, offset);
  });
  assert.equal(offset, bytes.length, `a snapshot '${kind}' has an impossible length`);
  return { fields, parts };
}
