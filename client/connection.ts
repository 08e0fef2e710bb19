/** One WebSocket to the server: opens, says `start`, reads messages, notices when it is dead. */
import type { Cancel, ClientClock } from './client_clock.ts';
import type { ClientMessage, ServerMessage, StartMessage } from './protocol.ts';

/** What the client needs of a WebSocket; the browser's and those of the `ws` package fit. */
export interface StreamSocket {
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  send(content: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
  addEventListener(type: 'open' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { readonly code: number }) => void): void;
}

/** Time from the new socket to the server's `ready`. */
const CONNECT_MAX_MS = 10_000;
/** A connection that has not got rid of a byte for this many checks in a row is dead. */
const STALLED_MAX_CHECKS = 3;
/** Checks, and signs of life when nothing else was sent, per idle time-out of the server. */
const CHECKS_PER_IDLE_TIMEOUT = 3;
/** RFC 6455 section 7.4.1: the normal end. */
const CLOSE_NORMAL = 1_000;

/** How a connection ended: the server's close code, or what the client saw instead of one. */
export type ConnectionEnd =
  | { readonly type: 'closed'; readonly code: number }
  | { readonly type: 'timeout' }
  | { readonly type: 'garbled' };

export interface ConnectionOptions {
  readonly socket: StreamSocket;
  readonly clock: ClientClock;
  readonly start: StartMessage;
  readonly onMessage: (message: ServerMessage) => void;
  /** Called at most once, and never after `close()`. */
  readonly onEnd: (end: ConnectionEnd) => void;
}

export class Connection {
  readonly #options: ConnectionOptions;
  #isOver = false;
  #cancelTimer: Cancel;
  #sentSinceCheck = false;
  #sentBytes = 0;
  #deliveredAtCheckBytes = 0;
  #stalledChecks = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { socket, clock, start } = options;
    this.#cancelTimer = clock.after(CONNECT_MAX_MS, () => {
      this.#end({ type: 'timeout' });
    });
    socket.addEventListener('open', () => {
      if (!this.#isOver) socket.send(JSON.stringify(start));
    });
    socket.addEventListener('message', ({ data }) => {
      this.#onMessage(data);
    });
    socket.addEventListener('close', ({ code }) => {
      this.#end({ type: 'closed', code });
    });
    // A `close` always follows; but without a listener the `ws` package throws.
    socket.addEventListener('error', () => undefined);
  }

  /** Bytes that wait to be sent. */
  get bufferedBytes(): number {
    return this.#options.socket.bufferedAmount;
  }

  sendControl(message: ClientMessage): void {
    const text = JSON.stringify(message);
    this.#sentSinceCheck = true;
    this.#sentBytes += text.length;
    this.#options.socket.send(text);
  }

  sendAudio(bytes: Uint8Array): void {
    this.#sentSinceCheck = true;
    this.#sentBytes += bytes.length;
    this.#options.socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  /** Ends the connection without a word to `onEnd`; idempotent. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer();
    this.#options.socket.close(CLOSE_NORMAL);
  }

  #end(end: ConnectionEnd): void {
    if (this.#isOver) return;
    this.close();
    this.#options.onEnd(end);
  }

  #onMessage(content: unknown): void {
    if (this.#isOver) return;
    const message = parseServerMessage(content);
    if (message === undefined) {
      this.#end({ type: 'garbled' });
      return;
    }
    if (message.type === 'ready') this.#watch(message.limits.idleMaxMs / CHECKS_PER_IDLE_TIMEOUT);
    this.#options.onMessage(message);
  }

  /** From `ready` on: says `keepAlive` when there was nothing else to say, and looks for progress. */
  #watch(intervalMs: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(intervalMs, () => {
      const deliveredBytes = this.#sentBytes - this.bufferedBytes;
      const isStalled = this.bufferedBytes > 0 && deliveredBytes <= this.#deliveredAtCheckBytes;
      this.#stalledChecks = isStalled ? this.#stalledChecks + 1 : 0;
      this.#deliveredAtCheckBytes = deliveredBytes;
      if (this.#stalledChecks >= STALLED_MAX_CHECKS) {
        this.#end({ type: 'timeout' });
        return;
      }
      if (!this.#sentSinceCheck) this.sendControl({ type: 'keepAlive' });
      this.#sentSinceCheck = false;
      this.#watch(intervalMs);
    });
  }
}

/** A text frame as a message; undefined if it is none. Types that are not known yet are the caller's to ignore. */
function parseServerMessage(content: unknown): ServerMessage | undefined {
  if (typeof content !== 'string') return undefined;
  try {
    const message: unknown = JSON.parse(content);
    return isMessage(message) ? message : undefined;
  } catch {
    // Not JSON: the answer is the same as for JSON that is no message.
    return undefined;
  }
}

function isMessage(value: unknown): value is ServerMessage {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}
