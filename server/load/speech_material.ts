/** What a load test's sessions say: sentences with a known text, encoded once and shared by all of them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { msToSamples, SAMPLE_RATE_HZ, samplesToMs } from '../../pipeline/audio.ts';
import { AudioError, UsageError } from '../../pipeline/errors.ts';
import { LOAD_SENTENCES_MAX_COUNT } from '../../pipeline/limits.ts';
import { encodeOpus } from '../commands/opus_encoder.ts';
import { readWav } from '../commands/wav_file.ts';
import type { LoadEncoding } from './load_plan.ts';
import { distinctSentences } from './sentences.ts';
import { Synthesiser, type Voice } from './synthesiser.ts';

/** Audio of every message. */
export const MESSAGE_MS = 20;
/** Voices that the smallest model reads well. */
const VOICES: readonly Voice[] = ['rms', 'slt'];
/** Amplitude below which the end of a sentence is silence. */
const AUDIBLE_MIN = 200;
/** Silence behind a sentence that is encoded with it: a codec's state shall have come to rest. */
const TAIL_MS = 200;
/** Silence that is encoded once and sent again and again. */
const QUIET_MS = 2_000;

/** A sentence as it is sent. */
export interface Spoken {
  readonly text: string;
  /** Where its last audible sample is, in ms from its first message. */
  readonly audibleMs: number;
  /** Messages of MESSAGE_MS. */
  readonly messages: readonly Uint8Array[];
}

export interface SpeechMaterial {
  readonly sentences: readonly Spoken[];
  /** Messages of silence, to be sent in turn. */
  readonly quiet: readonly Uint8Array[];
}

export interface MaterialOptions {
  readonly encoding: LoadEncoding;
  readonly seed: number;
  /** Sentences that are wanted; there are at most LOAD_SENTENCES_MAX_COUNT. */
  readonly sentenceCount: number;
  readonly speechDir?: string;
  readonly signal: AbortSignal;
  readonly onProgress: (readyCount: number, sentenceCount: number) => void;
}

/**
 * Reads the recordings of `speechDir`, or has made-up sentences spoken. Stops early when the signal aborts. Throws
 * `UsageError` for a folder that holds no recordings with texts, or recordings that cannot be read.
 */
export async function prepareMaterial(options: MaterialOptions): Promise<SpeechMaterial> {
  const { encoding, speechDir, signal, onProgress } = options;
  const sources = speechDir === undefined ? synthesised(options) : await recorded(speechDir);
  const sentences: Spoken[] = [];
  try {
    for (const { text, read } of sources.list) {
      if (signal.aborted) break;
      sentences.push(encodeSentence(text, await read(), encoding));
      onProgress(sentences.length, sources.list.length);
    }
  } finally {
    sources.close();
  }
  return { sentences, quiet: encode(new Int16Array(msToSamples(QUIET_MS)), encoding) };
}

interface SpeechSources {
  readonly list: readonly { readonly text: string; readonly read: () => Promise<Int16Array> }[];
  close(): void;
}

function synthesised({ sentenceCount, seed }: MaterialOptions): SpeechSources {
  const synthesiser = new Synthesiser();
  const texts = distinctSentences(Math.min(sentenceCount, LOAD_SENTENCES_MAX_COUNT), seed);
  return {
    list: texts.map((text, i) => ({ text, read: () => synthesiser.speak(text, VOICES[i % VOICES.length]) })),
    close: () => {
      synthesiser.close();
    },
  };
}

async function recorded(dir: string): Promise<SpeechSources> {
  const refs = await readFile(join(dir, 'refs.tsv'), 'utf8').catch(() => {
    throw new UsageError(`--speech: expected a folder with a refs.tsv, got '${dir}'`);
  });
  const rows = refs.split(/\r?\n/).map((line) => line.split('\t'));
  const list = rows
    .flatMap(([file = '', text = '']) => (file.endsWith('.wav') && text !== '' ? [{ file, text }] : []))
    .slice(0, LOAD_SENTENCES_MAX_COUNT)
    .map(({ file, text }) => ({ text, read: () => readRecording(join(dir, file)) }));
  if (list.length === 0) {
    throw new UsageError(`--speech: expected lines of "file.wav<tab>text" in ${dir}/refs.tsv`);
  }
  return { list, close: () => undefined };
}

async function readRecording(path: string): Promise<Int16Array> {
  try {
    return readWav(await readFile(path));
  } catch (cause) {
    const reason = cause instanceof AudioError ? cause.message : 'it cannot be read';
    throw new UsageError(`--speech: ${path}: ${reason}`);
  }
}

function encodeSentence(text: string, pcm: Int16Array, encoding: LoadEncoding): Spoken {
  const padded = new Int16Array(pcm.length + msToSamples(TAIL_MS));
  padded.set(pcm);
  return { text, audibleMs: samplesToMs(lastAudible(pcm)), messages: encode(padded, encoding) };
}

function encode(pcm: Int16Array, encoding: LoadEncoding): Uint8Array[] {
  if (encoding === 'opus') return encodeOpus(pcm);
  const messageSamples = (SAMPLE_RATE_HZ * MESSAGE_MS) / 1_000;
  return Array.from({ length: Math.ceil(pcm.length / messageSamples) }, (_, i) => {
    const samples = new Int16Array(messageSamples);
    samples.set(pcm.subarray(i * messageSamples, (i + 1) * messageSamples));
    return new Uint8Array(samples.buffer);
  });
}

function lastAudible(pcm: Int16Array): number {
  let end = pcm.length;
  while (end > 0 && Math.abs(pcm[end - 1] ?? 0) < AUDIBLE_MIN) end -= 1;
  return end;
}
