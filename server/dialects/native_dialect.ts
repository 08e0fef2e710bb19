/** The native protocol on one connection: control messages in, session events out as JSON. */
import {
  STREAM_PATH,
  type ReadyMessage,
  type ServerMessage,
  type StartMessage,
} from '../../client/protocol.ts';
import { CLOSE_CODES, LimitError, ProtocolError } from '../../pipeline/errors.ts';
import { messageMaxBytes } from '../../pipeline/input_meter.ts';
import {
  AHEAD_OF_REALTIME_MAX_MS,
  CATCH_UP_RATIO,
  HANDSHAKE_MAX_MS,
  IDLE_MAX_MS,
  LATE_MESSAGE_GRACE_MS,
  SESSION_MAX_MS,
} from '../../pipeline/limits.ts';
import type { Session } from '../../pipeline/session.ts';
import type { ErrorSpeech } from '../access/access.ts';
import type { Dialect, DialectParts } from './dialect.ts';
import { DialectSocket, type DialectEvent } from './dialect_socket.ts';
import {
  errorText,
  parseClientMessage,
  settingsOf,
  startFromQuery,
  tokenOfStart,
} from './native_messages.ts';
import { errorAnswer } from '../transport/request_head.ts';
import type { Connection, ConnectionListener } from '../transport/transport.ts';

export interface NativeDialectOptions extends Pick<DialectParts, 'registry' | 'clock' | 'telemetry'> {
  readonly defaults: { readonly silenceMs: number; readonly maxUtteranceMs: number; readonly model: string };
}

/** How clients of the native protocol are told of an error. */
export const NATIVE_SPEECH: ErrorSpeech = {
  errorText,
  closingOf: ({ code }) => ({ code: CLOSE_CODES[code], reason: code }),
};

export class NativeDialect implements ConnectionListener {
  readonly #socket: DialectSocket;
  readonly #options: NativeDialectOptions;
  #session: Session | undefined;
  /** Of the wait for `start`. */
  #endWait: (() => void) | undefined;

  /** `start` is what the query asked for, if it asked for anything. */
  constructor(connection: Connection, options: NativeDialectOptions, start: StartMessage | undefined) {
    this.#socket = new DialectSocket(connection, {
      ...options,
      speech: NATIVE_SPEECH,
      onOver: () => {
        this.#endWait?.();
      },
    });
    this.#options = options;
    if (start !== undefined) {
      this.#socket.guarded(() => {
        this.#start(start);
      });
      return;
    }
    const leave = options.registry.awaitStart();
    let cancelTimer = options.clock.after(HANDSHAKE_MAX_MS, () => {
      // If it was we who stood still, `start` is waiting to be read: let it come first.
      cancelTimer = options.clock.after(LATE_MESSAGE_GRACE_MS, () => {
        this.#socket.end(
          new LimitError('handshake_timeout', `send \`start\` within ${HANDSHAKE_MAX_MS / 1000} s`),
        );
      });
    });
    this.#endWait = () => {
      cancelTimer();
      leave();
    };
  }

  text(message: string): void {
    this.#socket.guarded(() => {
      this.#control(message);
    });
  }

  binary(message: Uint8Array): void {
    if (this.#session !== undefined) this.#session.push(message);
    else
      this.#socket.end(
        new ProtocolError('not_started', 'send `start`, or settings in the query, before audio'),
      );
  }

  drained(): void {
    // Nothing waits for it: what did not fit was dropped or ended the session.
  }

  closed(): void {
    this.#socket.gone();
  }

  #control(text: string): void {
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
    this.#endWait?.();
    const session = this.#socket.open(settings, (event) => {
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

  #onEvent(event: DialectEvent): void {
    switch (event.type) {
      case 'done':
        this.#send({ type: 'done' });
        this.#socket.finish();
        return;
      case 'goAway':
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
        this.#socket.offer(event satisfies ServerMessage);
        return;
      case 'speechEnd': {
        const { type, utteranceId, audioMs } = event;
        this.#send({ type, utteranceId, audioMs });
        return;
      }
      case 'cut':
        return;
      case 'flushed':
        this.#send({ type: 'flushed', id: event.id });
        return;
      case 'speechStart':
      case 'notice':
        this.#send(event);
    }
  }

  #send(message: ServerMessage): void {
    this.#socket.send(message);
  }
}

/** The native protocol at its path. */
export function nativeDialect(parts: DialectParts): Dialect {
  return {
    name: 'native',
    path: STREAM_PATH,
    open: ({ query }) => {
      const start = startFromQuery(query);
      return {
        // With settings in the query there is no `start` to bring a token.
        access: start === undefined ? { ...NATIVE_SPEECH, tokenOf: tokenOfStart } : NATIVE_SPEECH,
        awaitsStart: start === undefined,
        listener: (connection) => new NativeDialect(connection, parts, start),
      };
    },
    refuse: ({ status, error, headers }) => errorAnswer(status, error, headers),
  };
}
