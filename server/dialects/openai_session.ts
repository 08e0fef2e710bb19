/**
 * The settings of an OpenAI realtime transcription session: what clients may change, in today's form and that of the
 * beta, and what it means for ours.
 */
import { z } from 'zod';
import type { AudioFormat } from '../../pipeline/audio.ts';
import type { Endpointing } from '../../pipeline/contracts.ts';
import { ProtocolError } from '../../pipeline/errors.ts';
import {
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  SESSION_MAX_MS,
  SILENCE_MAX_MS,
  SILENCE_MIN_MS,
} from '../../pipeline/limits.ts';
import type { DialectParts } from './dialect.ts';
import { describeFaults, numberBetween, objectOf, oneOf, textOf, wholeNumber } from '../field_rules.ts';
import { checkLanguage } from './spoken_language.ts';

const PCM_RATE_HZ = 24_000;
/** Silence that ends a turn where the client leaves it to a model that listens to the meaning, by its eagerness. */
const EAGERNESS_SILENCE_MS = { low: 1_500, medium: 800, auto: 800, high: 500 } as const;

const G711_RATE_HZ = 8_000;

const FORMAT_NAMES = ['audio/pcm', 'audio/pcmu', 'audio/pcma'] as const;
const DETECTION_NAMES = ['server_vad', 'semantic_vad'] as const;

/** Of a union that its `type` tells apart. */
function typeRule(names: readonly string[]): { readonly error: string } {
  return { error: `expected an object whose type is one of ${names.join(', ')}` };
}

const format = z.discriminatedUnion(
  'type',
  [
    objectOf({
      type: z.literal('audio/pcm'),
      rate: wholeNumber(PCM_RATE_MIN_HZ, PCM_RATE_MAX_HZ).default(PCM_RATE_HZ),
    }),
    objectOf({ type: z.literal('audio/pcmu') }),
    objectOf({ type: z.literal('audio/pcma') }),
  ],
  typeRule(FORMAT_NAMES),
);
const betaFormat = oneOf(['pcm16', 'g711_ulaw', 'g711_alaw']);
const transcription = objectOf({
  model: textOf(0, 100).optional(),
  language: textOf(0, 35).optional(),
}).loose();
const turnDetection = z.discriminatedUnion(
  'type',
  [
    objectOf({
      type: z.literal('server_vad'),
      threshold: numberBetween(0, 1).default(0.5),
      prefix_padding_ms: numberBetween(0, SESSION_MAX_MS).default(300),
      silence_duration_ms: numberBetween(0, SESSION_MAX_MS).default(500),
    }).loose(),
    objectOf({
      type: z.literal('semantic_vad'),
      eagerness: oneOf(['low', 'medium', 'high', 'auto']).default('auto'),
    }).loose(),
  ],
  typeRule(DETECTION_NAMES),
);
const noiseReduction = objectOf({}).loose();
const include = z.array(textOf(0, 100), { error: 'expected a list of names' });

/** What a client may change; a field that is not there stays as it is. */
const UPDATE = objectOf({
  audio: objectOf({
    input: objectOf({
      format: format.optional(),
      transcription: transcription.nullable().optional(),
      turn_detection: turnDetection.nullable().optional(),
      noise_reduction: noiseReduction.nullable().optional(),
    }).optional(),
  }).optional(),
  include: include.nullable().optional(),
});
/** The same in the words of the beta. */
const BETA_UPDATE = objectOf({
  input_audio_format: betaFormat.optional(),
  input_audio_transcription: transcription.nullable().optional(),
  turn_detection: turnDetection.nullable().optional(),
  input_audio_noise_reduction: noiseReduction.nullable().optional(),
});

/** The settings in force. */
export interface RealtimeSettings {
  readonly format: z.infer<typeof format>;
  readonly transcription: z.infer<typeof transcription> | null;
  readonly turnDetection: z.infer<typeof turnDetection> | null;
  readonly noiseReduction: z.infer<typeof noiseReduction> | null;
  readonly include: readonly string[] | null;
}

/** What a session begins with. */
export function initialSettings(model: string): RealtimeSettings {
  return {
    format: { type: 'audio/pcm', rate: PCM_RATE_HZ },
    transcription: { model },
    turnDetection: turnDetection.parse({ type: 'server_vad' }),
    noiseReduction: null,
    include: null,
  };
}

