/** The speech that benchmarks measure with: synthesised, so that everybody has it, and recordings where there are some. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { samplesToMs } from '../../pipeline/audio.ts';
import { readPcm } from '../../server/commands/audio_file.ts';
import { synthesise, type Voice } from '../support/speech.ts';

/** 16 kHz mono PCM with a name to print. */
export interface Clip {
  readonly name: string;
  readonly pcm: Int16Array;
}

/** Voices that the smallest model reads well. */
const VOICES: readonly Voice[] = ['rms', 'slt'];
/** What people say in one breath: 2 to 5 s. */
const SENTENCES = [
  'The quick brown fox jumps over the lazy dog.',
  'Please call me back at seven thirty tomorrow morning.',
  'It was the best of times, it was the worst of times.',
  'We will meet at the station near the old bridge and take the last train home.',
];
/** What they say without a pause that would end an utterance: 10 to 15 s. */
const PARAGRAPHS = [
  'We will meet at the station near the old bridge and take the last train home, ' +
    'and if the weather is good enough in the morning we can walk along the river to the market, ' +
    'where my sister sells flowers and bread until noon.',
  'The doctor told the farmers that the water in the valley was clean again, ' +
    'because the new pipes were finished before the winter, ' +
    'and everybody in the village was very happy about it for a long time, as you can imagine.',
];

async function spoken(texts: readonly string[], voices: readonly Voice[]): Promise<Clip[]> {
  const clips: Clip[] = [];
  for (const voice of voices) {
    for (const [at, text] of texts.entries()) {
      clips.push({ name: `${voice} ${at}`, pcm: await synthesise(text, { voice }) });
    }
  }
  return clips;
}

/** Utterances of up to 5 s. */
export function shortUtterances(): Promise<Clip[]> {
  return spoken(SENTENCES, VOICES);
}

/** Utterances of 10 to 15 s. */
export function longUtterances(): Promise<Clip[]> {
  return spoken(PARAGRAPHS, ['rms']);
}

/** The 16 kHz WAV files of a folder; none if there is no folder. */
export async function recordings(folder: string | undefined): Promise<Clip[]> {
  if (folder === undefined) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith('.wav'));
  return Promise.all(names.map(async (name) => ({ name, pcm: await readPcm(join(folder, name)) })));
}

/** Duration of all of them together. */
export function durationMs(clips: readonly Clip[]): number {
  return clips.reduce((sum, { pcm }) => sum + samplesToMs(pcm.length), 0);
}
