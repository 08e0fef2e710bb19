/** What a client of Deepgram's `/v1/listen` asks for in its query, as settings of sessions. */
import { z } from 'zod';
import type { AudioEncoding, AudioFormat } from '../../pipeline/audio.ts';
import type { Endpointing } from '../../pipeline/contracts.ts';
import { ProtocolError } from '../../pipeline/errors.ts';
import {
  DEEPGRAM_SILENCE_MIN_MS,
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  SILENCE_MAX_MS,
  UTTERANCE_GAP_MAX_MS,
  UTTERANCE_GAP_MIN_MS,
} from '../../pipeline/limits.ts';
import type { DialectParts } from './dialect.ts';
import { describeFaults, textOf, wholeNumber as typedWholeNumber } from '../field_rules.ts';
import { checkLanguage } from './spoken_language.ts';

interface WireEncoding {
  readonly encoding: AudioEncoding;
  /** Of one raw sample; without it the audio says itself what it is. */
  readonly sampleBytes?: number;
  /** Where the client names none. */
  readonly rateHz?: number;
}

/** Encodings by Deepgram's names. */
const ENCODINGS: Readonly<Record<string, WireEncoding>> = {
  opus: { encoding: 'opus' },
  linear16: { encoding: 'pcm_s16le', sampleBytes: 2 },
  linear32: { encoding: 'pcm_f32le', sampleBytes: 4 },
  mulaw: { encoding: 'mulaw', sampleBytes: 1, rateHz: 8_000 },
  alaw: { encoding: 'alaw', sampleBytes: 1, rateHz: 8_000 },
  'ogg-opus': { encoding: 'ogg_opus' },
};

/** Where none is named. */
const CONTAINER: WireEncoding = { encoding: 'auto' };

/** A query that makes sense. */
export interface DeepgramParameters {
  /** Of each session. */
  readonly format: AudioFormat;
  /** Sessions: one for each channel that is heard by itself. */
  readonly sessionCount: number;
  /** Channels that come interleaved. */
  readonly channelCount: number;
  /** Of one raw sample; undefined where the audio is not raw. */
  readonly sampleBytes: number | undefined;
  readonly endpointing: Endpointing;
  /** Utterances that end in silence are told as such. */
  readonly hasSpeechFinal: boolean;
  readonly hasInterims: boolean;
  readonly hasVadEvents: boolean;
  /** After this time without a word `UtteranceEnd` is sent. */
  readonly utteranceEndMs: number | undefined;
  /** Text as it was recognised; otherwise in lower case without punctuation. */
  readonly isFormatted: boolean;
  /** A file is also answered utterance by utterance. */
  readonly hasUtterances: boolean;
}

const isTrue = z
  .string()
  .toLowerCase()
  .refine((text) => text === 'true' || text === 'false', { error: 'expected true or false' })
  .transform((text) => text === 'true');

/** As text. */
function wholeNumber(min: number, max: number): z.ZodType<number> {
  const toNumber = (text: unknown): unknown =>
    typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : text;
  return z.preprocess(toNumber, typedWholeNumber(min, max));
}

const QUERY = z.object({
  encoding: z
    .string()
    .refine((name) => Object.hasOwn(ENCODINGS, name), {
      error: `expected one of ${Object.keys(ENCODINGS).join(', ')}, or none for a container`,
    })
    .optional(),
  sample_rate: wholeNumber(PCM_RATE_MIN_HZ, PCM_RATE_MAX_HZ).optional(),
  channels: wholeNumber(1, 2).default(1),
  multichannel: isTrue.default(false),
  interim_results: isTrue.default(false),
  endpointing: z
    .union([isTrue, wholeNumber(0, 3_600_000)], { error: 'expected ms, true or false' })
    .default(true),
  utterance_end_ms: wholeNumber(UTTERANCE_GAP_MIN_MS, UTTERANCE_GAP_MAX_MS).optional(),
  vad_events: isTrue.default(false),
  punctuate: isTrue.default(false),
  smart_format: isTrue.default(false),
  utterances: isTrue.default(false),
  language: textOf(0, 35).optional(),
});

/**
 * Reads a query. What is empty or not known is ignored; of what comes more than once the last counts. Throws `ProtocolError`
 * (`bad_settings`) that names every parameter that is wrong.
 */
export function readParameters(
  query: URLSearchParams,
  defaults: DialectParts['defaults'],
): DeepgramParameters {
  const read = QUERY.safeParse(Object.fromEntries([...query].filter(([, value]) => value !== '')));
  if (!read.success) {
    throw new ProtocolError('bad_settings', describeFaults(read.error));
  }
  const wanted = read.data;
  if (wanted.language !== undefined && wanted.language !== 'multi') {
    checkLanguage(wanted.language, defaults.model);
  }
  const audio = audioOf(wanted);
  return {
    ...audio,
    endpointing: {
      silenceMs: silenceOf(wanted.endpointing, defaults),
      maxUtteranceMs: defaults.maxUtteranceMs,
    },
    hasSpeechFinal: wanted.endpointing !== false,
    hasInterims: wanted.interim_results,
    hasVadEvents: wanted.vad_events,
    utteranceEndMs: wanted.interim_results ? wanted.utterance_end_ms : undefined,
    isFormatted: wanted.punctuate || wanted.smart_format,
    hasUtterances: wanted.utterances,
  };
}

function audioOf(
  wanted: z.infer<typeof QUERY>,
): Pick<DeepgramParameters, 'format' | 'sessionCount' | 'channelCount' | 'sampleBytes'> {
  const { encoding: name, sample_rate: wantedRateHz, channels, multichannel } = wanted;
  const { encoding, sampleBytes, rateHz } = (name === undefined ? undefined : ENCODINGS[name]) ?? CONTAINER;
  if (sampleBytes !== undefined && wantedRateHz === undefined && rateHz === undefined) {
    throw new ProtocolError('bad_settings', `sample_rate: expected with encoding ${String(name)}`);
  }
  const isSplit = multichannel && channels > 1;
  if (isSplit && sampleBytes === undefined) {
    throw new ProtocolError(
      'bad_settings',
      'multichannel: expected with raw samples only, or leave it out to mix down',
    );
  }
  return {
    format: { encoding, sampleRateHz: wantedRateHz ?? rateHz ?? 16_000, channels: isSplit ? 1 : channels },
    sessionCount: isSplit ? channels : 1,
    channelCount: channels,
    sampleBytes,
  };
}

/** Deepgram's default, and what its clients ask for, is when to be told of a pause, not where to cut: the words there stay whole. */
function silenceOf(endpointing: number | boolean, defaults: DialectParts['defaults']): number {
  if (typeof endpointing === 'boolean') return defaults.silenceMs;
  return Math.min(SILENCE_MAX_MS, Math.max(DEEPGRAM_SILENCE_MIN_MS, endpointing));
}
