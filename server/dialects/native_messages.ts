/** Reads what clients of the native protocol say: JSON control messages, or the same settings as query parameters. */
import { z } from 'zod';
import type { ClientMessage, ServerMessage, StartMessage } from '../../client/protocol.ts';
import { PROTOCOL_VERSION } from '../../client/protocol.ts';
import { AUDIO_ENCODINGS } from '../../pipeline/audio.ts';
import { ProtocolError, type TranscriptionError } from '../../pipeline/errors.ts';
import {
  CREDENTIAL_MAX_BYTES,
  FINAL_OBJECTIVE_MS,
  FLUSH_ID_MAX_LENGTH,
  IDLE_MAX_MS,
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  SILENCE_MAX_MS,
  SILENCE_MIN_MS,
  UTTERANCE_ID_MAX,
  UTTERANCE_MAX_MS,
  UTTERANCE_MIN_MS,
} from '../../pipeline/limits.ts';
import type { SessionSettings } from '../../pipeline/session_settings.ts';
import {
  describeFaults,
  exactly,
  numberBetween,
  objectOf,
  oneOf,
  textOf,
  truth,
  wholeNumber,
} from '../field_rules.ts';
import { readControlText } from './control_text.ts';
import { checkLanguage } from './spoken_language.ts';

const START = objectOf({
  type: z.literal('start'),
  version: exactly(PROTOCOL_VERSION),
  audio: objectOf({
    encoding: oneOf(AUDIO_ENCODINGS).optional(),
    sampleRateHz: wholeNumber(PCM_RATE_MIN_HZ, PCM_RATE_MAX_HZ).optional(),
    channels: wholeNumber(1, 2).optional(),
  }).optional(),
  token: textOf(1, CREDENTIAL_MAX_BYTES).optional(),
  model: textOf(0, 100).optional(),
  language: textOf(0, 35).optional(),
  partials: truth().optional(),
  endpointing: objectOf({
    silenceMs: wholeNumber(SILENCE_MIN_MS, SILENCE_MAX_MS).optional(),
    maxUtteranceMs: wholeNumber(UTTERANCE_MIN_MS, UTTERANCE_MAX_MS).optional(),
  }).optional(),
  words: truth().optional(),
  resume: objectOf({
    sessionId: textOf(0, 64),
    fromAudioMs: numberBetween(0, Number.MAX_SAFE_INTEGER / 1_000),
    nextUtteranceId: wholeNumber(1, UTTERANCE_ID_MAX),
  }).optional(),
});
const MESSAGE = z.discriminatedUnion(
  'type',
  [
    START,
    objectOf({ type: z.literal('flush'), id: textOf(1, FLUSH_ID_MAX_LENGTH) }),
    objectOf({ type: z.literal('stop') }),
    objectOf({ type: z.literal('keepAlive') }),
  ],
  {
    error: ({ input }) =>
      isObject(input) ? 'expected one of start, flush, stop, keepAlive' : 'expected an object',
  },
);

/**
 * Parses a text frame. Throws `LimitError` (`message_too_large`), and `ProtocolError` that names every field that is
 * wrong: `bad_settings` in a `start`, else `bad_message`.
 */
export function parseClientMessage(text: string): ClientMessage {
  const json = readControlText(text);
  const isStart = isObject(json) && 'type' in json && json.type === 'start';
  return checked(MESSAGE.safeParse(json), isStart ? 'bad_settings' : 'bad_message') as ClientMessage;
}

/**
 * The `start` message that a URL's query stands for, or undefined if it names no setting. Names are those of the
 * message, dotted: `?audio.encoding=opus&endpointing.silenceMs=300`; `encoding`, `sampleRateHz`, `channels`,
 * `silenceMs` and `maxUtteranceMs` work alone too. Unknown names are ignored. Throws `ProtocolError` (`bad_settings`)
 * that names every setting that is wrong or there twice.
 */
