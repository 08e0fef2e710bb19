/** Requests and answers as both transports see them: parsing and checking, as pure functions. */
import assert from 'node:assert/strict';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import {
  InferenceError,
  LimitError,
  OverloadError,
  ProtocolError,
  type TranscriptionError,
} from '../../pipeline/errors.ts';
import type { HttpAnswer, RequestHead, TransportEvents, UpgradeAnswer } from './transport.ts';

interface RawHead {
  readonly method: string;
  /** The request target without its query. */
  readonly path: string;
  /** What follows the `?`. */
  readonly query: string;
  /** As they came, in order. */
  readonly headers: Iterable<readonly [name: string, value: string]>;
  /** Where the connection is from. */
  readonly remoteAddress: string;
}

/** A request's head from its raw parts. */
export function requestHead(
  raw: RawHead,
  { clientAddress }: Pick<TransportEvents, 'clientAddress'>,
): RequestHead {
  const headers = new Map<string, string>();
  for (const [rawName, value] of raw.headers) {
    const name = rawName.toLowerCase();
    const earlier = headers.get(name);
    headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
  }
  const head = {
    method: raw.method.toUpperCase(),
    path: raw.path,
    query: new URLSearchParams(raw.query),
    headers,
    remoteAddress: plainAddress(raw.remoteAddress),
  };
  return clientAddress === undefined ? head : { ...head, remoteAddress: clientAddress(head) };
}

/** One spelling for every address, so that one peer is counted as one. */
export function plainAddress(address: string): string {
  if (!address.includes(':')) return address;
  const url = `http://[${address.replace(/%.*$/, '')}]/`;
  if (!URL.canParse(url)) return address;
  const shortest = new URL(url).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(shortest);
  if (mapped === null) return shortest;
  const bits = [mapped[1], mapped[2]].map((group) => Number.parseInt(group ?? '', 16));
  return bits.flatMap((pair) => [pair >> 8, pair & 255]).join('.');
}

/** Whether the client wants a WebSocket; any other protocol in `Upgrade` may be ignored (RFC 9110 section 7.8). */
export function isWebSocketUpgrade(head: RequestHead): boolean {
  return head.headers.get('upgrade')?.toLowerCase() === 'websocket';
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;
const KEY = /^[+/0-9a-z]{22}==$/i;

/** The subprotocols on offer, in order. */
export function offeredProtocols(head: RequestHead): readonly string[] {
  const offer = head.headers.get('sec-websocket-protocol');
  return offer === undefined ? [] : offer.split(',').map((protocol) => protocol.trim());
}

/** What is wrong with a WebSocket handshake (RFC 6455 section 4.2.1), as an answer; undefined if nothing is. */
export function handshakeFault(head: RequestHead): HttpAnswer | undefined {
  if (head.method !== 'GET') return badRequest(405, 'a WebSocket is opened with GET', { Allow: 'GET' });
  if (head.headers.get('sec-websocket-version') !== '13') {
    return badRequest(426, 'send Sec-WebSocket-Version: 13', {
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
    });
  }
  if (!KEY.test(head.headers.get('sec-websocket-key') ?? '')) {
    return badRequest(400, 'Sec-WebSocket-Key must be 16 bytes in base64');
  }
  const protocols = offeredProtocols(head);
  if (new Set(protocols).size < protocols.length || !protocols.every((protocol) => TOKEN.test(protocol))) {
    return badRequest(400, 'Sec-WebSocket-Protocol must list different names');
  }
  return undefined;
}

/** The length of the body that is announced, or the answer to a request whose body is not taken. */
export function announcedBodyBytes(head: RequestHead, maxBytes: number): number | HttpAnswer {
  if (head.headers.has('transfer-encoding')) {
    return badRequest(411, 'send the body with a Content-Length');
  }
  const length = head.headers.get('content-length') ?? '0';
  if (!/^\d{1,15}$/.test(length)) return badRequest(400, 'Content-Length must be a number of bytes');
  const bytes = Number(length);
  return bytes <= maxBytes
    ? bytes
    : errorAnswer(413, new LimitError('message_too_large', `a body has at most ${maxBytes} bytes`));
}

/** The HTTP answer that says what an `error` message would; headers are added to it. */
export function errorAnswer(
  status: number,
  { code, message, retryable }: TranscriptionError,
  headers: Readonly<Record<string, string>> = {},
): HttpAnswer & { readonly body: string } {
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: `${JSON.stringify({ error: { code, message, retryable } })}\n`,
  };
}

function badRequest(status: number, message: string, headers?: Readonly<Record<string, string>>): HttpAnswer {
  return errorAnswer(status, new ProtocolError('bad_message', message), headers);
}

/** The answer to a request whose owner threw, or did not answer in time. */
export const FAULT_ANSWER: HttpAnswer = errorAnswer(500, new InferenceError('internal', 'the server failed'));
/** The answer to a request whose body finds no room among those of others. */
export const BODIES_FULL: HttpAnswer = errorAnswer(
  503,
  new OverloadError('overloaded', 'too many requests at once', { retryable: true }),
  { 'Retry-After': '1' },
);

/** The same answer. Throws for headers that cannot be sent: a line break in one would forge another. */
export function checkedHttpAnswer(answer: HttpAnswer): HttpAnswer {
  assert(Number.isInteger(answer.status) && answer.status >= 200 && answer.status <= 599, 'not a status');
  checkHeaders(answer.headers);
  return answer;
}

/** An upgrade's answer, a refusal as an HTTP answer. Throws for what cannot be sent. */
export function checkedUpgradeAnswer(
  answer: UpgradeAnswer,
  protocols: readonly string[],
): Extract<UpgradeAnswer, { accept: true }> | HttpAnswer {
  if (!answer.accept) {
    const headers = { 'Content-Type': 'text/plain; charset=utf-8', ...answer.headers };
    return checkedHttpAnswer({ status: answer.status, headers, body: answer.body });
  }
  checkHeaders(answer.headers ?? {});
  assert(answer.protocol === undefined || protocols.includes(answer.protocol), 'a protocol nobody offered');
  return answer;
}

function checkHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
}

/** The headers of an answer without those that the transport sets itself. */
export function ownHeaders(answer: HttpAnswer): (readonly [name: string, value: string])[] {
  return Object.entries(answer.headers).filter(
    ([name]) => !['content-length', 'connection', 'transfer-encoding'].includes(name.toLowerCase()),
  );
}
