/**
 * `npm run eval -- DIR [--encoding opus|pcm_s16le] [--speed N] [--lead-silence-ms N] [--check-onset] [--max-wer 0.1]
 * [--max-changed 0.3]`:
 * the word error rate of a whole server on the WAV files that `DIR/refs.tsv` names, each with its words after a tab.
 * Exit status 1 when it is above `--max-wer`; with `--check-onset`, also when it is so after 2 s of leading silence, when
 * a first word that is heard without the silence is not heard after it, or when more than a share of the clips has other
 * words. Some have: silence before a clip moves it in the frames of voice detector and encoder and gives it a pre-roll, and
 * there are clips of which the model hears other words with any 32 ms of silence before them.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FILE_ENCODINGS, type FileEncoding } from '../../server/commands/file_encoding.ts';
import { streamUrl } from '../../server/commands/transcribe_command.ts';
import { startRealServer } from '../support/real_server.ts';
import { normalisedWords, wordEditCount } from '../../server/load/word_error_rate.ts';
import { transcribeClip, type ClipTranscript } from './clip.ts';

/** Leading silence of `--check-onset`. */
const ONSET_SILENCE_MS = 2_000;
/** Each is heard in real time. */
const CLIPS_AT_ONCE = 2;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    encoding: { type: 'string', default: 'opus' },
    speed: { type: 'string', default: '1' },
    'lead-silence-ms': { type: 'string', default: '0' },
    'check-onset': { type: 'boolean', default: false },
    'max-wer': { type: 'string', default: '0.1' },
    'max-changed': { type: 'string', default: '0.3' },
  },
});

function numberOf(name: 'speed' | 'lead-silence-ms' | 'max-wer' | 'max-changed', min: number): number {
  const number = Number(values[name]);
  if (number >= min) return number;
  throw new Error(`--${name} must be a number from ${min} on, not '${values[name]}'`);
}

function encodingOf(text: string): FileEncoding {
  const encoding = FILE_ENCODINGS.find((name) => name === text);
  if (encoding !== undefined) return encoding;
  throw new Error(`--encoding must be one of ${FILE_ENCODINGS.join(', ')}, not '${text}'`);
}

interface Reference {
  readonly file: string;
  readonly text: string;
}

async function readReferences(folder: string): Promise<Reference[]> {
  const lines = (await readFile(join(folder, 'refs.tsv'), 'utf8')).split('\n');
  return lines.flatMap((line) => {
    const [file = '', text] = line.split('\t');
    return text === undefined ? [] : [{ file, text: text.trim() }];
  });
}

class WordErrors {
  #wordCount = 0;
  #editCount = 0;

  get rate(): number {
    return this.#wordCount === 0 ? 0 : this.#editCount / this.#wordCount;
  }

  get summary(): string {
    return `${percent(this.rate)}: ${this.#editCount} of ${this.#wordCount} words`;
  }

  /** Counts one clip; returns its own rate. */
  add(reference: string, hypothesis: string): number {
    const words = normalisedWords(reference);
    const edits = wordEditCount(words, normalisedWords(hypothesis));
    this.#wordCount += words.length;
    this.#editCount += edits;
    return edits / words.length;
  }
}

function hearsFirstWord(reference: string, hypothesis: string): boolean {
  return normalisedWords(reference)[0] === normalisedWords(hypothesis)[0];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

const [folder = ''] = positionals;
const encoding = encodingOf(values.encoding);
if (folder === '') throw new Error('usage: npm run eval -- DIR');
const speed = numberOf('speed', Number.MIN_VALUE);
const leadSilenceMs = numberOf('lead-silence-ms', 0);
const maxRate = numberOf('max-wer', 0);
const maxChanged = numberOf('max-changed', 0);
const references = await readReferences(folder);
const server = await startRealServer();
const plainErrors = new WordErrors();
const lateErrors = new WordErrors();
let lostOnsetCount = 0;
let changedCount = 0;
try {
  for (let at = 0; at < references.length; at += CLIPS_AT_ONCE) {
    const heard = await Promise.all(references.slice(at, at + CLIPS_AT_ONCE).map(hear));
    for (const clip of heard) judge(clip);
  }
} finally {
  await server.close();
}
console.log(`\nword error rate ${plainErrors.summary} in ${references.length} clips`);
if (values['check-onset']) {
  console.log(
    `after ${ONSET_SILENCE_MS} ms of silence ${lateErrors.summary}; ` +
      `other words in ${changedCount} clips, first words lost in ${lostOnsetCount}`,
  );
}
const areWordsKept = lostOnsetCount === 0 && changedCount <= maxChanged * references.length;
process.exitCode = plainErrors.rate <= maxRate && lateErrors.rate <= maxRate && areWordsKept ? 0 : 1;

interface HeardClip extends Reference {
  readonly clip: ClipTranscript;
  /** After the silence, if that was asked for. */
  readonly late: ClipTranscript | undefined;
}

async function hear(reference: Reference): Promise<HeardClip> {
  const path = join(folder, reference.file);
  const listen = (silenceMs: number): Promise<ClipTranscript> =>
    transcribeClip({ url: streamUrl(server.url), path, encoding, speed, leadSilenceMs: silenceMs });
  const [clip, late] = await Promise.all([
    listen(leadSilenceMs),
    values['check-onset'] ? listen(leadSilenceMs + ONSET_SILENCE_MS) : undefined,
  ]);
  return { ...reference, clip, late };
}

function judge({ file, text, clip, late }: HeardClip): void {
  const rate = plainErrors.add(text, clip.text);
  const { finalLatencyMs } = clip;
  const latency = finalLatencyMs === undefined ? '' : `, final after ${finalLatencyMs.toFixed(0)} ms`;
  console.log(`${file}: ${percent(rate)}${latency}\n  said   ${text}\n  heard  ${clip.text}`);
  if (late === undefined) return;
  lateErrors.add(text, late.text);
  if (normalisedWords(late.text).join(' ') === normalisedWords(clip.text).join(' ')) return;
  console.log(`  late   ${late.text}`);
  changedCount++;
  if (hearsFirstWord(text, clip.text) && !hearsFirstWord(text, late.text)) lostOnsetCount++;
}
