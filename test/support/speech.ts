/** Speech with a known text, from nothing but an npm package: the Flite synthesiser as a WASI command. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';

/** Voices that speak at 16 kHz: a woman, two men (one Scottish), and the buzzing diphone voice. */
export type Voice = 'slt' | 'rms' | 'awb' | 'kal16';

const WAV_HEADER_BYTES = 44;
const CACHE_FOLDER = join(tmpdir(), 'earwitness-test-speech');
/** The synthesiser's process was seen to crash now and then; a sentence is tried on this many of them. */
const ATTEMPT_COUNT = 3;

const spoken = new Map<string, Promise<Int16Array>>();
/** One sentence at a time. */
let speaking: Promise<unknown> = Promise.resolve();

/**
 * Speaks an English sentence as 16 kHz mono PCM. The same text and voice give the same samples, kept in memory and in
 * the temporary folder: the caller must not write to them.
 */
export function synthesise(text: string, options: { voice?: Voice } = {}): Promise<Int16Array> {
  const voice = options.voice ?? 'slt';
  const key = `${voice} ${text}`;
  const known = spoken.get(key);
  if (known !== undefined) return known;
  const path = join(CACHE_FOLDER, `${createHash('sha256').update(key).digest('hex')}.wav`);
  const speech = readSpeech(path).catch(() => {
    const wav = speaking.then(() => speak({ text, voice, path }));
    speaking = wav.catch(() => undefined);
    return wav.then(() => readSpeech(path));
  });
  spoken.set(key, speech);
  return speech;
}

interface Order {
  readonly text: string;
  readonly voice: Voice;
  readonly path: string;
}

let synthesiser: ChildProcess | undefined;

async function speak(order: Order): Promise<void> {
  await mkdir(CACHE_FOLDER, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      await ask(order);
      return;
    } catch (error) {
      if (attempt === ATTEMPT_COUNT) throw error;
    }
  }
}

/** Has the synthesiser's process speak; it keeps this process alive only while it does. */
function ask(order: Order): Promise<void> {
  synthesiser ??= fork(fileURLToPath(new URL('speech_child.js', import.meta.url)), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const child = synthesiser;
  child.ref();
  child.channel?.ref();
  return new Promise((resolve, reject) => {
    const onMessage = (): void => {
      child.off('exit', onExit);
      child.unref();
      child.channel?.unref();
      resolve();
    };
    const onExit = (): void => {
      child.off('message', onMessage);
      synthesiser = undefined;
      reject(new Error(`the synthesiser ended while it spoke "${order.text}"`));
    };
    child.once('message', onMessage);
    child.once('exit', onExit);
    child.send(order);
  });
}

/** Flite writes the plain 44-byte header, always the same. */
async function readSpeech(path: string): Promise<Int16Array> {
  const wav = await readFile(path);
  assert.equal(wav.readUInt32LE(24), SAMPLE_RATE_HZ, 'flite spoke at another rate');
  assert.equal(wav.readUInt16LE(22), 1, 'flite spoke in stereo');
  const samples = new Int16Array((wav.length - WAV_HEADER_BYTES) >> 1);
  for (let i = 0; i < samples.length; i++) samples[i] = wav.readInt16LE(WAV_HEADER_BYTES + 2 * i);
  return samples;
}
