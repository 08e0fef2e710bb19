/** One session of the load: sends packets when told to and notes when what came back. */
import { WebSocket } from 'ws';
import type { ServerMessage } from '../../client/protocol.ts';
import type { Clock } from '../../pipeline/clock.ts';
import { PACKET_MS, type SpokenScript } from './spoken_script.ts';

/** A message and when it came. */
export interface Received<T extends ServerMessage = ServerMessage> {
  readonly message: T;
  readonly atMs: number;
}

/** What there is to judge a session by. */
export interface HeardSession {
  readonly script: SpokenScript;
  /** Everything the server sent, in order. */
  readonly received: readonly Received[];
  /** How late each packet went out, in ms. */
  readonly lateMs: readonly number[];
  /** Time at which a position of the audio was due. */
  timeOf(audioMs: number): number;
}

export class LoadSession implements HeardSession {
  readonly script: SpokenScript;
  readonly received: Received[] = [];
  readonly lateMs: number[] = [];
  /** Resolves when the server accepted the session; rejects if it does not. */
  readonly ready: Promise<void>;
  /** Resolves when its last packet has gone out, or its connection is closed. */
  readonly sent: Promise<void>;
  /** Resolves with the close code. */
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  #startedAtMs = Infinity;
  #sentCount = 0;
  #allSent: () => void = () => undefined;

  constructor(options: { readonly url: string; readonly script: SpokenScript; readonly clock: Clock }) {
    this.script = options.script;
    this.#clock = options.clock;
    this.#socket = new WebSocket(`${options.url}?encoding=opus`, { perMessageDeflate: false });
    this.ready = new Promise((resolve, reject) => {
      this.#socket.on('message', (bytes: Buffer) => {
        const message = JSON.parse(bytes.toString('utf8')) as ServerMessage;
        this.received.push({ message, atMs: this.#clock.nowMs() });
        if (message.type === 'ready') resolve();
      });
      this.#socket.on('error', reject);
    });
    this.closed = new Promise((resolve) => this.#socket.on('close', resolve));
    this.sent = new Promise((resolve) => {
      this.#allSent = resolve;
      this.#socket.on('close', () => {
        resolve();
      });
    });
  }

  /** The audio's position 0 is at `startedAtMs`: packet n is complete, and due, at its end. */
  begin(startedAtMs: number): void {
    this.#startedAtMs = startedAtMs;
  }

  timeOf(audioMs: number): number {
    return this.#startedAtMs + audioMs;
  }

  /** Sends every packet that is due. */
  sendDue(nowMs: number): void {
    const { packets } = this.script;
    for (; this.#sentCount < packets.length; this.#sentCount++) {
      const dueAtMs = this.timeOf((this.#sentCount + 1) * PACKET_MS);
      if (dueAtMs > nowMs) return;
      this.lateMs.push(nowMs - dueAtMs);
      const packet = packets[this.#sentCount];
      if (packet !== undefined) this.#socket.send(packet);
    }
    this.#allSent();
  }

  /** Asks for what is owed. */
  stop(): void {
    this.#socket.send('{"type":"stop"}');
  }

  /** Cuts the connection. */
  cut(): void {
    this.#socket.terminate();
  }
}
