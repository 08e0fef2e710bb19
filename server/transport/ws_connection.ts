/** One WebSocket of `ws`. */
import type { RawData, WebSocket } from 'ws';
import type { Cancel } from '../../pipeline/clock.ts';
import type { Peer } from './keep_alive.ts';
import { closeReason, FAULT_CLOSE, ListenerGuard, NO_CLOSE_FRAME } from './listener_guard.ts';
import type { Connection, ConnectionListener, TransportLimit } from './transport.ts';
import type { TransportOptions } from './transport_bounds.ts';

/** What the library calls a message above its bound. */
const TOO_LARGE = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';

interface WsConnectionOptions extends TransportOptions {
  readonly remoteAddress: string;
  readonly fault: (error: unknown) => void;
  readonly limitReached: (limit: TransportLimit) => void;
  readonly listener: (connection: Connection) => ConnectionListener;
  readonly onHeard: (connection: WsConnection) => void;
  readonly onGone: (connection: WsConnection) => void;
}

export class WsConnection implements Connection, Peer {
  readonly remoteAddress: string;
  readonly #socket: WebSocket;
  readonly #options: WsConnectionOptions;
  readonly #guard: ListenerGuard;
  #isClosing = false;
  #cancelCut: Cancel | undefined;
  #owesDrained = false;

  constructor(socket: WebSocket, options: WsConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.remoteAddress = options.remoteAddress;
    this.#guard = new ListenerGuard({
      fault: options.fault,
      closeFaulty: () => {
        this.close(FAULT_CLOSE.code, FAULT_CLOSE.reason);
      },
    });
    this.#listen();
    options.onHeard(this);
    this.#guard.attach(() => options.listener(this));
  }

  get bufferedBytes(): number {
    return this.#isOpen ? this.#socket.bufferedAmount : 0;
  }

  sendText(text: string): 'sent' | 'buffered' | 'full' | 'closed' {
    if (!this.#isOpen) return 'closed';
    if (this.#isFull) {
      this.#owesDrained = true;
      return 'full';
    }
    // An error here is followed by the end of the socket, which the listener hears of.
    this.#socket.send(text, () => {
      this.#onSent();
    });
    if (this.#socket.bufferedAmount === 0) return 'sent';
    this.#owesDrained = true;
    return 'buffered';
  }

  close(code: number, reason: string): void {
    const shortReason = closeReason(code, reason);
    if (!this.#isOpen) return;
    this.#isClosing = true;
    this.#guard.finish(code);
    this.#cutLater();
    this.#socket.close(code, shortReason);
  }

  terminate(): void {
    this.#isClosing = true;
    this.#guard.finish(NO_CLOSE_FRAME);
    this.#socket.terminate();
  }

  cutOff(limit: TransportLimit): void {
    this.#options.limitReached(limit);
    this.terminate();
  }

  ping(): void {
    if (this.#isOpen) this.#socket.ping();
  }

  get #isOpen(): boolean {
    return !this.#isClosing && this.#socket.readyState === this.#socket.OPEN;
  }

  get #isFull(): boolean {
    return this.#socket.bufferedAmount >= this.#options.bounds.sendBufferMaxBytes;
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('message', (message, isBinary) => {
      this.#options.onHeard(this);
      this.#onMessage(message, isBinary);
    });
    socket.on('ping', (payload) => {
      this.#options.onHeard(this);
      // Not the library's own pong: a client could have it fill our memory by asking and not reading.
      if (this.#isOpen && !this.#isFull) socket.pong(payload);
    });
    socket.on('pong', () => {
      this.#options.onHeard(this);
    });
    // The client broke the protocol or its socket broke: nothing for us to repair. The library has sent the close
    // frame that fits; `close` follows and tells the listener.
    socket.on('error', (error) => {
      if ('code' in error && error.code === TOO_LARGE) this.#options.limitReached('message_bytes');
      this.#cutLater();
    });
    socket.on('close', (code) => {
      this.#cancelCut?.();
      this.#guard.finish(code);
      this.#options.onGone(this);
    });
  }

  #onMessage(message: RawData, isBinary: boolean): void {
    if (this.#isClosing || !Buffer.isBuffer(message)) return;
    // A copy: the library's is a view on all that came with it, which it would keep in memory.
    if (isBinary) this.#guard.binary(new Uint8Array(message));
    else this.#guard.text(message.toString());
  }

  #onSent(): void {
    if (!this.#owesDrained || !this.#isOpen || this.#socket.bufferedAmount > 0) return;
    this.#owesDrained = false;
    this.#guard.drained();
  }

  #cutLater(): void {
    const { clock, bounds } = this.#options;
    this.#cancelCut ??= clock.after(bounds.closeMaxMs, () => {
      this.cutOff('close_time');
    });
  }
}
