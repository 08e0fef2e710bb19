/** A client that does exactly what a test says: one WebSocket, everything received kept in order. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { FinalMessage, ServerMessage } from '../../client/protocol.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { patiently } from './patience.ts';

type MessageOf<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>;

export interface Closing {
  readonly code: number;
  readonly reason: string;
}

export class RawClient {
  readonly messages: ServerMessage[] = [];
  readonly closed: Promise<Closing>;
  readonly socket: WebSocket;
  #wake: (() => void)[] = [];

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (bytes: Buffer) => {
      this.messages.push(JSON.parse(bytes.toString('utf8')) as ServerMessage);
      this.#wakeAll();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString('utf8') });
        this.#wakeAll();
      });
    });
    // A cut connection shows as its close; ws also emits an error for it.
    socket.on('error', () => undefined);
  }

  /** Opens `/v1/stream` with this query. */
  static async open(serverUrl: string, query = ''): Promise<RawClient> {
    const socket = new WebSocket(
      `${serverUrl.replace('http', 'ws')}/v1/stream${query === '' ? '' : `?${query}`}`,
    );
    const client = new RawClient(socket);
    await once(socket, 'open');
    return client;
  }

  /** The same, as soon as a server that is busy for a moment lets it in. */
  static enter(serverUrl: string, query = ''): Promise<RawClient> {
    return patiently(() => RawClient.open(serverUrl, query));
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  /** Encodes PCM as Opus packets of 20 ms and sends them at once. */
  sendOpus(pcm: Int16Array): void {
    for (const packet of encodeOpus(pcm)) this.sendBytes(packet);
  }

  /** The first message of a type at or after `fromIndex`; rejects if the connection closes before it comes. */
  async next<T extends ServerMessage['type']>(type: T, fromIndex = 0): Promise<MessageOf<T>> {
    for (;;) {
      const found = this.messages.slice(fromIndex).find((message) => message.type === type);
      if (found !== undefined) return found as MessageOf<T>;
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(`closed before '${type}' came; got ${JSON.stringify(this.messages)}`);
      }
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  of<T extends ServerMessage['type']>(type: T): MessageOf<T>[] {
    return this.messages.filter((message) => message.type === type) as MessageOf<T>[];
  }

  /** Sends `stop` and waits for the close; returns the finals. */
  async finish(): Promise<readonly FinalMessage[]> {
    this.send({ type: 'stop' });
    await this.closed;
    return this.of('final');
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** The texts of finals as one. */
export function joinedText(finals: readonly FinalMessage[]): string {
  return finals
    .map((final) => final.text)
    .filter((text) => text !== '')
    .join(' ');
}
