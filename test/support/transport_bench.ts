/** A transport under test: its owner, listeners that keep what they hear, and clients down to the bare socket. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import { WebSocket, type ClientOptions } from 'ws';
import { readTlsFiles } from '../../server/transport/tls_files.ts';
import type {
  Connection,
  ConnectionListener,
  HttpAnswer,
  HttpRequest,
  HttpVerdict,
  TlsFiles,
  Transport,
  TransportEvents,
  TransportLimit,
  UpgradeAnswer,
  UpgradeRequest,
} from '../../server/transport/transport.ts';
import {
  TRANSPORT_OPTIONS,
  type TransportBounds,
  type TransportOptions,
} from '../../server/transport/transport_bounds.ts';
import { FakeClock } from './fake_clock.ts';

export type CreateTransport = (options: TransportOptions) => Transport;

/** Answers every text with itself and every binary message with its length and hash. */
export class EchoListener implements ConnectionListener {
  readonly connection: Connection;
  readonly heard: string[] = [];
  readonly #bench: TransportBench;

  constructor(connection: Connection, bench: TransportBench) {
    this.connection = connection;
    this.#bench = bench;
  }

  text(message: string): void {
    this.#note(`text ${message.slice(0, 40)}`);
    this.connection.sendText(message);
  }

  binary(message: Uint8Array): void {
    assert.equal(message.buffer.byteLength, message.length, 'memory of others is kept with it');
    this.#note(`binary ${message.length}`);
    // Later, when memory that was only lent would be gone.
    setImmediate(() => this.connection.sendText(digest(message)));
  }

  drained(): void {
    this.#note('drained');
  }

  closed(code: number): void {
    this.#note(`closed ${code}`);
  }

  #note(what: string): void {
    assert(!this.heard.some((earlier) => earlier.startsWith('closed')), `${what} after closed`);
    this.heard.push(what);
    this.#bench.changed();
  }
}

/** What an `EchoListener` answers a binary message with. */
export function digest(message: Uint8Array): string {
  return `${message.length}:${createHash('sha1').update(message).digest('hex')}`;
}

/** A request with its body. */
export interface ReadRequest extends HttpRequest {
  readonly body: Uint8Array;
}

interface BenchOptions {
  readonly upgrade?: (
    request: UpgradeRequest,
    bench: TransportBench,
  ) => UpgradeAnswer | Promise<UpgradeAnswer>;
  /** Judges the head; what it leaves is for `http`. */
  readonly judge?: (request: HttpRequest) => HttpVerdict | Promise<HttpVerdict> | undefined;
  readonly http?: (request: ReadRequest) => HttpAnswer | Promise<HttpAnswer>;
  readonly clientAddress?: TransportEvents['clientAddress'];
  readonly bounds?: Partial<TransportBounds>;
  readonly tls?: TlsFiles;
}

export class TransportBench {
  readonly clock = new FakeClock();
  readonly transport: Transport;
  readonly listeners: EchoListener[] = [];
  readonly faults: unknown[] = [];
  readonly limits: TransportLimit[] = [];
  readonly bounds: TransportBounds;
  readonly #options: BenchOptions;
  readonly #changes = new EventEmitter();
  readonly #sockets: Socket[] = [];
  readonly #clients: WebSocket[] = [];
  port = 0;

  private constructor(create: CreateTransport, options: BenchOptions) {
    this.bounds = { ...TRANSPORT_OPTIONS.bounds, ...options.bounds };
    this.transport = create({ clock: this.clock, bounds: this.bounds });
    this.#options = options;
    this.#changes.setMaxListeners(0);
  }

