/** The line of a terminal that shows what is being said while it may still change. */
import type { Writable } from 'node:stream';
import { oneLine } from '../../client/transcript_format.ts';

/** A terminal, or what stands in for one. */
export type TerminalStream = Writable & { readonly isTTY?: boolean; readonly columns?: number };

const CLEAR_LINE = '\r\u001B[2K';
const DEFAULT_COLUMNS = 80;

/** Writes nothing at all where there is no terminal. */
export class LiveLine {
  readonly #stream: TerminalStream;
  #isShown = false;

  constructor(stream: TerminalStream) {
    this.#stream = stream;
  }

  /** Shows `text` in place of what was shown; of a text that is too long, its end. */
  show(text: string): void {
    if (this.#stream.isTTY !== true) return;
    const columns = this.#stream.columns ?? DEFAULT_COLUMNS;
    const line = oneLine(text);
    const fitting = line.length < columns ? line : `…${line.slice(line.length - columns + 2)}`;
    this.#stream.write(`${CLEAR_LINE}${fitting}`);
    this.#isShown = true;
  }

  /** Takes away what is shown. */
  clear(): void {
    if (!this.#isShown) return;
    this.#stream.write(CLEAR_LINE);
    this.#isShown = false;
  }
}
