/** The part of uWebSockets.js that is used, as types, and how its native binary is found. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Valid from `open` to `close`; any call after that throws. */
export interface UwsSocket<UserData> {
  getUserData(): UserData;
  /** 1: sent, 0: buffered, 2: dropped. */
  send(message: string, isBinary: boolean, compress: boolean): number;
  getBufferedAmount(): number;
  /** Sends a close frame behind what is buffered; calls `close` before it returns. */
  end(code: number, reason: string): void;
  /** Cuts the socket; calls `close` before it returns. */
  close(): void;
  ping(): number;
}

/** Valid until it is answered or aborted. */
export interface UwsResponse {
  writeStatus(status: string): UwsResponse;
  writeHeader(name: string, value: string): UwsResponse;
  end(body: string | Uint8Array, closeConnection: boolean): UwsResponse;
  endWithoutBody(lengthBytes: number, closeConnection: boolean): UwsResponse;
  close(): UwsResponse;
  cork(act: () => void): UwsResponse;
  onAborted(act: () => void): UwsResponse;
  /** `bytes` is detached when `act` returns. */
  onData(act: (bytes: ArrayBuffer, isLast: boolean) => void): UwsResponse;
  /** Stops reading from the socket; what has been read already still comes. */
  pause(): void;
  resume(): void;
  getRemoteAddressAsText(): ArrayBuffer;
  upgrade(userData: object, key: string, protocol: string, extensions: string, context: UwsContext): void;
}

/** Valid only inside the callback it is given to. */
export interface UwsRequest {
  getMethod(): string;
  getUrl(): string;
  /** Undefined, in some versions an empty string, without a query. */
  getQuery(): string | undefined;
  forEach(act: (name: string, value: string) => void): void;
}

/** What an upgrade is bound to. Opaque. */
export interface UwsContext {
  readonly opaqueContext: never;
}
/** Opaque. */
export interface UwsListenSocket {
  readonly opaqueListenSocket: never;
}

/** How WebSockets behave. */
export interface UwsBehavior<UserData> {
  readonly compression: number;
  readonly maxPayloadLength: number;
  readonly maxBackpressure: number;
  readonly closeOnBackpressureLimit: boolean;
  /** 0 or 8–960. */
  readonly idleTimeout: number;
  readonly sendPingsAutomatically: boolean;
  readonly upgrade: (response: UwsResponse, request: UwsRequest, context: UwsContext) => void;
  readonly open: (socket: UwsSocket<UserData>) => void;
  /** `message` is detached when the callback returns. */
  readonly message: (socket: UwsSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void;
  readonly drain: (socket: UwsSocket<UserData>) => void;
  readonly ping: (socket: UwsSocket<UserData>) => void;
  readonly pong: (socket: UwsSocket<UserData>) => void;
  readonly close: (socket: UwsSocket<UserData>, code: number, message: ArrayBuffer) => void;
}

export interface UwsApp {
  ws<UserData>(pattern: string, behavior: UwsBehavior<UserData>): UwsApp;
  any(pattern: string, act: (response: UwsResponse, request: UwsRequest) => void): UwsApp;
  listen(host: string, port: number, options: number, act: (socket: UwsListenSocket | false) => void): UwsApp;
}

/** The native module. */
export interface UwsModule {
  App(): UwsApp;
  SSLApp(options: { readonly key_file_name: string; readonly cert_file_name: string }): UwsApp;
  us_listen_socket_close(socket: UwsListenSocket): void;
  us_socket_local_port(socket: UwsListenSocket): number;
  readonly DISABLED: number;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}

/** The native module, or why there is none. */
export type UwsSearch =
  | { readonly found: true; readonly module: UwsModule; readonly path: string }
  | { readonly found: false; readonly reason: string };

/**
 * Loads the native binary itself, never the package's entry point: the entry of the unofficial build answers with a
 * JavaScript imitation of a different speed and behaviour where its binary does not load.
 */
export function findUws(): UwsSearch {
  const require = createRequire(import.meta.url);
  let folder: string;
  try {
    folder = dirname(require.resolve('uWebSockets.js'));
  } catch {
    return { found: false, reason: 'the optional package uWebSockets.js is not installed' };
  }
  const binary = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  // The official package keeps its binaries beside its entry, the unofficial one in a folder of their own.
  const path = [join(folder, binary), join(folder, '..', 'binaries', binary)].find((place) =>
    existsSync(place),
  );
  if (path === undefined) {
    const machine = `${process.platform}/${process.arch} with Node ${process.version}`;
    return { found: false, reason: `the uWebSockets.js that is installed has no binary for ${machine}` };
  }
  return loadUws(path);
}

/** Loads a native binary of uWebSockets.js. */
export function loadUws(path: string): UwsSearch {
  try {
    const module: unknown = createRequire(import.meta.url)(path);
    if (isUwsModule(module)) return { found: true, module, path };
    return { found: false, reason: 'the uWebSockets.js that is installed is not the native one' };
  } catch (error) {
    const cause = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    return { found: false, reason: `the binary of uWebSockets.js does not load: ${cause}` };
  }
}

function isUwsModule(module: unknown): module is UwsModule {
  if (typeof module !== 'object' || module === null) return false;
  const parts = new Map<string, unknown>(Object.entries(module));
  const isNative = (name: string): boolean => {
    const part = parts.get(name);
    return typeof part === 'function' && Function.prototype.toString.call(part).includes('[native code]');
  };
  return ['App', 'SSLApp', 'us_listen_socket_close', 'us_socket_local_port'].every(isNative);
}
