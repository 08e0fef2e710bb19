/** The clients' port on `ws` and node:http: for machines without a native uWebSockets.js. */
import assert from 'node:assert/strict';
import {
  createServer,
  ServerResponse,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerOptions,
} from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { Socket, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { BodyBudget } from './body_budget.ts';
import { consult } from './consultation.ts';
import { HttpExchange, type HttpWire } from './http_exchange.ts';
import { KeepAlive } from './keep_alive.ts';
import { CLIENT_PORT_SETTINGS, listenFault } from './listen_fault.ts';
import { GOING_AWAY_CLOSE } from './listener_guard.ts';
import {
  checkedUpgradeAnswer,
  FAULT_ANSWER,
  handshakeFault,
  isWebSocketUpgrade,
  offeredProtocols,
  ownHeaders,
  requestHead,
} from './request_head.ts';
import type {
  HttpAnswer,
  ListenOptions,
  RequestHead,
  TlsIdentity,
  Transport,
  TransportEvents,
  UpgradeAnswer,
} from './transport.ts';
import type { TransportOptions } from './transport_bounds.ts';
import { WsConnection } from './ws_connection.ts';

type Acceptance = Extract<UpgradeAnswer, { accept: true }>;

/** Answers to heads that cannot be read, by the parser's code; any other is a 400. */
const HEAD_FAULT_STATUS: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_HEADER_OVERFLOW: 431,
};

