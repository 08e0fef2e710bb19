/** Deepgram's live protocol (`/v1/listen`), as a load test speaks it. */
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import type { DialectReader, HeardEvent, LoadDialect, StreamPosition } from './load_dialect.ts';

/** Silence that ends an utterance: what the native protocol has unless it is asked otherwise. */
const ENDPOINTING_MS = 500;

/** The fields that are read, as the vendor documents them. Times are seconds of the connection's audio. */
type DeepgramMessage =
  | {
      readonly type: 'Results';
      readonly start: number;
      readonly duration: number;
      readonly is_final: boolean;
      readonly channel: { readonly alternatives: readonly { readonly transcript: string }[] };
    }
  | { readonly type: 'SpeechStarted' | 'UtteranceEnd' | 'Metadata' }
  | { readonly type: 'Error'; readonly variant?: string };

/** Utterances have no ids on the wire: each final that says something ends one, and has the next number. */
class DeepgramReader implements DialectReader {
  #position: StreamPosition;
  readonly #originAudioMs: number;
  #hasStarted = false;

  constructor(from: StreamPosition) {
    this.#position = from;
    this.#originAudioMs = from.audioMs;
  }

  get position(): StreamPosition {
    return this.#position;
  }

  read(text: string): readonly HeardEvent[] {
    const message = JSON.parse(text) as DeepgramMessage;
    const utteranceId = this.#position.nextUtteranceId;
    switch (message.type) {
      case 'Results':
        return this.#readResults(message);
      case 'SpeechStarted':
        // Told again where an utterance has several finals; it is one start until something was said.
        if (this.#hasStarted) return [];
        this.#hasStarted = true;
        return [{ type: 'speechStart', utteranceId }];
      case 'Metadata':
        return [{ type: 'done' }];
      case 'Error':
        return [{ type: 'error', code: message.variant ?? 'error', isRetryable: true }];
      case 'UtteranceEnd':
      default: // What another server says beside.
        return [];
    }
  }

  #readResults(results: Extract<DeepgramMessage, { type: 'Results' }>): readonly HeardEvent[] {
    const text = results.channel.alternatives[0]?.transcript ?? '';
    const utteranceId = this.#position.nextUtteranceId;
    const startAudioMs = this.#originAudioMs + results.start * 1_000;
    const endAudioMs = startAudioMs + results.duration * 1_000;
    if (!results.is_final) return [{ type: 'partial', utteranceId, startAudioMs, endAudioMs }];
    // Without words it is no utterance, unless one was said to have begun: answers to Finalize and CloseStream are empty.
    if (text === '' && !this.#hasStarted) return [];
    this.#hasStarted = false;
    this.#position = { audioMs: endAudioMs, nextUtteranceId: utteranceId + 1 };
    return [{ type: 'final', utteranceId, startAudioMs, endAudioMs, text }];
  }
}

export const DEEPGRAM_LOAD_DIALECT: LoadDialect = {
  path: '/v1/listen',
  authorizationScheme: 'Token',
  saysReady: false,
  resumes: false,
  stopMessage: '{"type":"CloseStream"}',
  query: (encoding) => ({
    encoding: encoding === 'opus' ? 'opus' : 'linear16',
    sample_rate: String(SAMPLE_RATE_HZ),
    channels: '1',
    interim_results: 'true',
    vad_events: 'true',
    endpointing: String(ENDPOINTING_MS),
  }),
  createReader: (from) => new DeepgramReader(from),
};
