/** The native protocol, version 1, as a load test speaks it. */
import { STREAM_PATH, type ServerMessage } from '../../client/protocol.ts';
import type { DialectReader, HeardEvent, LoadDialect, StreamPosition } from './load_dialect.ts';

class NativeReader implements DialectReader {
  #position: StreamPosition;

  constructor(from: StreamPosition) {
    this.#position = from;
  }

  get position(): StreamPosition {
    return this.#position;
  }

  read(text: string): readonly HeardEvent[] {
    const message = JSON.parse(text) as ServerMessage;
    switch (message.type) {
      case 'ready':
        this.#position = { ...this.#position, sessionId: message.sessionId };
        return [{ type: 'ready' }];
      case 'final': {
        const { utteranceId, startAudioMs, endAudioMs, ackedAudioMs } = message;
        this.#position = { ...this.#position, audioMs: ackedAudioMs, nextUtteranceId: utteranceId + 1 };
        return [{ type: 'final', utteranceId, startAudioMs, endAudioMs, text: message.text }];
      }
      case 'partial': {
        const { utteranceId, startAudioMs, endAudioMs } = message;
        return [{ type: 'partial', utteranceId, startAudioMs, endAudioMs }];
      }
      case 'speechStart':
      case 'speechEnd':
        return [{ type: message.type, utteranceId: message.utteranceId }];
      case 'done':
        return [{ type: 'done' }];
      case 'error':
        return [{ type: 'error', code: message.code, isRetryable: message.retryable }];
      case 'notice':
        return [{ type: 'notice', code: message.code }];
      case 'goAway':
      case 'flushed':
      default: // What a newer server says beside.
        return [];
    }
  }
}

export const NATIVE_LOAD_DIALECT: LoadDialect = {
  path: STREAM_PATH,
  authorizationScheme: 'Bearer',
  saysReady: true,
  resumes: true,
  stopMessage: '{"type":"stop"}',
  query: (encoding, { sessionId, audioMs, nextUtteranceId }) => ({
    encoding,
    ...(sessionId === undefined
      ? {}
      : {
          'resume.sessionId': sessionId,
          'resume.fromAudioMs': String(audioMs),
          'resume.nextUtteranceId': String(nextUtteranceId),
        }),
  }),
  createReader: (from) => new NativeReader(from),
};
