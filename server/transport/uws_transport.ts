/** The clients' port on uWebSockets.js. Every callback is guarded: an exception in one would end the process. */
import { STATUS_CODES } from 'node:http';
import { ConfigError, ProtocolError } from '../../pipeline/errors.ts';
import { KEEP_ALIVE_MISSED_COUNT } from '../../pipeline/limits.ts';
import { BodyBudget } from './body_budget.ts';
import { consult } from './consultation.ts';
import { HttpExchange } from './http_exchange.ts';
import { KeepAlive } from './keep_alive.ts';
import { CLIENT_PORT_SETTINGS, listenCause, listenFault } from './listen_fault.ts';
import { GOING_AWAY_CLOSE } from './listener_guard.ts';
import {
  checkedUpgradeAnswer,
  errorAnswer,
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
  TlsFiles,
  Transport,
  TransportEvents,
  UpgradeAnswer,
} from './transport.ts';
import type { TransportOptions } from './transport_bounds.ts';
import { UwsBody } from './uws_body.ts';
import { UwsConnection, type UwsUserData } from './uws_connection.ts';
import type {
  UwsApp,
  UwsBehavior,
  UwsContext,
  UwsListenSocket,
  UwsModule,
  UwsRequest,
  UwsResponse,
} from './uws_module.ts';

/** Range of the library's own idle timeout, in seconds. */
const IDLE_TIMEOUT_MIN_SECONDS = 8;
const IDLE_TIMEOUT_MAX_SECONDS = 960;

/** A request that has not been answered; `isGone` once it cannot be any more. */
interface Exchange {
  readonly response: UwsResponse;
  readonly head: RequestHead;
  isGone: boolean;
}

export class UwsTransport implements Transport {
  readonly name = 'uws';
  readonly #module: UwsModule;
  readonly #options: TransportOptions;
  readonly #keepAlive: KeepAlive;
  readonly #bodies: BodyBudget;
  readonly #connections = new Set<UwsConnection>();
  #listenSocket: UwsListenSocket | undefined;
  #resolveEmpty: (() => void) | undefined;
  #closed: Promise<void> | undefined;

  constructor(module: UwsModule, options: TransportOptions) {
    this.#module = module;
    this.#options = options;
    this.#keepAlive = new KeepAlive(options.clock, options.bounds.keepAliveIntervalMs);
    this.#bodies = new BodyBudget(options.bounds.bodiesMaxBytes);
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const connection of this.#connections) bytes += connection.bufferedBytes;
    return bytes;
  }

