/** The native protocol on one connection: control messages in, session events out as JSON. */
import type { ReadyMessage, ServerMessage, StartMessage } from '../client/protocol.ts';
import type { Cancel, Clock } from '../pipeline/clock.ts';
import { CLOSE_CODES, LimitError, ProtocolError, TranscriptionError } from '../pipeline/errors.ts';
import { messageMaxBytes } from '../pipeline/input_meter.ts';
import {
  AHEAD_OF_REALTIME_MAX_MS,
  CATCH_UP_RATIO,
  CONTROL_MESSAGE_MAX_BYTES,
  HANDSHAKE_MAX_MS,
  IDLE_MAX_MS,
  LATE_MESSAGE_GRACE_MS,
  SESSION_MAX_MS,
} from '../pipeline/limits.ts';
import type { Session } from '../pipeline/session.ts';
import type { SessionEvent } from '../pipeline/session_events.ts';
import { countError, type Telemetry } from '../pipeline/telemetry.ts';
import { errorText, parseClientMessage, settingsOf } from './native_messages.ts';
import type { SessionRegistry } from './session_registry.ts';
import type { Connection, ConnectionListener } from './transport.ts';

export interface NativeDialectOptions {
  readonly registry: SessionRegistry;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly defaults: { readonly silenceMs: number; readonly maxUtteranceMs: number; readonly model: string };
}

export class NativeDialect implements ConnectionListener {
  readonly #connection: Connection;
  readonly #options: NativeDialectOptions;
  #session: Session | undefined;
  #isOver = false;
  #isDraining = false;
  #cancelHandshake: Cancel | undefined;

  /** `start` is what the query asked for, if it asked for anything. */
  constructor(connection: Connection, options: NativeDialectOptions, start: StartMessage | undefined) {
    this.#connection = connection;
    this.#options = options;
    if (start !== undefined) {
      this.#guarded(() => {
        this.#start(start);
      });
      return;
    }
    this.#cancelHandshake = options.clock.after(HANDSHAKE_MAX_MS, () => {
      // If it was we who stood still, `start` is waiting to be read: let it come first.
      this.#cancelHandshake = options.clock.after(LATE_MESSAGE_GRACE_MS, () => {
        this.#end(new LimitError('handshake_timeout', `send \`start\` within ${HANDSHAKE_MAX_MS / 1000} s`));
      });
    });
  }

  text(message: string): void {
    this.#guarded(() => {
      this.#control(message);
    });
  }

  binary(message: Uint8Array): void {
    if (this.#isOver) return;
    if (this.#session !== undefined) this.#session.push(message);
    else this.#end(new ProtocolError('not_started', 'send `start`, or settings in the query, before audio'));
  }

  drained(): void {
    // Nothing waits for it: what did not fit was dropped or ended the session.
  }

  closed(): void {
    this.#isOver = true;
    this.#cancelHandshake?.();
    if (this.#session !== undefined) this.#options.registry.abandon(this.#session, 'abandoned');
  }

  #control(text: string): void {
    if (Buffer.byteLength(text) > CONTROL_MESSAGE_MAX_BYTES) {
      throw new LimitError(
        'message_too_large',
        `a control message has at most ${CONTROL_MESSAGE_MAX_BYTES} bytes`,
      );
    }
    const message = parseClientMessage(text);
    if (message.type === 'start') {
      this.#start(message);
      return;
    }
    const session = this.#session;
    if (session === undefined)
      throw new ProtocolError('not_started', `send \`start\` before \`${message.type}\``);
    switch (message.type) {
      case 'flush':
        session.flush(message.id);
        return;
      case 'stop':
        session.stop();
        return;
      case 'keepAlive':
        session.keepAlive();
    }
  }

  #start(start: StartMessage): void {
    if (this.#session !== undefined) throw new ProtocolError('bad_message', '`start` was already sent');
    const settings = settingsOf(start, this.#options.defaults);
    this.#cancelHandshake?.();
    const session = this.#options.registry.open(settings, (event) => {
      this.#onEvent(event);
    });
    this.#session = session;
    const ready: ReadyMessage = {
      type: 'ready',
      version: 1,
      sessionId: session.id,
      model: this.#options.defaults.model,
      limits: {
        messageMaxBytes: messageMaxBytes(settings.format),
        idleMaxMs: IDLE_MAX_MS,
        sessionMaxMs: SESSION_MAX_MS,
        aheadOfRealtimeMaxMs: AHEAD_OF_REALTIME_MAX_MS,
        catchUpRatio: CATCH_UP_RATIO,
      },
      endpointing: settings.endpointing,
    };
    this.#send(ready);
    this.#options.registry.greet(session);
  }

  #onEvent(event: SessionEvent): void {
    switch (event.type) {
      case 'failed':
        this.#end(event.error);
        return;
      case 'done':
        this.#send(event);
        this.#close(this.#isDraining ? CLOSE_CODES.draining : 1000, this.#isDraining ? 'draining' : '');
        return;
      case 'goAway':
        this.#isDraining = true;
        this.#send({
          type: 'goAway',
          deadlineMs: event.deadlineMs,
          resume: {
            sessionId: this.#session?.id ?? '',
            fromAudioMs: event.ackedAudioMs,
            nextUtteranceId: event.nextUtteranceId,
          },
        });
        return;
      case 'final': {
        const { words, ...final } = event;
        this.#send(words.length === 0 ? final : { ...final, words });
        return;
      }
      case 'partial':
      case 'speechStart':
      case 'speechEnd':
      case 'notice':
      case 'flushed':
        this.#send(event);
    }
  }

  /** Partials may be dropped when the client does not read; anything else it misses ends the session. */
  #send(message: ServerMessage): void {
    if (this.#isOver) return;
    if (this.#connection.sendText(JSON.stringify(message)) !== 'full') return;
    if (message.type === 'partial') {
      this.#options.telemetry.count('partials_dropped_total', {});
      return;
    }
    const error = new LimitError('slow_reader', 'the client does not read what it is sent');
    countError(this.#options.telemetry, error);
    this.#close(CLOSE_CODES.slow_reader, 'slow_reader');
  }

  #guarded(act: () => void): void {
    if (this.#isOver) return;
    try {
      act();
    } catch (error) {
      if (!(error instanceof TranscriptionError)) throw error;
      this.#end(error);
    }
  }

  #end(error: TranscriptionError): void {
    if (this.#isOver) return;
    countError(this.#options.telemetry, error);
    this.#connection.sendText(errorText(error));
    this.#close(CLOSE_CODES[error.code], error.code);
  }

  #close(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelHandshake?.();
    if (this.#session !== undefined) this.#options.registry.abandon(this.#session, 'failed');
    this.#connection.close(code, reason);
  }
}
