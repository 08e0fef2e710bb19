/** A WebSocket client made of a bare socket: sends any bytes, answers nothing by itself. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly body: string;
}

/** A socket that stays half open when the server ends its side, as one does whose machine has vanished. */
export class RawSocket {
  readonly socket: Socket;
  readonly answer: Promise<RawAnswer>;
  /** Resolves when the connection has ended, however; with the time of it. */
  readonly ended: Promise<number>;
  readonly #received: Buffer[] = [];
  #receivedBytes = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        resolve(performance.now());
      };
      socket.once('end', end);
      socket.once('close', end);
    });
    // A cut connection is what most of these wait for.
    socket.on('error', () => undefined);
    this.answer = new Promise((resolve) => {
      const look = (): void => {
        const answer = this.#parse();
        if (answer !== undefined) resolve(answer);
      };
      socket.on('data', (bytes: Buffer) => {
        // Frames after the answer are nobody's business here, and would be many.
        if (this.#receivedBytes < 65_536) this.#received.push(bytes);
        this.#receivedBytes += bytes.length;
        look();
      });
      socket.once('close', () => {
        resolve(this.#parse() ?? { status: 0, body: '' });
      });
    });
  }

  /** A TCP connection that has said nothing. */
  static async connect(port: number): Promise<RawSocket> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const raw = new RawSocket(socket);
    await once(socket, 'connect');
    return raw;
  }

  /** Sends a handshake; the answer is in `answer`. */
  static async ask(
    port: number,
    query = '',
    headers: Readonly<Record<string, string>> = {},
  ): Promise<RawSocket> {
    const raw = await RawSocket.connect(port);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    raw.socket.write(
      `GET /v1/stream${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${lines.join('')}\r\n`,
    );
    return raw;
  }

  /** As `ask`; throws if the server refuses. */
  static async open(port: number, query = ''): Promise<RawSocket> {
    const raw = await RawSocket.ask(port, query);
    const { status } = await raw.answer;
    if (status !== 101) throw new Error(`the server answered ${status}`);
    return raw;
  }

  /** What has come in, as text; frames of text are readable in it. */
  get text(): string {
    return Buffer.concat(this.#received).toString('latin1');
  }

  destroy(): void {
    this.socket.destroy();
  }

  #parse(): RawAnswer | undefined {
    const { text } = this;
    const headEnd = text.indexOf('\r\n\r\n');
    if (headEnd === -1) return undefined;
    const length = Number(/content-length: (\d+)/i.exec(text.slice(0, headEnd))?.[1] ?? 0);
    const body = text.slice(headEnd + 4);
    if (body.length < length) return undefined;
    return { status: Number(text.slice(9, 12)), body: body.slice(0, length) };
  }
}
