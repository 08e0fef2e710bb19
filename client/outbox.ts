/** What the client has yet to say, in order: audio, and the control messages that belong between it. */
import { AudioRing, type AudioMessage } from './audio_ring.ts';
import type { FlushMessage, StopMessage } from './protocol.ts';

export type Outgoing =
  | { readonly type: 'audio'; readonly audio: AudioMessage }
  | { readonly type: 'control'; readonly message: FlushMessage | StopMessage };

/** A control message goes out right before the audio message of this number. */
interface Control {
  readonly message: FlushMessage | StopMessage;
  readonly beforeNumber: number;
  isSent: boolean;
}

/** Where a connection starts in the audio, and up to where audio was sent on those before it. */
export interface Beginning {
  readonly fromAudioMs: number;
  readonly sentAudioMs: number;
}

/**
 * Keeps `unackedMaxMs` of audio. While there is a connection, the server counts what it gets, so what is yet to be
 * sent is never forgotten: then up to twice as much is kept, and more is refused.
 */
export class Outbox {
  readonly #unackedMaxMs: number;
  readonly #ring = new AudioRing();
  #controls: Control[] = [];
  #nextNumber = 0;
  #isConnected = false;
  #sentAudioMs = 0;

  constructor(unackedMaxMs: number) {
    this.#unackedMaxMs = unackedMaxMs;
  }

  /** Audio that was not taken yet. */
  get unsentMs(): number {
    const next = this.#ring.at(this.#nextNumber);
    return next === undefined ? 0 : this.#ring.endAudioMs - next.startAudioMs;
  }

  /** Adds audio, which the outbox owns from here on; `full` means that it was not added. */
  push(bytes: Uint8Array, durationMs: number): 'accepted' | 'full' {
    const keptNumber = this.#isConnected ? this.#nextNumber : this.#ring.endNumber;
    this.#ring.shrink(Math.max(0, this.#unackedMaxMs - durationMs), keptNumber);
    this.#nextNumber = Math.max(this.#nextNumber, this.#ring.firstNumber);
    if (this.#ring.durationMs + durationMs > 2 * this.#unackedMaxMs) return 'full';
    this.#ring.push(bytes, durationMs);
    return 'accepted';
  }

  /** Adds a control message after all audio so far. It is kept until `settle`. */
  control(message: FlushMessage | StopMessage): void {
    this.#controls.push({ message, beforeNumber: this.#ring.endNumber, isSent: false });
  }

  /** The `flush` of this id was answered. */
  settle(id: string): void {
    this.#controls = this.#controls.filter(({ message }) => message.type !== 'flush' || message.id !== id);
  }

  /** The server needs no audio before `audioMs` again. */
  ack(audioMs: number): void {
    this.#ring.trim(audioMs);
    this.#nextNumber = Math.max(this.#nextNumber, this.#ring.firstNumber);
  }

  /** A connection begins: all that was not acknowledged or answered is to be sent, again if need be. */
  connect(): Beginning {
    this.#isConnected = true;
    this.#nextNumber = this.#ring.firstNumber;
    for (const control of this.#controls) control.isSent = false;
    return { fromAudioMs: this.#ring.startAudioMs, sentAudioMs: this.#sentAudioMs };
  }

  /** The connection has gone. */
  disconnect(): void {
    this.#isConnected = false;
  }

  /** What is next to be sent, now counted as sent; undefined when there is nothing. */
  take(): Outgoing | undefined {
    const control = this.#controls.find(({ isSent }) => !isSent);
    if (control !== undefined && control.beforeNumber <= this.#nextNumber) {
      control.isSent = true;
      return { type: 'control', message: control.message };
    }
    const audio = this.#ring.at(this.#nextNumber);
    if (audio === undefined) return undefined;
    this.#nextNumber++;
    this.#sentAudioMs = Math.max(this.#sentAudioMs, audio.startAudioMs + audio.durationMs);
    return { type: 'audio', audio };
  }
}
