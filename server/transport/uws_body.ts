/**
 * The body of a request on uWebSockets.js, which loses what nobody listens for: it is listened for from the start, and
 * the socket is not read on before somebody wants it. Until then no more is held than one read of the socket gave.
 */
import type { UwsResponse } from './uws_module.ts';

export class UwsBody {
  readonly #response: UwsResponse;
  readonly #parts: Buffer[] = [];
  #isWhole = false;
  #isHeld = false;
  #onBody: ((body: Uint8Array) => void) | undefined;

  /** Whatever comes of a callback of the library's is done in `guarded`. */
  constructor(response: UwsResponse, guarded: (act: () => void) => void) {
    this.#response = response;
    response.onData((bytes, isLast) => {
      guarded(() => {
        this.#parts.push(Buffer.from(bytes.slice(0)));
        this.#isWhole = isLast;
        this.#tell();
      });
    });
  }

  /** Reads no further, unless it is wanted already. Only of a request that has not ended, as `read`. */
  hold(): void {
    if (this.#onBody !== undefined) return;
    this.#isHeld = true;
    this.#response.pause();
  }

  /** Gives the body once it is there; once. */
  read(onBody: (body: Uint8Array) => void): void {
    this.#onBody = onBody;
    if (this.#isHeld) this.#response.resume();
    this.#tell();
  }

  #tell(): void {
    if (this.#isWhole) this.#onBody?.(new Uint8Array(Buffer.concat(this.#parts)));
  }
}
