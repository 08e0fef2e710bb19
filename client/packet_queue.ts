/** Packets between whoever makes them, when they come, and whoever asks for them one by one. */
import type { AudioPacket } from './audio_source.ts';

/** Packets that may wait: a minute of 20 ms. A reader that is further behind has stopped reading. */
const WAITING_MAX_COUNT = 3_000;

/** The source has ended, as it should or with an error. */
type End = { readonly type: 'end' } | { readonly type: 'failed'; readonly error: Error };

/** For one reader. */
export class PacketQueue {
  readonly #waiting: AudioPacket[] = [];
  #end: End | undefined;
  #wake: () => void = () => undefined;

  /** Adds a packet; nothing after the end. The oldest goes when too many wait. */
  push(packet: AudioPacket): void {
    if (this.#end !== undefined) return;
    this.#waiting.push(packet);
    if (this.#waiting.length > WAITING_MAX_COUNT) this.#waiting.shift();
    this.#wake();
  }

  /** The reader ends after the packets that wait. Idempotent. */
  end(): void {
    this.#end ??= { type: 'end' };
    this.#wake();
  }

  /** The reader throws after the packets that wait. The first end counts. */
  fail(error: Error): void {
    this.#end ??= { type: 'failed', error };
    this.#wake();
  }

  async *read(): AsyncGenerator<AudioPacket, void, void> {
    for (;;) {
      const packet = this.#waiting.shift();
      if (packet !== undefined) {
        yield packet;
      } else if (this.#end === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (this.#end.type === 'failed') {
        throw this.#end.error;
      } else {
        return;
      }
    }
  }
}
