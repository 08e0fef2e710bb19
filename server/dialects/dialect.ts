/**
 * What a wire dialect is to the clients' port: which requests are its own, how it refuses one, and what it makes of one
 * that is let in. A dialect is an adapter on the events of sessions and has no audio path of its own.
 */
import type { Clock } from '../../pipeline/clock.ts';
import { CLOSE_CODES, type ErrorCode, type TranscriptionError } from '../../pipeline/errors.ts';
import type { DialectName } from '../../pipeline/session_settings.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import type { Access, AccessDialect, Caller, Closing } from '../access/access.ts';
import type { SessionRegistry } from '../session_registry.ts';
import type {
  Connection,
  ConnectionListener,
  HttpAnswer,
  HttpRequest,
  UpgradeRequest,
} from '../transport/transport.ts';

/** What dialects are made of. */
export interface DialectParts {
  readonly registry: SessionRegistry;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** The time of day, for clients that are told it. */
  readonly now: () => Date;
  readonly tokens: Pick<Access, 'issueToken'>;
  readonly defaults: {
    readonly silenceMs: number;
    readonly maxUtteranceMs: number;
    readonly model: string;
    /** Rate of vosk clients that do not name theirs. */
    readonly voskSampleRateHz: number;
  };
}

/** Why a request is not let in, or could not be answered. */
export interface RequestRefusal {
  /** HTTP status, 400 or above. */
  readonly status: number;
  readonly error: TranscriptionError;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request for a WebSocket that makes sense, before it is known who asks. Nothing is reserved for it yet. */
export interface Opening {
  readonly access: AccessDialect;
  /** The subprotocol to choose where no credentials came with one. */
  readonly protocol?: string | undefined;
  /** Added to the 101 answer. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly listener: (connection: Connection) => ConnectionListener;
  /** The client has yet to say what it wants: there may be so many of those and no more. */
  readonly awaitsStart?: boolean;
}

/** An HTTP answer in text. */
export type TextAnswer = HttpAnswer & { readonly body: string };

/** A request over HTTP with its body, of somebody who was let in. */
export interface PostedRequest extends HttpRequest {
  readonly body: Uint8Array;
  readonly caller: Caller;
}

/** Answers a request over HTTP. Throws `TranscriptionError`, and the reason of `ended` once nobody waits for it. */
export type Responder = (request: PostedRequest) => Promise<HttpAnswer>;

export interface Dialect {
  readonly name: DialectName;
  /** Where it is spoken over WebSockets; `*` for every path. */
  readonly path: string;
  /** Reads a request for a WebSocket at its path. Throws `TranscriptionError` for one that makes no sense. */
  readonly open: (request: UpgradeRequest) => Opening;
  /** Says a refusal as its clients understand it. */
  readonly refuse: (refusal: RequestRefusal) => TextAnswer;
  /** What it answers to POST, by path. */
  readonly posts?: ReadonlyMap<string, Responder>;
}

/** HTTP status of failures that came while a request was answered; of all others it is 400. */
const STATUSES: Readonly<Partial<Record<ErrorCode, number>>> = {
  unauthorized: 401,
  forbidden: 403,
  rate_limited: 429,
  message_too_large: 413,
  overloaded: 503,
  shed: 503,
  draining: 503,
  unavailable: 503,
  worker_died: 500,
  deadline_exceeded: 500,
  poison: 500,
  internal: 500,
};

/** HTTP status of a failure that came while a request was answered. */
export function statusOf({ code }: TranscriptionError): number {
  return STATUSES[code] ?? 400;
}

/** How an error closes a connection of clients that know the codes of RFC 6455 section 7.4 only. */
export function plainClosing({ code, retryable }: TranscriptionError): Closing {
  const own = CLOSE_CODES[code];
  return { code: own < 4_000 ? own : retryable ? 1_013 : 1_008, reason: code };
}