/**
 * The settings after an update, in either form. Throws `ProtocolError` (`bad_settings`) that names every field that is
 * wrong, or the language if the model hears another; nothing is changed then.
 */
export function updatedSettings(
  settings: RealtimeSettings,
  update: unknown,
  model: string,
): RealtimeSettings {
  const { audio, include: listed } = checked(UPDATE, update);
  const beta = checked(BETA_UPDATE, update);
  const input = audio?.input ?? {};
  const updated = {
    format: input.format ?? (beta.input_audio_format && FORMATS[beta.input_audio_format]) ?? settings.format,
    transcription: firstOf(input.transcription, beta.input_audio_transcription, settings.transcription),
    turnDetection: firstOf(input.turn_detection, beta.turn_detection, settings.turnDetection),
    noiseReduction: firstOf(input.noise_reduction, beta.input_audio_noise_reduction, settings.noiseReduction),
    include: firstOf(listed, undefined, settings.include),
  };
  const { language } = updated.transcription ?? {};
  if (language !== undefined && language !== '') checkLanguage(language, model);
  return updated;
}

const FORMATS: Readonly<Record<z.infer<typeof betaFormat>, RealtimeSettings['format']>> = {
  pcm16: { type: 'audio/pcm', rate: PCM_RATE_HZ },
  g711_ulaw: { type: 'audio/pcmu' },
  g711_alaw: { type: 'audio/pcma' },
};

/** Undefined is what was not said; null is a value. */
function firstOf<T>(one: T | undefined, other: T | undefined, fallback: T): T {
  return one !== undefined ? one : other !== undefined ? other : fallback;
}

function checked<T>(schema: z.ZodType<T>, update: unknown): T {
  // Wrapped, so that the faults are named as the event names them.
  const read = objectOf({ session: schema }).safeParse({ session: update });
  if (read.success) return read.data.session;
  throw new ProtocolError('bad_settings', describeFaults(read.error));
}

/** How the audio of a session is to be read. */
export function formatOf({ format: wanted }: RealtimeSettings): AudioFormat {
  switch (wanted.type) {
    case 'audio/pcm':
      return { encoding: 'pcm_s16le', sampleRateHz: wanted.rate, channels: 1 };
    case 'audio/pcmu':
      return { encoding: 'mulaw', sampleRateHz: G711_RATE_HZ, channels: 1 };
    case 'audio/pcma':
      return { encoding: 'alaw', sampleRateHz: G711_RATE_HZ, channels: 1 };
  }
}

/** How its speech is to be cut: without turn detection only by the client. */
export function endpointingOf(
  { turnDetection: detection }: RealtimeSettings,
  { maxUtteranceMs }: DialectParts['defaults'],
): Endpointing {
  if (detection === null) return { silenceMs: Infinity, maxUtteranceMs };
  const wantedMs =
    detection.type === 'server_vad'
      ? detection.silence_duration_ms
      : EAGERNESS_SILENCE_MS[detection.eagerness];
  return { silenceMs: Math.min(SILENCE_MAX_MS, Math.max(SILENCE_MIN_MS, wantedMs)), maxUtteranceMs };
}

/** The settings as clients are told them. */
export function sessionObject(
  settings: RealtimeSettings,
  session: { readonly id: string; readonly expiresAtSeconds: number; readonly isBeta: boolean },
): object {
  const {
    format: own,
    transcription: heard,
    turnDetection: turn_detection,
    noiseReduction,
    include: listed,
  } = settings;
  const { id, expiresAtSeconds: expires_at, isBeta } = session;
  if (isBeta) {
    return {
      ...{ id, object: 'realtime.transcription_session', expires_at },
      input_audio_format: betaNameOf(own),
      input_audio_transcription: heard,
      turn_detection,
      input_audio_noise_reduction: noiseReduction,
      include: listed,
    };
  }
  const input = { format: own, transcription: heard, noise_reduction: noiseReduction, turn_detection };
  return {
    ...{ id, type: 'transcription', object: 'realtime.transcription_session', expires_at },
    ...{ audio: { input }, include: listed },
  };
}

function betaNameOf({ type }: RealtimeSettings['format']): z.infer<typeof betaFormat> {
  return type === 'audio/pcm' ? 'pcm16' : type === 'audio/pcmu' ? 'g711_ulaw' : 'g711_alaw';
}