/** A request with what is needed to answer it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly head: RequestHead;
  readonly events: TransportEvents;
}

export class WsTransport implements Transport {
  readonly name = 'ws';
  readonly #options: TransportOptions;
  readonly #keepAlive: KeepAlive;
  readonly #bodies: BodyBudget;
  readonly #connections = new Set<WsConnection>();
  readonly #sockets = new Set<Socket>();
  readonly #acceptances = new WeakMap<IncomingMessage, Acceptance>();
  readonly #webSockets: WebSocketServer;
  #server: Server | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#keepAlive = new KeepAlive(options.clock, options.bounds.keepAliveIntervalMs);
    this.#bodies = new BodyBudget(options.bounds.bodiesMaxBytes);
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: options.bounds.messageMaxBytes,
      handleProtocols: (_protocols, request) => this.#acceptances.get(request)?.protocol ?? false,
    });
    this.#webSockets.on('headers', (lines, request) => {
      const headers = this.#acceptances.get(request)?.headers ?? {};
      for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    });
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const connection of this.#connections) bytes += connection.bufferedBytes;
    return bytes;
  }

  async listen({ host, port, events, tls }: ListenOptions): Promise<{ readonly port: number }> {
    const { headersMaxMs, exchangeMaxMs } = this.#options.bounds;
    const options: ServerOptions = {
      headersTimeout: headersMaxMs,
      requestTimeout: headersMaxMs + exchangeMaxMs,
      connectionsCheckingInterval: Math.ceil(headersMaxMs / 10),
    };
    const server =
      tls === undefined
        ? createServer(options)
        : createTlsServer({ ...options, cert: tls.cert, key: tls.key });
    this.#server = server;
    server.timeout = headersMaxMs + exchangeMaxMs; // Of sockets without a WebSocket: `ws` takes it off the others.
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('request', (request, response) => {
      this.#onHttp({ request, response, head: headOf(request, events), events });
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') events.limitReached('headers_time');
      const status = HEAD_FAULT_STATUS[error.code ?? ''] ?? 400;
      if (socket.writable) {
        socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\n\r\n`);
      }
      socket.destroy();
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, early: Buffer) => {
      assert(socket instanceof Socket, 'node:http upgrades nothing else');
      this.#onUpgrade(request, { socket, early, events });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => {
        reject(listenFault({ settings: CLIENT_PORT_SETTINGS, host, port }, cause));
      });
      server.listen({ host, port }, resolve);
    });
    server.removeAllListeners('error').on('error', events.fault);
    return { port: (server.address() as AddressInfo).port };
  }

  renewTls({ cert, key }: TlsIdentity): Promise<void> {
    return Promise.resolve().then(() => {
      assert(this.#server instanceof TlsServer, 'listened without TLS');
      this.#server.setSecureContext({ cert, key });
    });
  }

  stopListening(): void {
    if (this.#server?.listening === true) this.#server.close();
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#closeAll());
  }

  async #closeAll(): Promise<void> {
    this.stopListening();
    for (const connection of [...this.#connections]) {
      connection.close(GOING_AWAY_CLOSE.code, GOING_AWAY_CLOSE.reason);
    }
    this.#server?.closeAllConnections();
    const cancel = this.#options.clock.after(this.#options.bounds.closeMaxMs, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await Promise.all(
      [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    );
    cancel();
  }

  #onUpgrade(
    request: IncomingMessage,
    {
      socket,
      early,
      events,
    }: { readonly socket: Socket; readonly early: Buffer; readonly events: TransportEvents },
  ): void {
    const head = headOf(request, events);
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    const exchange: Exchange = { request, response, head, events };
    const refuse = (answer: HttpAnswer): void => {
      response.assignSocket(socket);
      response.once('finish', () => {
        socket.destroySoon();
      });
      writeAnswer(exchange, answer);
    };
    // A socket that breaks here is gone, which is all there is to know; unheard, its error would end the process.
    const ignore = (): void => undefined;
    socket.on('error', ignore);
    if (!isWebSocketUpgrade(head)) {
      // Another protocol: the offer is ignored and the request answered as it stands, without a body.
      const read: HttpWire['read'] = (onBody) => {
        onBody(new Uint8Array(0));
      };
      const cut = (): void => {
        socket.destroy();
      };
      const other = this.#exchange({ head, read, write: refuse, cut }, events);
      socket.once('close', () => {
        other.end();
      });
      other.begin();
      return;
    }
    const fault = handshakeFault(head);
    if (fault !== undefined) {
      refuse(fault);
      return;
    }
    const protocols = offeredProtocols(head);
    consult(
      {
        ask: () => events.upgrade({ ...head, protocols }),
        check: (answer: UpgradeAnswer) => checkedUpgradeAnswer(answer, protocols),
        fallback: FAULT_ANSWER,
        fault: events.fault,
        clock: this.#options.clock,
        maxMs: this.#options.bounds.exchangeMaxMs,
      },
      (answer) => {
        if (!('accept' in answer)) {
          refuse(answer);
          return;
        }
        socket.off('error', ignore);
        this.#accept(exchange, answer, { socket, early });
      },
    );
  }

  #accept(
    { request, head, events }: Exchange,
    answer: Acceptance,
    { socket, early }: { readonly socket: Socket; readonly early: Buffer },
  ): void {
    this.#acceptances.set(request, answer);
    this.#webSockets.handleUpgrade(request, socket, early, (webSocket) => {
      const connection = new WsConnection(webSocket, {
        ...this.#options,
        remoteAddress: head.remoteAddress,
        fault: events.fault,
        limitReached: events.limitReached,
        listener: answer.listener,
        onHeard: (heard) => {
          this.#keepAlive.heard(heard);
        },
        onGone: (gone) => {
          this.#connections.delete(gone);
          this.#keepAlive.forget(gone);
        },
      });
      this.#connections.add(connection);
    });
  }

  #onHttp(exchange: Exchange): void {
    const { request, response, head, events } = exchange;
    response.shouldKeepAlive = false;
    const http = this.#exchange(
      {
        head,
        read: (onBody) => {
          readBody(request, onBody);
        },
        write: (answer) => {
          writeAnswer(exchange, answer);
        },
        cut: () => {
          request.destroy();
        },
      },
      events,
    );
    response.once('close', () => {
      http.end();
    });
    http.begin();
  }

  #exchange(wire: HttpWire, events: TransportEvents): HttpExchange {
    return new HttpExchange(wire, { ...this.#options, bodies: this.#bodies, events });
  }
}

/** The parser holds the body to the length announced. */
function readBody(request: IncomingMessage, onBody: (body: Uint8Array) => void): void {
  const parts: Buffer[] = [];
  request.on('data', (bytes: Buffer) => {
    parts.push(bytes);
  });
  // The client left while it sent its body; the response closes, and there is nobody to answer.
  request.on('error', () => undefined);
  request.once('end', () => {
    onBody(new Uint8Array(Buffer.concat(parts)));
  });
}

function headOf(request: IncomingMessage, events: TransportEvents): RequestHead {
  const target = request.url ?? '';
  const queryStart = target.indexOf('?');
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    headers.push([request.rawHeaders[i] ?? '', request.rawHeaders[i + 1] ?? '']);
  }
  return requestHead(
    {
      method: request.method ?? '',
      path: queryStart < 0 ? target : target.slice(0, queryStart),
      query: queryStart < 0 ? '' : target.slice(queryStart + 1),
      headers,
      remoteAddress: request.socket.remoteAddress ?? '',
    },
    events,
  );
}

function writeAnswer({ response, head }: Exchange, answer: HttpAnswer): void {
  if (response.destroyed || response.headersSent) return;
  response.writeHead(answer.status, {
    ...Object.fromEntries(ownHeaders(answer)),
    'Content-Length': Buffer.byteLength(answer.body),
    Connection: 'close',
  });
  response.end(head.method === 'HEAD' ? undefined : answer.body);
}
