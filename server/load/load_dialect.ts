/** What a load test has to know of a protocol: how a session is opened and ended, and what its messages mean. */
import type { LoadEncoding } from './load_plan.ts';

/** What a message means to whoever measures. Utterance ids go up by one; positions are ms of the session's audio. */
export type HeardEvent =
  | { readonly type: 'ready' }
  | { readonly type: 'speechStart'; readonly utteranceId: number }
  /** The end of an utterance was decided. */
  | { readonly type: 'speechEnd'; readonly utteranceId: number }
  | {
      readonly type: 'partial';
      readonly utteranceId: number;
      readonly startAudioMs: number;
      readonly endAudioMs: number;
    }
  | {
      readonly type: 'final';
      readonly utteranceId: number;
      readonly startAudioMs: number;
      readonly endAudioMs: number;
      readonly text: string;
    }
  /** The server says how it fares; the session goes on. */
  | { readonly type: 'notice'; readonly code: string }
  /** Everything was sent. */
  | { readonly type: 'done' }
  | { readonly type: 'error'; readonly code: string; readonly isRetryable: boolean };

/** Where in a session's audio a connection begins. */
export interface StreamPosition {
  /** The server's name for the session, once it has told one. */
  readonly sessionId?: string;
  readonly audioMs: number;
  readonly nextUtteranceId: number;
}

/** Reads what one connection says. */
export interface DialectReader {
  /** Where a next connection would have to go on. */
  readonly position: StreamPosition;
  read(text: string): readonly HeardEvent[];
}

export interface LoadDialect {
  readonly path: string;
  /** How a credential is introduced in the `Authorization` header. */
  readonly authorizationScheme: 'Bearer' | 'Token';
  /** Whether the server says when audio may come; else it may from the open socket on. */
  readonly saysReady: boolean;
  /** Whether a lost connection goes on where it was; else what was not answered is lost, and a new one begins afresh. */
  readonly resumes: boolean;
  /** Asks for what is owed, and for the end. */
  readonly stopMessage: string;
  /** The query of a connection's URL. */
  query(encoding: LoadEncoding, from: StreamPosition): Readonly<Record<string, string>>;
  createReader(from: StreamPosition): DialectReader;
}