  /** Runs `act` on a transport that listens, and ends it and every client afterwards. */
  static async use(
    create: CreateTransport,
    options: BenchOptions,
    act: (bench: TransportBench) => Promise<void>,
  ): Promise<void> {
    const bench = new TransportBench(create, options);
    const { tls, clientAddress } = options;
    const events: TransportEvents = {
      ...(clientAddress === undefined ? {} : { clientAddress }),
      upgrade: (request) => options.upgrade?.(request, bench) ?? bench.accept(),
      http: (request) => options.judge?.(request) ?? ((body) => bench.#http({ ...request, body })),
      fault: (error) => {
        bench.faults.push(error);
        bench.changed();
      },
      limitReached: (limit) => {
        bench.limits.push(limit);
        bench.changed();
      },
    };
    const address = { host: '127.0.0.1', port: 0, events };
    ({ port: bench.port } = await bench.transport.listen({ ...address, tls: tls && readTlsFiles(tls) }));
    try {
      await act(bench);
    } finally {
      for (const client of bench.#clients) client.terminate();
      for (const socket of bench.#sockets) socket.destroy();
      const closed = bench.transport.close();
      bench.clock.jump(bench.bounds.closeMaxMs);
      await closed;
    }
  }

  /** The answer that accepts with a new `EchoListener`, or with what `make` makes of it. */
  accept(make: (listener: EchoListener) => ConnectionListener = (listener) => listener): UpgradeAnswer {
    return {
      accept: true,
      listener: (connection) => {
        const listener = new EchoListener(connection, this);
        this.listeners.push(listener);
        this.changed();
        return make(listener);
      },
    };
  }

  changed(): void {
    this.#changes.emit('change');
  }

  /** Waits until something that was noted makes `isSo` true. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await once(this.#changes, 'change');
  }

  /** The listener of the connection opened last, its `closed` awaited. */
  async closing(listener: EchoListener): Promise<string> {
    const last = (): string => listener.heard.at(-1) ?? '';
    await this.until(() => last().startsWith('closed'));
    return last();
  }

  /** A client that is open, and the listener at the other end. */
  async connect(
    path = '/',
    { protocols = [], ...options }: ClientOptions & { protocols?: string[] } = {},
  ): Promise<{ readonly client: WebSocket; readonly listener: EchoListener }> {
    const before = this.listeners.length;
    const client = this.client(path, { protocols, ...options });
    await once(client, 'open');
    await this.until(() => this.listeners.length > before);
    const listener = this.listeners[before];
    assert(listener !== undefined);
    return { client, listener };
  }

  /** A client that is about to connect. */
  client(
    path: string,
    { protocols = [], ...options }: ClientOptions & { protocols?: string[] } = {},
  ): WebSocket {
    const scheme = this.#options.tls === undefined ? 'ws' : 'wss';
    const client = new WebSocket(`${scheme}://127.0.0.1:${this.port}${path}`, protocols, options);
    this.#clients.push(client);
    client.on('error', () => undefined); // Shows as a close.
    return client;
  }

  /** A WebSocket without a library: the handshake is done, then it is only a socket. */
  async rawConnect(): Promise<{ readonly socket: Socket; readonly listener: EchoListener }> {
    const before = this.listeners.length;
    const socket = this.socket();
    socket.write(handshake());
    await once(socket, 'data');
    await this.until(() => this.listeners.length > before);
    const listener = this.listeners[before];
    assert(listener !== undefined);
    return { socket, listener };
  }

  socket(): Socket {
    const socket = connect(this.port, '127.0.0.1');
    socket.on('error', () => undefined); // Shows as a close.
    this.#sockets.push(socket);
    return socket;
  }

  #http(request: ReadRequest): HttpAnswer | Promise<HttpAnswer> {
    if (this.#options.http !== undefined) return this.#options.http(request);
    const found = request.path === '/';
    return {
      status: found ? 200 : 404,
      headers: { 'X-Path': request.path },
      body: found ? 'page' : 'nothing',
    };
  }
}

/** What `fill` sends, with a number before it. */
export const SENT_TEXT = 'x'.repeat(16_000);

/** Sends until nothing more is taken; how many texts were. */
export function fill(connection: Connection): number {
  const outcomes: string[] = [];
  do outcomes.push(connection.sendText(`${outcomes.length} ${SENT_TEXT}`));
  while (outcomes.at(-1) !== 'full');
  const firstBuffered = outcomes.indexOf('buffered');
  assert(outcomes.slice(firstBuffered, -1).every((outcome) => outcome === 'buffered'));
  return outcomes.length - 1;
}

/** The bytes that ask for a WebSocket; a header that is undefined is left out. */
export function handshake(
  headers: Readonly<Record<string, string | undefined>> = {},
  method = 'GET',
): string {
  const all: Record<string, string | undefined> = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return `${method} / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

/** One frame of at most 65,535 bytes as a client sends it (RFC 6455 section 5.2), with a mask of zeros or without. */
export function frame(opcode: number, payload: Uint8Array, isMasked = true): Buffer {
  const mask = isMasked ? 0x80 : 0;
  const length =
    payload.length < 126 ? [payload.length | mask] : [126 | mask, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...length, ...(isMasked ? [0, 0, 0, 0] : [])]), payload]);
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** One HTTP request on a connection of its own. */
export async function ask(port: number, options: RequestOptions, body = ''): Promise<Reply> {
  const request = httpRequest({ host: '127.0.0.1', port, agent: false, ...options });
  request.end(body === '' ? undefined : body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(parts).toString(),
  };
}

/** Everything a socket gets until its end. */
export async function readToEnd(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  await once(socket, 'close');
  return Buffer.concat(parts).toString('latin1');
}

/** Code and reason that a client sees. */
export async function closeOf(client: WebSocket): Promise<readonly [code: number, reason: string]> {
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  return [code, reason.toString()];
}

/** The next text a client gets. */
export async function textFrom(client: WebSocket): Promise<string> {
  const [message] = (await once(client, 'message')) as [Buffer];
  return message.toString();
}
