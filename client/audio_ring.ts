/** One message of audio and its place in the session's audio. */
export interface AudioMessage {
  readonly bytes: Uint8Array;
  readonly startAudioMs: number;
  readonly durationMs: number;
}

/**
 * The newest audio of a session, message by message. Messages are numbered from 0 for as long as the ring lives,
 * whatever was forgotten before them.
 */
export class AudioRing {
  #messages: AudioMessage[] = [];
  #firstNumber = 0;
  #endAudioMs = 0;

  /** Number of the oldest message kept; equal to `endNumber` when nothing is. */
  get firstNumber(): number {
    return this.#firstNumber;
  }

  /** Number that the next message will have. */
  get endNumber(): number {
    return this.#firstNumber + this.#messages.length;
  }

  /** Position of the oldest audio kept. */
  get startAudioMs(): number {
    return this.#messages[0]?.startAudioMs ?? this.#endAudioMs;
  }

  /** Position after the newest audio. */
  get endAudioMs(): number {
    return this.#endAudioMs;
  }

  /** Audio kept. */
  get durationMs(): number {
    return this.#endAudioMs - this.startAudioMs;
  }

  /** Appends a message, which the ring owns from here on. */
  push(bytes: Uint8Array, durationMs: number): void {
    this.#messages.push({ bytes, startAudioMs: this.#endAudioMs, durationMs });
    this.#endAudioMs += durationMs;
  }

  /** Forgets every message that lies wholly before `audioMs`. */
  trim(audioMs: number): void {
    this.#forgetWhile(({ startAudioMs, durationMs }) => startAudioMs + durationMs <= audioMs);
  }

  /** Forgets the oldest messages, those from `beforeNumber` on excepted, until at most `maxMs` are kept. */
  shrink(maxMs: number, beforeNumber: number): void {
    const earliestMs = this.#endAudioMs - maxMs;
    this.#forgetWhile(
      ({ startAudioMs }, index) => startAudioMs < earliestMs && this.#firstNumber + index < beforeNumber,
    );
  }

  /** The message of a number, undefined if it was forgotten or has not come yet. */
  at(number: number): AudioMessage | undefined {
    return this.#messages[number - this.#firstNumber];
  }

  #forgetWhile(isOld: (message: AudioMessage, index: number) => boolean): void {
    const kept = this.#messages.findIndex((message, index) => !isOld(message, index));
    const count = kept === -1 ? this.#messages.length : kept;
    if (count === 0) return;
    this.#messages = this.#messages.slice(count);
    this.#firstNumber += count;
  }
}
