/** One WebSocket of uWebSockets.js. */
import type { Cancel } from '../../pipeline/clock.ts';
import type { Peer } from './keep_alive.ts';
import { closeReason, FAULT_CLOSE, ListenerGuard, NO_CLOSE_FRAME } from './listener_guard.ts';
import type { Connection, ConnectionListener, TransportLimit } from './transport.ts';
import type { TransportOptions } from './transport_bounds.ts';
import type { UwsSocket } from './uws_module.ts';

interface UwsConnectionOptions extends TransportOptions {
  readonly remoteAddress: string;
  readonly fault: (error: unknown) => void;
  readonly limitReached: (limit: TransportLimit) => void;
}

/** What the library says of a message above its bound; nothing that a peer can say comes with that code. */
const TOO_LARGE = Buffer.from('Received too big message');

/** What uWebSockets.js keeps for each socket. */
export interface UwsUserData {
  readonly connection: UwsConnection;
  readonly listener: (connection: Connection) => ConnectionListener;
}

export class UwsConnection implements Connection, Peer {
  readonly remoteAddress: string;
  readonly #options: UwsConnectionOptions;
  readonly #guard: ListenerGuard;
  /** Undefined before it opens and as soon as it is closed: every call on a closed one throws. */
  #socket: UwsSocket<UwsUserData> | undefined;
  #closing: { readonly code: number; readonly reason: string; readonly cancel: Cancel } | undefined;
  #owesDrained = false;

  constructor(options: UwsConnectionOptions) {
    this.#options = options;
    this.remoteAddress = options.remoteAddress;
    this.#guard = new ListenerGuard({
      fault: options.fault,
      closeFaulty: () => {
        this.close(FAULT_CLOSE.code, FAULT_CLOSE.reason);
      },
    });
  }

  get bufferedBytes(): number {
    return this.#socket?.getBufferedAmount() ?? 0;
  }

  sendText(text: string): 'sent' | 'buffered' | 'full' | 'closed' {
    const socket = this.#socket;
    if (socket === undefined || this.#closing !== undefined) return 'closed';
    if (socket.getBufferedAmount() >= this.#options.bounds.sendBufferMaxBytes) {
      this.#owesDrained = true;
      return 'full';
    }
    const outcome = socket.send(text, false, false);
    if (outcome === 1) return 'sent';
    this.#owesDrained = true;
    return outcome === 0 ? 'buffered' : 'full';
  }

  close(code: number, reason: string): void {
    const shortReason = closeReason(code, reason);
    if (this.#socket === undefined || this.#closing !== undefined) return;
    this.#guard.finish(code);
    const { clock, bounds } = this.#options;
    const cancel = clock.after(bounds.closeMaxMs, () => {
      this.cutOff('close_time');
    });
    this.#closing = { code, reason: shortReason, cancel };
    this.#endWhenDrained();
  }

  terminate(): void {
    this.#guard.finish(NO_CLOSE_FRAME);
    this.#socket?.close();
  }

  cutOff(limit: TransportLimit): void {
    this.#options.limitReached(limit);
    this.terminate();
  }

  ping(): void {
    this.#socket?.ping();
  }

  /** To be called by the transport, in the callbacks of the same names. */
  onOpen(socket: UwsSocket<UwsUserData>, listener: UwsUserData['listener']): void {
    this.#socket = socket;
    this.#guard.attach(() => listener(this));
  }

  onMessage(message: ArrayBuffer, isBinary: boolean): void {
    if (this.#closing !== undefined) return;
    // The memory is detached when the callback returns.
    if (isBinary) this.#guard.binary(new Uint8Array(message.slice(0)));
    else this.#guard.text(Buffer.from(message).toString());
  }

  onDrain(): void {
    if (this.#closing !== undefined) this.#endWhenDrained();
    else if (this.#owesDrained && this.bufferedBytes === 0) {
      this.#owesDrained = false;
      this.#guard.drained();
    }
  }

  /** `message` is what the peer said, or why the library cut it off. */
  onClose(code: number, message: ArrayBuffer): void {
    if (code === NO_CLOSE_FRAME && Buffer.from(message).equals(TOO_LARGE))
      this.#options.limitReached('message_bytes');
    this.#socket = undefined;
    this.#closing?.cancel();
    this.#guard.finish(code);
  }

  /**
   * `end` would wait for the buffer too, but from then on nothing here can reach the socket, and a peer that never
   * reads would hold it until the library's own timeout.
   */
  #endWhenDrained(): void {
    if (this.#closing === undefined || this.#socket?.getBufferedAmount() !== 0) return;
    this.#socket.end(this.#closing.code, this.#closing.reason);
  }
}
