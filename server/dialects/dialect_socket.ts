/** What every dialect does with its connection: it sends within bounds, opens sessions, and ends once, with all of them. */
import { CLOSE_CODES, LimitError, TranscriptionError } from '../../pipeline/errors.ts';
import type { Session } from '../../pipeline/session.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import type { SessionSettings } from '../../pipeline/session_settings.ts';
import { countError, type Telemetry } from '../../pipeline/telemetry.ts';
import type { ErrorSpeech } from '../access/access.ts';
import type { SessionRegistry } from '../session_registry.ts';
import type { Connection } from '../transport/transport.ts';

/** What a dialect hears of its sessions: one that has failed ends the connection without it. */
export type DialectEvent = Exclude<SessionEvent, { type: 'failed' }>;

export interface DialectSocketOptions {
  readonly registry: SessionRegistry;
  readonly telemetry: Telemetry;
  /** How the dialect says that the connection ends. */
  readonly speech: ErrorSpeech;
  /** Called once when it has ended, whoever ended it: timers go here. */
  readonly onOver: () => void;
}

export class DialectSocket {
  readonly #connection: Connection;
  readonly #options: DialectSocketOptions;
  readonly #sessions = new Set<Session>();
  #isOver = false;
  #isDraining = false;

  constructor(connection: Connection, options: DialectSocketOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Sessions that have not come to their end. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Opens a session that ends with the connection. Throws `OverloadError`. */
  open(settings: SessionSettings, onEvent: (event: DialectEvent) => void): Session {
    const session = this.#options.registry.open(settings, (event) => {
      if (event.type === 'goAway') this.#isDraining = true;
      if (event.type === 'failed') this.end(event.error);
      else onEvent(event);
      if (event.type === 'done') this.#sessions.delete(session);
    });
    this.#sessions.add(session);
    return session;
  }

  /** Ends a session in which nothing was heard, for another one of the same client. */
  discard(session: Session): void {
    this.#sessions.delete(session);
    this.#options.registry.abandon(session, 'completed');
  }

  /** Sends what the client must not miss: one that does not read it ends. */
  send(message: object): void {
    if (this.#deliver(message) !== 'full') return;
    const error = new LimitError('slow_reader', 'the client does not read what it is sent');
    countError(this.#options.telemetry, error);
    const { code, reason } = this.#options.speech.closingOf(error);
    this.close(code, reason);
  }

  /** Sends what the next message replaces: a client that does not read goes without it. */
  offer(message: object): void {
    if (this.#deliver(message) === 'full') this.#options.telemetry.count('partials_dropped_total', {});
  }

  #deliver(message: object): 'full' | undefined {
    if (this.#isOver) return undefined;
    return this.#connection.sendText(JSON.stringify(message)) === 'full' ? 'full' : undefined;
  }

  /** Does something for the client, unless its connection has ended; a `TranscriptionError` ends that. */
  guarded(act: () => void): void {
    if (this.#isOver) return;
    try {
      act();
    } catch (error) {
      if (!(error instanceof TranscriptionError)) throw error;
      this.end(error);
    }
  }

  /** Ends the connection for an error, which is counted and said. */
  end(error: TranscriptionError): void {
    if (this.#isOver) return;
    const { telemetry, speech } = this.#options;
    countError(telemetry, error);
    const text = speech.errorText(error);
    if (text !== undefined) this.#connection.sendText(text);
    const { code, reason } = speech.closingOf(error);
    this.close(code, reason);
  }

  /** Everything has been said: 1000, or 1012 if it ends because the server does. */
  finish(): void {
    if (this.#isDraining) this.close(CLOSE_CODES.draining, 'draining');
    else this.close(1000, '');
  }

  close(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#leave('failed');
    this.#connection.close(code, reason);
  }

  /** The client has gone. */
  gone(): void {
    if (!this.#isOver) this.#leave('abandoned');
  }

  #leave(outcome: 'failed' | 'abandoned'): void {
    this.#isOver = true;
    this.#options.onOver();
    for (const session of this.#sessions) this.#options.registry.abandon(session, outcome);
    this.#sessions.clear();
  }
}
