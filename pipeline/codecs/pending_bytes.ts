/** The bytes of a stream that have come and are not used up, and those that will be thrown away when they come. */
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

const SNAPSHOT_KIND = 'B';

/** Cheap also when a stream comes byte by byte: room grows by doubling, and is not grown for what is skipped. */
export class PendingBytes {
  #bytes = new Uint8Array(0);
  #start = 0;
  #end = 0;
  /** Still to be skipped of what comes next. */
  #owed = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  append(message: Uint8Array): void {
    const skipped = Math.min(this.#owed, message.length);
    this.#owed -= skipped;
    const added = message.length - skipped;
    if (this.#end + added > this.#bytes.length) this.#makeRoom(added);
    this.#bytes.set(skipped === 0 ? message : message.subarray(skipped), this.#end);
    this.#end += added;
  }

  #makeRoom(added: number): void {
    const kept = this.#bytes.subarray(this.#start, this.#end);
    const needed = kept.length + added;
    const isRoomy = needed <= this.#bytes.length && 4 * needed > this.#bytes.length;
    const room = isRoomy ? this.#bytes : new Uint8Array(2 * needed);
    room.set(kept);
    this.#bytes = room;
    this.#start = 0;
    this.#end = kept.length;
  }

  /** The next `count` bytes, or fewer if fewer have come: a view that the next `append` may change. */
  peek(count: number): Uint8Array {
    return this.#bytes.subarray(this.#start, Math.min(this.#end, this.#start + count));
  }

  /** Uses up `count` bytes, those that have not come yet included. */
  skip(count: number): void {
    const here = Math.min(count, this.length);
    this.#start += here;
    this.#owed += count - here;
  }

  save(): Uint8Array {
    return packSnapshot(SNAPSHOT_KIND, { fields: [this.#owed], parts: [this.peek(this.length)] });
  }

  /** Throws `AssertionError` for anything but what `save` gave. */
  restore(saved: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, saved);
    this.#bytes = parts[0]?.slice() ?? new Uint8Array(0);
    this.#start = 0;
    this.#end = this.#bytes.length;
    this.#owed = fields[0] ?? 0;
  }
}
