/** The server's end of a WebSocket, played by a test, and the client's socket that belongs to it. */
import assert from 'node:assert/strict';
import type { StreamSocket } from '../../client/connection.ts';
import type { ClientMessage, FinalMessage, ServerMessage, StartMessage } from '../../client/protocol.ts';

type Listener = (event: { readonly data: unknown; readonly code: number }) => void;

export class ScriptedSocket implements StreamSocket {
  readonly url: string;
  readonly #listeners = new Map<string, Listener[]>();
  /** Everything the client sent, in order. */
  readonly sent: (ClientMessage | Uint8Array)[] = [];
  /** Close codes the client sent. */
  readonly closes: (number | undefined)[] = [];
  bufferedAmount = 0;
  /** True while nothing that is sent leaves the client's machine. */
  isStuck = false;

  constructor(url: string) {
    this.url = url;
  }

  /** The `start` message; fails unless it is the first that came. */
  get start(): StartMessage {
    const first = this.sent[0];
    assert(first !== undefined && !(first instanceof Uint8Array) && first.type === 'start');
    return first;
  }

  /** First bytes of the audio messages that came. */
  get audio(): number[] {
    return this.sent.flatMap((message) => (message instanceof Uint8Array ? [message[0] ?? -1] : []));
  }

  /** Types of all messages that came, `audio` for binary ones. */
  get types(): string[] {
    return this.sent.map((message) => (message instanceof Uint8Array ? 'audio' : message.type));
  }

  send(content: string | Uint8Array): void {
    if (this.isStuck) this.bufferedAmount += content.length;
    this.sent.push(typeof content === 'string' ? (JSON.parse(content) as ClientMessage) : content);
  }

  close(code?: number): void {
    this.closes.push(code);
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  /** The TCP connection and the upgrade succeed. */
  open(): void {
    this.#emit('open');
  }

  /** The server sends a message. */
  receive(message: ServerMessage): void {
    this.receiveRaw(JSON.stringify(message));
  }

  receiveRaw(data: unknown): void {
    this.#emit('message', { data, code: 0 });
  }

  /** The connection ends; 1006 is what a client sees when nobody said goodbye. */
  drop(code = 1006): void {
    if (code === 1006) this.#emit('error');
    this.#emit('close', { data: undefined, code });
  }

  /** Opens and sends `ready`. */
  accept(
    sessionId = 'session',
    limits: { idleMaxMs?: number; aheadOfRealtimeMaxMs?: number; catchUpRatio?: number } = {},
  ): void {
    this.open();
    this.receive({
      type: 'ready',
      version: 1,
      sessionId,
      model: 'fake',
      limits: {
        messageMaxBytes: 1_500,
        idleMaxMs: 9_000,
        sessionMaxMs: 3_600_000,
        aheadOfRealtimeMaxMs: 30_000,
        catchUpRatio: 1,
        ...limits,
      },
      endpointing: { silenceMs: 500, maxUtteranceMs: 29_000 },
    });
  }

  #emit(type: string, event: Parameters<Listener>[0] = { data: undefined, code: 0 }): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }
}

/** All sockets that a client opened, in order. */
export class ScriptedServer {
  readonly sockets: ScriptedSocket[] = [];

  readonly createSocket = (url: string): ScriptedSocket => {
    const socket = new ScriptedSocket(url);
    this.sockets.push(socket);
    return socket;
  };

  /** The socket opened last. */
  get socket(): ScriptedSocket {
    const socket = this.sockets.at(-1);
    assert(socket !== undefined, 'the client has opened no socket');
    return socket;
  }
}

/** A final that acknowledges its audio. */
export function finalOf(utteranceId: number, endAudioMs: number, text = `text ${utteranceId}`): FinalMessage {
  return { type: 'final', utteranceId, text, startAudioMs: 0, endAudioMs, ackedAudioMs: endAudioMs };
}