  listen({ host, port, events, tls }: ListenOptions): Promise<{ readonly port: number }> {
    return new Promise((resolve, reject) => {
      const app = this.#createApp(tls);
      app.ws('/*', this.#behavior(events)).any('/*', (response, request) => {
        this.#guarded(events, () => {
          this.#onHttp(response, request, events);
        });
      });
      // Without the option several processes share a port, and each gets some of the connections.
      app.listen(host, port, this.#module.LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
        if (socket === false) {
          const wanted = { settings: CLIENT_PORT_SETTINGS, host, port };
          void listenCause(wanted).then((cause) => {
            reject(listenFault(wanted, cause));
          });
          return;
        }
        this.#listenSocket = socket;
        resolve({ port: this.#module.us_socket_local_port(socket) });
      });
    });
  }

  /**
   * Always throws `ConfigError`. The library reads certificates once, for an app, and another app cannot take over the
   * port: without SO_REUSEADDR it cannot be bound as long as there is a connection on it. That was tried.
   */
  renewTls(): Promise<void> {
    return Promise.reject(
      new ConfigError(
        'bad_config',
        'uWebSockets.js cannot take a new certificate while it runs: start again, or set the transport to `ws`',
      ),
    );
  }

  stopListening(): void {
    if (this.#listenSocket !== undefined) this.#module.us_listen_socket_close(this.#listenSocket);
    this.#listenSocket = undefined;
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#closeAll());
  }

  async #closeAll(): Promise<void> {
    this.stopListening();
    const empty = new Promise<void>((resolve) => {
      this.#resolveEmpty = resolve;
    });
    for (const connection of [...this.#connections]) {
      connection.close(GOING_AWAY_CLOSE.code, GOING_AWAY_CLOSE.reason);
    }
    if (this.#connections.size > 0) await empty;
  }

  #createApp(tls: TlsFiles | undefined): UwsApp {
    if (tls === undefined) return this.#module.App();
    try {
      return this.#module.SSLApp({ key_file_name: tls.keyPath, cert_file_name: tls.certPath });
    } catch (cause) {
      const what = `the TLS certificate ${tls.certPath} or key ${tls.keyPath}`;
      throw new ConfigError(
        'bad_config',
        `uWebSockets.js does not accept ${what}; set the transport to \`ws\``,
        {
          cause,
        },
      );
    }
  }

  #behavior(events: TransportEvents): UwsBehavior<UwsUserData> {
    const { messageMaxBytes, sendBufferMaxBytes, keepAliveIntervalMs } = this.#options.bounds;
    const idleSeconds = Math.ceil(((KEEP_ALIVE_MISSED_COUNT + 1) * keepAliveIntervalMs) / 1_000) + 1;
    return {
      compression: this.#module.DISABLED,
      maxPayloadLength: messageMaxBytes,
      // We refuse at half of it. The rest is for pongs, which a client can ask for without end, and a close frame.
      maxBackpressure: 2 * sendBufferMaxBytes,
      closeOnBackpressureLimit: false,
      // Behind our own keep-alive, but no further: sockets that linger after their close frame, where nothing else
      // reaches, get a share of it, which is 8 s (and up to 4 s, its clock's step) below 32 s and 16 s above.
      idleTimeout: Math.min(IDLE_TIMEOUT_MAX_SECONDS, Math.max(IDLE_TIMEOUT_MIN_SECONDS, idleSeconds)),
      sendPingsAutomatically: false,
      upgrade: (response, request, context) => {
        this.#guarded(events, () => {
          this.#onUpgrade(response, request, { context, events });
        });
      },
      ...this.#socketCallbacks(events),
    };
  }

  #socketCallbacks(
    events: TransportEvents,
  ): Pick<UwsBehavior<UwsUserData>, 'open' | 'message' | 'drain' | 'ping' | 'pong' | 'close'> {
    const withConnection =
      <A extends unknown[]>(act: (connection: UwsConnection, ...args: A) => void) =>
      (socket: { getUserData(): UwsUserData }, ...args: A): void => {
        this.#guarded(events, () => {
          act(socket.getUserData().connection, ...args);
        });
      };
    const heard = withConnection((connection) => {
      this.#keepAlive.heard(connection);
    });
    return {
      open: (socket) => {
        this.#guarded(events, () => {
          const { connection, listener } = socket.getUserData();
          this.#connections.add(connection);
          this.#keepAlive.heard(connection);
          connection.onOpen(socket, listener);
        });
      },
      message: withConnection((connection, message: ArrayBuffer, isBinary: boolean) => {
        this.#keepAlive.heard(connection);
        connection.onMessage(message, isBinary);
      }),
      drain: withConnection((connection) => {
        connection.onDrain();
      }),
      ping: heard,
      pong: heard,
      close: withConnection((connection, code: number, message: ArrayBuffer) => {
        this.#connections.delete(connection);
        this.#keepAlive.forget(connection);
        connection.onClose(code, message);
        if (this.#connections.size === 0) this.#resolveEmpty?.();
      }),
    };
  }

  #onUpgrade(
    response: UwsResponse,
    request: UwsRequest,
    { context, events }: { readonly context: UwsContext; readonly events: TransportEvents },
  ): void {
    const exchange = openExchange(response, request, events);
    const { head } = exchange;
    const fault = isWebSocketUpgrade(head)
      ? handshakeFault(head)
      : errorAnswer(400, new ProtocolError('bad_message', 'send Upgrade: websocket'));
    if (fault !== undefined) {
      writeAnswer(exchange, fault);
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
        if ('accept' in answer) this.#accept(exchange, answer, { context, events });
        else writeAnswer(exchange, answer);
      },
    );
  }

  #accept(
    exchange: Exchange,
    answer: Extract<UpgradeAnswer, { accept: true }>,
    { context, events }: { readonly context: UwsContext; readonly events: TransportEvents },
  ): void {
    if (exchange.isGone) return;
    exchange.isGone = true;
    const { response, head } = exchange;
    const { remoteAddress } = head;
    const { fault, limitReached } = events;
    const connection = new UwsConnection({ ...this.#options, remoteAddress, fault, limitReached });
    const userData: UwsUserData = { connection, listener: answer.listener };
    response.cork(() => {
      response.writeStatus('101 Switching Protocols');
      for (const [name, value] of Object.entries(answer.headers ?? {})) response.writeHeader(name, value);
      const key = head.headers.get('sec-websocket-key') ?? '';
      response.upgrade(userData, key, answer.protocol ?? '', '', context);
    });
  }

  #onHttp(response: UwsResponse, request: UwsRequest, events: TransportEvents): void {
    const exchange = openExchange(response, request, events);
    const { head } = exchange;
    if (isWebSocketUpgrade(head)) {
      // With a good handshake it would not have come here.
      writeAnswer(exchange, handshakeFault(head) ?? FAULT_ANSWER);
      return;
    }
    const body = new UwsBody(response, (act) => {
      this.#guarded(events, act);
    });
    const http = new HttpExchange(
      {
        head,
        read: (onBody) => {
          body.read(onBody);
        },
        write: (answer) => {
          writeAnswer(exchange, answer);
        },
        cut: () => response.close(),
      },
      { ...this.#options, bodies: this.#bodies, events },
    );
    response.onAborted(() => {
      exchange.isGone = true;
      http.end();
    });
    http.begin();
    if (!exchange.isGone) body.hold();
  }

  #guarded(events: TransportEvents, act: () => void): void {
    try {
      act();
    } catch (error) {
      events.fault(error);
    }
  }
}

/** Copies the request, which is gone when the callback returns, and watches for the client's leaving. */
function openExchange(response: UwsResponse, request: UwsRequest, events: TransportEvents): Exchange {
  const headers: [string, string][] = [];
  request.forEach((name, value) => {
    headers.push([name, value]);
  });
  const head = requestHead(
    {
      method: request.getMethod(),
      path: request.getUrl(),
      query: request.getQuery() ?? '',
      headers,
      remoteAddress: Buffer.from(response.getRemoteAddressAsText()).toString(),
    },
    events,
  );
  const exchange: Exchange = { response, head, isGone: false };
  response.onAborted(() => {
    exchange.isGone = true;
  });
  return exchange;
}

function writeAnswer(exchange: Exchange, answer: HttpAnswer): void {
  if (exchange.isGone) return;
  exchange.isGone = true;
  const { response, head } = exchange;
  response.cork(() => {
    response.writeStatus(`${answer.status} ${STATUS_CODES[answer.status] ?? ''}`);
    for (const [name, value] of ownHeaders(answer)) response.writeHeader(name, value);
    // Each connection carries one request: the library keeps idle ones for 10 s, and a server could not end before.
    if (head.method === 'HEAD') response.endWithoutBody(Buffer.byteLength(answer.body), true);
    else response.end(answer.body, true);
  });
}
