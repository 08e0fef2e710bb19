/** Cuts what a process writes into lines: whoever looks for something in them must see each in one piece. */
import { StringDecoder } from 'node:string_decoder';
import { WORKER_LINE_MAX_LENGTH } from './limits.ts';

/** One stream of UTF-8. A line longer than WORKER_LINE_MAX_LENGTH is cut there, and its rest is lost. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #line = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(bytes: Uint8Array): void {
    this.#take(this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
  }

  /** The stream has ended: what is left is a line too. */
  end(): void {
    this.#take(this.#decoder.end());
    if (this.#line !== '') this.#emit();
  }

  #take(text: string): void {
    const [first = '', ...others] = text.split('\n');
    this.#grow(first);
    for (const part of others) {
      this.#emit();
      this.#grow(part);
    }
  }

  #grow(part: string): void {
    this.#line += part.slice(0, WORKER_LINE_MAX_LENGTH - this.#line.length);
  }

  #emit(): void {
    const line = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line;
    this.#line = '';
    this.#onLine(line);
  }
}
