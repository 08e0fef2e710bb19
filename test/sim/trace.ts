/** What happened in one simulated world, line by line: hashed always, kept when somebody wants to read it. */
import { createHash } from 'node:crypto';

/** Lines that are hashed together; of those, the last two lots are kept when not all are. */
const TAIL_LINES_COUNT = 60;

export class Trace {
  readonly #keepsAll: boolean;
  readonly #hash = createHash('sha256');
  readonly #nowMs: () => number;
  #unhashed: string[] = [];
  readonly #texts: string[] = [];
  #digest: string | undefined;

  constructor(options: { readonly nowMs: () => number; readonly keepsAll: boolean }) {
    this.#nowMs = options.nowMs;
    this.#keepsAll = options.keepsAll;
  }

  note(line: string): void {
    const whole = `${this.#nowMs().toFixed(3)} ${line}\n`;
    this.#unhashed.push(whole);
    if (this.#unhashed.length > TAIL_LINES_COUNT) this.#digestLines();
  }

  /** SHA-256 of all lines in hex; nothing is noted after it. */
  digest(): string {
    if (this.#digest === undefined) this.#digestLines();
    this.#digest ??= this.#hash.digest('hex');
    return this.#digest;
  }

  /** All lines that were kept. */
  text(): string {
    return this.#texts.join('') + this.#unhashed.join('');
  }

  #digestLines(): void {
    const text = this.#unhashed.join('');
    this.#unhashed = [];
    this.#hash.update(text);
    if (!this.#keepsAll && this.#texts.length > 1) this.#texts.shift();
    this.#texts.push(text);
  }
}
