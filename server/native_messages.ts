/** Reads what clients of the native protocol say: JSON control messages, or the same settings as query parameters. */
import { z } from 'zod';
import type { ClientMessage, ServerMessage, StartMessage } from '../client/protocol.ts';
import { PROTOCOL_VERSION } from '../client/protocol.ts';
import { AUDIO_ENCODINGS } from '../pipeline/audio.ts';
import { ProtocolError, type TranscriptionError } from '../pipeline/errors.ts';
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
} from '../pipeline/limits.ts';
import type { SessionSettings } from '../pipeline/session_settings.ts';
import { checkLanguage } from './spoken_language.ts';

const START = z.object({
  type: z.literal('start'),
  version: z.literal(PROTOCOL_VERSION),
  audio: z
    .object({
      encoding: z.enum(AUDIO_ENCODINGS).optional(),
      sampleRateHz: z.int().min(PCM_RATE_MIN_HZ).max(PCM_RATE_MAX_HZ).optional(),
      channels: z.int().min(1).max(2).optional(),
    })
    .optional(),
  token: z.string().min(1).max(CREDENTIAL_MAX_BYTES).optional(),
  model: z.string().max(100).optional(),
  language: z.string().max(35).optional(),
  partials: z.boolean().optional(),
  endpointing: z
    .object({
      silenceMs: z.int().min(SILENCE_MIN_MS).max(SILENCE_MAX_MS).optional(),
      maxUtteranceMs: z.int().min(UTTERANCE_MIN_MS).max(UTTERANCE_MAX_MS).optional(),
    })
    .optional(),
  words: z.boolean().optional(),
  resume: z
    .object({
      sessionId: z.string().max(64),
      fromAudioMs: z
        .number()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER / 1_000),
      nextUtteranceId: z.int().min(1).max(UTTERANCE_ID_MAX),
    })
    .optional(),
});
const MESSAGE = z.discriminatedUnion('type', [
  START,
  z.object({ type: z.literal('flush'), id: z.string().min(1).max(FLUSH_ID_MAX_LENGTH) }),
  z.object({ type: z.literal('stop') }),
  z.object({ type: z.literal('keepAlive') }),
]);

/** Parses a text frame. Throws `ProtocolError` (`bad_message`) that names every field that is wrong. */
export function parseClientMessage(text: string): ClientMessage {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError('bad_message', 'a text frame must be one JSON object', { cause });
  }
  return checked(MESSAGE.safeParse(json)) as ClientMessage;
}

/**
 * The `start` message that a URL's query stands for, or undefined if it names no setting. Names are those of the
 * message, dotted: `?audio.encoding=opus&endpointing.silenceMs=300`; `encoding`, `sampleRateHz`, `channels`,
 * `silenceMs` and `maxUtteranceMs` work alone too. Unknown names are ignored. Throws `ProtocolError` (`bad_message`)
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
  if (repeated.length > 0) throw new ProtocolError('bad_message', repeated.join('; '));
  return named.length === 0 ? undefined : (checked(START.safeParse(message)) as StartMessage);
}

/** The token in a connection's first message. Throws `ProtocolError` if that is no valid message. */
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
    finalObjectiveMs: FINAL_OBJECTIVE_MS,
    isPaced: false,
  };
}

function checked(result: z.ZodSafeParseResult<unknown>): unknown {
  if (result.success) return result.data;
  const faults = result.error.issues.map(
    (issue) => `${issue.path.length === 0 ? 'message' : issue.path.join('.')}: ${issue.message}`,
  );
  throw new ProtocolError('bad_message', faults.join('; '));
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
