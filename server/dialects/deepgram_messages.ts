/** What Deepgram's clients are sent, as JSON: every field that one of their SDKs reads without asking is there. */
import type { ErrorCode, TranscriptionError } from '../../pipeline/errors.ts';
import type { TimedWord } from '../../pipeline/session_events.ts';
import { estimateWordTimes } from '../../pipeline/word_times.ts';
import type { Closing } from '../access/access.ts';
import { plainText, plainWord } from './plain_text.ts';

/** What messages say of the request and of the server. */
export interface DeepgramOrigin {
  readonly requestId: string;
  readonly model: string;
}

/** A stretch of audio and what was said in it. */
export interface Segment {
  readonly text: string;
  /** Where the text's own audio is; its words lie in it. */
  readonly startAudioMs: number;
  readonly endAudioMs: number;
}

interface DeepgramWord {
  readonly word: string;
  readonly start: number;
  readonly end: number;
  readonly confidence: number;
  readonly punctuated_word?: string;
}

/** One reading of a stretch of audio. The models say nothing of how sure they are: it is 1 for words and 0 for none. */
export interface Alternative {
  readonly transcript: string;
  readonly confidence: number;
  readonly words: readonly DeepgramWord[];
}

/** The text of a segment, with the words that were timed or with times estimated here. */
export function alternativeOf(
  segment: Segment & { readonly words?: readonly TimedWord[] },
  isFormatted: boolean,
): Alternative {
  const { text } = segment;
  const timed = segment.words ?? estimateWordTimes(text, segment);
  const words = timed.map((word) => deepgramWord(word, isFormatted)).filter(({ word }) => word !== '');
  const transcript = isFormatted ? text : plainText(text);
  return { transcript, confidence: words.length === 0 ? 0 : 1, words };
}

function deepgramWord({ text, startAudioMs, endAudioMs }: TimedWord, isFormatted: boolean): DeepgramWord {
  return {
    word: plainWord(text),
    start: seconds(startAudioMs),
    end: seconds(endAudioMs),
    confidence: 1,
    ...(isFormatted ? { punctuated_word: text } : {}),
  };
}

export interface ResultsOptions {
  readonly alternative: Alternative;
  /** The span that the message answers for. */
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly channel: number;
  readonly channelCount: number;
  readonly isFinal: boolean;
  readonly isSpeechFinal: boolean;
  readonly isFromFinalize: boolean;
}

/** `Results`: a transcript that may change, or one that will not. */
export function resultsMessage(origin: DeepgramOrigin, options: ResultsOptions): object {
  const { startAudioMs, endAudioMs } = options;
  return {
    type: 'Results',
    channel_index: [options.channel, options.channelCount],
    duration: seconds(endAudioMs - startAudioMs),
    start: seconds(startAudioMs),
    is_final: options.isFinal,
    speech_final: options.isSpeechFinal,
    from_finalize: options.isFromFinalize,
    channel: { alternatives: [options.alternative] },
    metadata: {
      request_id: origin.requestId,
      model_info: modelInfo(origin.model),
      model_uuid: MODEL_UUID,
    },
  };
}

/** `Metadata`: the last message of a stream, and the first part of the answer to a file. */
export function metadataOf(
  origin: DeepgramOrigin,
  audio: {
    readonly sha256: string;
    readonly createdAt: Date;
    readonly durationMs: number;
    readonly channelCount: number;
  },
): object {
  return {
    transaction_key: 'deprecated',
    request_id: origin.requestId,
    sha256: audio.sha256,
    created: audio.createdAt.toISOString(),
    duration: seconds(audio.durationMs),
    channels: audio.channelCount,
    models: [MODEL_UUID],
    model_info: { [MODEL_UUID]: modelInfo(origin.model) },
  };
}

/** Models have no UUID here; clients only pass it on. */
const MODEL_UUID = '00000000-0000-0000-0000-000000000000';

function modelInfo(model: string): object {
  return { name: model, version: '1', arch: 'earwitness' };
}

/** Deepgram counts in seconds. */
export function seconds(ms: number): number {
  return Math.round(ms) / 1_000;
}

/** Codes of refusals, as far as clients know them. */
const ERROR_CODES_BY_STATUS: Readonly<Record<number, string>> = {
  400: 'INVALID_QUERY_PARAMETER',
  401: 'INVALID_AUTH',
  403: 'INSUFFICIENT_PERMISSIONS',
  413: 'PAYLOAD_TOO_LARGE',
  429: 'TOO_MANY_REQUESTS',
  500: 'INTERNAL_SERVER_ERROR',
  503: 'SERVICE_UNAVAILABLE',
};

/** The code of a refusal with this HTTP status. */
export function errorCodeOf(status: number): string {
  return ERROR_CODES_BY_STATUS[status] ?? 'BAD_REQUEST';
}

/** The message of an error that ends a stream; the older SDKs and the frameworks show it. */
export function errorMessage({ code, message }: TranscriptionError): object {
  return { type: 'Error', description: message, message, variant: code };
}

const DATA: Closing = { code: 1_008, reason: 'DATA-0000' };

/** Closings that tell clients more than that the server failed. */
const CLOSINGS: Readonly<Partial<Record<ErrorCode, Closing>>> = {
  unsupported_audio: DATA,
  message_too_large: DATA,
  bad_message: DATA,
  too_fast: DATA,
  idle_timeout: { code: 1_011, reason: 'NET-0001' },
  draining: { code: 1_012, reason: 'draining' },
  shed: { code: 1_012, reason: 'shed' },
  unauthorized: { code: 1_008, reason: 'unauthorized' },
};

/** How an error closes a stream. */
export function deepgramClosing({ code }: TranscriptionError): Closing {
  return CLOSINGS[code] ?? { code: 1_011, reason: 'NET-0000' };
}