export function startFromQuery(query: URLSearchParams): StartMessage | undefined {
  const named: string[] = [];
  const repeated: string[] = [];
  const pick = (...names: readonly [string, ...string[]]): string | undefined => {
    const [value, ...others] = names.flatMap((name) => query.getAll(name));
    if (value !== undefined) named.push(names[0]);
    if (others.length > 0) repeated.push(`${names.join(' or ')}: expected once`);
    return value;
  };
  const resume = {
    sessionId: pick('resume.sessionId'),
    fromAudioMs: toNumber(pick('resume.fromAudioMs')),
    nextUtteranceId: toNumber(pick('resume.nextUtteranceId')),
  };
  const isResume = named.length > 0;
  const message = {
    type: 'start',
    version: toNumber(pick('version')) ?? PROTOCOL_VERSION,
    audio: {
      encoding: pick('audio.encoding', 'encoding'),
      sampleRateHz: toNumber(pick('audio.sampleRateHz', 'sampleRateHz')),
      channels: toNumber(pick('audio.channels', 'channels')),
    },
    model: pick('model'),
    language: pick('language'),
    partials: toBoolean(pick('partials')),
    endpointing: {
      silenceMs: toNumber(pick('endpointing.silenceMs', 'silenceMs')),
      maxUtteranceMs: toNumber(pick('endpointing.maxUtteranceMs', 'maxUtteranceMs')),
    },
    words: toBoolean(pick('words')),
    ...(isResume ? { resume } : {}),
  };
  if (repeated.length > 0) throw new ProtocolError('bad_settings', repeated.join('; '));
  return named.length === 0 ? undefined : (checked(START.safeParse(message), 'bad_settings') as StartMessage);
}

/** The token in a connection's first message. Throws as `parseClientMessage` does. */
export function tokenOfStart(firstMessage: string): string | undefined {
  const message = parseClientMessage(firstMessage);
  return message.type === 'start' ? message.token : undefined;
}

/** The `error` message of a failure. */
export function errorText({ code, message, retryable }: TranscriptionError): string {
  return JSON.stringify({ type: 'error', code, message, retryable } satisfies ServerMessage);
}

/** Fills the defaults into a `start`. Throws `ProtocolError` (`bad_settings`) for a model or a language this server does not run. */
export function settingsOf(
  start: StartMessage,
  defaults: { readonly silenceMs: number; readonly maxUtteranceMs: number; readonly model: string },
): SessionSettings {
  if (start.model !== undefined && start.model !== defaults.model) {
    throw new ProtocolError(
      'bad_settings',
      `model: this server runs '${defaults.model}', not '${start.model}'`,
    );
  }
  if (start.language !== undefined) checkLanguage(start.language, defaults.model);
  const silenceMs = start.endpointing?.silenceMs ?? defaults.silenceMs;
  const maxUtteranceMs = start.endpointing?.maxUtteranceMs ?? defaults.maxUtteranceMs;
  return {
    format: {
      encoding: start.audio?.encoding ?? 'auto',
      sampleRateHz: start.audio?.sampleRateHz ?? 16_000,
      channels: start.audio?.channels ?? 1,
    },
    endpointing: { silenceMs, maxUtteranceMs },
    partials: start.partials ?? true,
    words: start.words ?? false,
    originAudioMs: start.resume?.fromAudioMs ?? 0,
    firstUtteranceId: start.resume?.nextUtteranceId ?? 1,
    idleMaxMs: IDLE_MAX_MS,
    dialect: 'native',
    finalObjectiveMs: FINAL_OBJECTIVE_MS,
    isPaced: false,
  };
}

function checked(result: z.ZodSafeParseResult<unknown>, code: 'bad_message' | 'bad_settings'): unknown {
  if (result.success) return result.data;
  throw new ProtocolError(code, describeFaults(result.error));
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Text that is no number stays text, so that validation names the field and what it wants. */
function toNumber(text: string | undefined): number | string | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  return text.trim() === '' || Number.isNaN(number) ? text : number;
}

function toBoolean(text: string | undefined): boolean | string | undefined {
  if (text === 'true') return true;
  if (text === 'false') return false;
  return text;
}
