/** The clients' port as an interface: WebSockets and a little HTTP, whichever library carries them. */
import type { LabelsOf } from '../../pipeline/telemetry.ts';

/** What a request says before its body, copied: valid for as long as it is held. */
export interface RequestHead {
  /** In upper case. */
  readonly method: string;
  /** Without the query, percent-decoding not applied. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case; values of a name that came more than once are joined with `, `. */
  readonly headers: ReadonlyMap<string, string>;
  /** The client's; where trusted proxies stand before the server, as they say. An IPv4 address in dotted form, even if it came in over IPv6, or an IPv6 address in its shortest form. */
  readonly remoteAddress: string;
}

/** A request to open a WebSocket. */
export interface UpgradeRequest extends RequestHead {
  /** What `Sec-WebSocket-Protocol` offers, in order. */
  readonly protocols: readonly string[];
}

/**
 * What becomes of an upgrade: a WebSocket with a listener, or an HTTP answer. A client may be gone before it is
 * accepted; then `listener` is never called, so nothing may be reserved before it is.
 */
export type UpgradeAnswer =
  | {
      readonly accept: true;
      /** The subprotocol chosen; one of those offered. */
      readonly protocol?: string;
      /** Added to the 101 answer. */
      readonly headers?: Readonly<Record<string, string>>;
      readonly listener: (connection: Connection) => ConnectionListener;
    }
  | {
      readonly accept: false;
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: string;
    };

/**
 * One WebSocket. Every call is safe at any time: after the end it does nothing. There is no way to stop reading:
 * uWebSockets.js has none, so a client that sends too fast is closed by whoever meters it.
 */
export interface Connection {
  readonly remoteAddress: string;
  /**
   * Sends a text frame. `buffered`: taken, but it waits here, as a rule because the client reads slowly. `full`: SEND_BUFFER_MAX_BYTES already wait;
   * nothing was taken. `closed`: there is nobody to send to.
   */
  sendText(text: string): 'sent' | 'buffered' | 'full' | 'closed';
  readonly bufferedBytes: number;
  /**
   * Sends what is buffered, then a close frame; the listener hears nothing more but `closed`. A peer that does not
   * read or answer is cut off after CLOSE_MAX_MS (uWebSockets.js: one that reads but does not answer, after 8 to 12 s). `code` is 1000–1003, 1007–1014 or 3000–4999; `reason` is cut to
   * the 123 bytes that fit.
   */
  close(code: number, reason: string): void;
  /** Cuts the connection at once. */
  terminate(): void;
}

/** Who hears a connection. `closed` comes exactly once and last. */
export interface ConnectionListener {
  text(message: string): void;
  /** The receiver owns `message`. */
  binary(message: Uint8Array): void;
  /** All that was buffered has been sent, after a `buffered` or a `full`. */
  drained(): void;
  /**
   * `code` as in RFC 6455 section 7.4: ours if we closed first, else the peer's, 1005 if its close frame had none, 1006
   * if there was no close frame. Never called from inside a call on the connection.
   */
  closed(code: number): void;
}

/** Any other request, before its body is read. */
export interface HttpRequest extends RequestHead {
  /** Aborted once nobody waits for an answer any more: it was given, came too late, or the client has left. */
  readonly ended: AbortSignal;
}

/** Answers a request whose body it was given: at most HTTP_BODY_MAX_BYTES, empty if there was none, the receiver's own. */
export type BodyReceiver = (body: Uint8Array) => HttpAnswer | Promise<HttpAnswer>;

/** What becomes of a request by its head: an answer, and its body is not read, or whoever answers once that has come. */
export type HttpVerdict = HttpAnswer | BodyReceiver;

/** An answer. The transport adds `Content-Length` and `Connection: close`, and leaves out the body of a HEAD. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/**
 * What the transport asks its owner. A throw or a rejection, here or in a listener, costs that connection only (500
 * or close code 1011) and goes to `fault`, which must not throw. A promise that takes longer than HTTP_EXCHANGE_MAX_MS is
 * not waited for.
 */
export interface TransportEvents {
  /** Who a request is from, if not from where its connection is; asked before anything else. Must not throw. */
  readonly clientAddress?: (head: RequestHead) => string;
  upgrade(request: UpgradeRequest): UpgradeAnswer | Promise<UpgradeAnswer>;
  http(request: HttpRequest): HttpVerdict | Promise<HttpVerdict>;
  readonly fault: (error: unknown) => void;
  /** A client broke one of the transport's own bounds, and has been or will be cut off or refused for it. Must not throw. */
  readonly limitReached: (limit: TransportLimit) => void;
}

/** A bound that the transport holds by itself. uWebSockets.js cuts slow headers without saying so: no `headers_time` there. */
export type TransportLimit = LabelsOf<'transport_limits_total'>['limit'];

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly events: TransportEvents;
  readonly tls?: TlsIdentity | undefined;
}

/** PEM files. */
export interface TlsFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/** What was in them, tried. */
export interface TlsIdentity extends TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A server for WebSockets. It listens once. */
export interface Transport {
  readonly name: 'uws' | 'ws';
  /** Bytes that wait for peers to read, all connections together. */
  readonly bufferedBytes: number;
  /** Throws `ConfigError` if the port cannot be had, or the library does not accept the certificate. */
  listen(options: ListenOptions): Promise<{ readonly port: number }>;
  /**
   * Takes another certificate and key for connections from now on; those that are open stay. Throws `ConfigError` if
   * the library cannot do it, and goes on with the old ones. Only after `listen` with `tls`.
   */
  renewTls(tls: TlsIdentity): Promise<void>;
  /** No new connections; those that are open stay. */
  stopListening(): void;
  /** Ends all connections with 1001, what is left after CLOSE_MAX_MS without. Idempotent. */
  close(): Promise<void>;
}
