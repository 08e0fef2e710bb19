/** One WebSocket of the simulation, both its ends: bytes that take time, readers that are slow, ends that break. */
import type { ServerMessage } from '../../client/protocol.ts';
import { CLOSE_MAX_MS } from '../../pipeline/limits.ts';
import type { Connection, ConnectionListener } from '../../server/transport/transport.ts';
import type { Dice } from './dice.ts';
import type { SimClock } from './sim_clock.ts';

export interface SimConnectionOptions {
  readonly clock: SimClock;
  readonly dice: Dice;
  /** How fast the client reads. */
  readonly readBytesPerMs: number;
  /** Bytes that may wait for the client. */
  readonly bufferMaxBytes: number;
  readonly onMessage: (message: ServerMessage) => void;
  readonly onClosed: (code: number, reason: string) => void;
}

export class SimConnection implements Connection {
  readonly remoteAddress = '192.0.2.1';
  readonly #options: SimConnectionOptions;
  #listener: ConnectionListener | undefined;
  #bufferedBytes = 0;
  #wasFull = false;
  #lastDownAtMs = 0;
  #lastUpAtMs = 0;
  /** When each message that the gateway has not read yet arrived, oldest first. */
  readonly #unreadAtMs: number[] = [];
  #hasClosed = false;
  #isBroken = false;
  #hasToldClosed = false;

  constructor(options: SimConnectionOptions) {
    this.#options = options;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** The listener has heard the end of it. */
  get hasEnded(): boolean {
    return this.#hasToldClosed;
  }

  /** True when something of the client has arrived that the gateway has not read. */
  get hasUnread(): boolean {
    const [first] = this.#unreadAtMs;
    return first !== undefined && first <= this.#options.clock.nowMs();
  }

  listen(listener: ConnectionListener): void {
    this.#listener = listener;
  }

  sendText(text: string): 'sent' | 'buffered' | 'full' | 'closed' {
    const { clock, dice, bufferMaxBytes, readBytesPerMs, onMessage } = this.#options;
    if (this.#hasClosed || this.#hasToldClosed) return 'closed';
    if (this.#bufferedBytes >= bufferMaxBytes) {
      this.#wasFull = true;
      return 'full';
    }
    const isSlow = this.#bufferedBytes > 0;
    this.#bufferedBytes += text.length;
    const arrivesAtMs = Math.max(this.#lastDownAtMs, clock.nowMs() + dice.magnitude(1, 30));
    this.#lastDownAtMs = arrivesAtMs + text.length / readBytesPerMs;
    clock.at(this.#lastDownAtMs, 'outside', () => {
      this.#bufferedBytes -= text.length;
      if (!this.#isBroken) onMessage(JSON.parse(text) as ServerMessage);
      if (this.#bufferedBytes > 0 || !this.#wasFull) return;
      this.#wasFull = false;
      clock.at(clock.nowMs(), 'read', () => {
        if (!this.#hasClosed && !this.#hasToldClosed) this.#listener?.drained();
      });
    });
    return isSlow ? 'buffered' : 'sent';
  }

  close(code: number, reason: string): void {
    if (this.#hasClosed || this.#hasToldClosed) return;
    this.#hasClosed = true;
    const { clock, onClosed } = this.#options;
    const atMs = Math.max(this.#lastDownAtMs, clock.nowMs()) + 1;
    const cutAtMs = clock.nowMs() + CLOSE_MAX_MS;
    clock.at(atMs, 'outside', () => {
      if (!this.#isBroken) onClosed(code, reason);
    });
    clock.at(this.#isBroken ? cutAtMs : Math.min(atMs + 5, cutAtMs), 'read', () => {
      this.#tellClosed(code);
    });
  }

  terminate(): void {
    this.#hasClosed = true;
    this.#isBroken = true;
    const { clock } = this.#options;
    clock.at(clock.nowMs(), 'read', () => {
      this.#tellClosed(1006);
    });
  }

  /** The client sends; it arrives in order. */
  push(message: string | Uint8Array): void {
    const { clock, dice } = this.#options;
    if (this.#isBroken) return;
    const lagMs = dice.chance(0.005) ? dice.magnitude(50, 1_500) : dice.magnitude(1, 30);
    this.#lastUpAtMs = Math.max(this.#lastUpAtMs, clock.nowMs() + lagMs);
    this.#unreadAtMs.push(this.#lastUpAtMs);
    clock.at(this.#lastUpAtMs, 'read', () => {
      this.#unreadAtMs.shift();
      if (this.#hasClosed || this.#hasToldClosed) return;
      if (typeof message === 'string') this.#listener?.text(message);
      else this.#listener?.binary(message);
    });
  }

  /** The client is gone; the server hears of it unless the connection is only half closed. */
  vanish(halfOpen: boolean): void {
    const { clock } = this.#options;
    this.#isBroken = true;
    if (halfOpen) return;
    this.#lastUpAtMs = Math.max(this.#lastUpAtMs, clock.nowMs() + 1);
    clock.at(this.#lastUpAtMs, 'read', () => {
      this.#tellClosed(1006);
    });
  }

  #tellClosed(code: number): void {
    if (this.#hasToldClosed) return;
    this.#hasToldClosed = true;
    this.#listener?.closed(code);
  }
}
