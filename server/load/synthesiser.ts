/** Speech with a known text, from nothing but an npm package: the Flite synthesiser as a WASI command. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isOpenToOthers, makePrivateFolder } from '../../models/new_folder.ts';
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { killChild } from '../../pipeline/child_kill.ts';
import { LOAD_SYNTHESIS_MAX_ATTEMPTS } from '../../pipeline/limits.ts';
import { readWav } from '../commands/wav_file.ts';

/** Voices that speak at 16 kHz: a woman, two men (one Scottish), and the buzzing diphone voice. */
export type Voice = 'slt' | 'rms' | 'awb' | 'kal16';

interface Order {
  readonly text: string;
  readonly voice: Voice;
  readonly path: string;
}

export class Synthesiser {
  readonly #folder: string;
  #made: Promise<void> | undefined;
  readonly #spoken = new Map<string, Promise<Int16Array>>();
  /** One sentence at a time. */
  #speaking: Promise<unknown> = Promise.resolve();
  #speaker: Speaker | undefined;

  /** `folder`: where samples are kept; by default every user has one of their own. */
  constructor(folder = join(tmpdir(), `earwitness-speech-${process.getuid?.() ?? 0}`)) {
    this.#folder = folder;
  }

  /**
   * Speaks an English sentence as 16 kHz mono PCM. The same text and voice give the same samples, kept in memory and in
   * the temporary folder: the caller must not write to them. Rejects if that folder is another user's, or open to others:
   * nobody else's samples are played.
   */
  speak(text: string, voice: Voice = 'slt'): Promise<Int16Array> {
    const key = `${voice} ${text}`;
    const known = this.#spoken.get(key);
    if (known !== undefined) return known;
    const path = join(this.#folder, `${createHash('sha256').update(key).digest('hex')}.wav`);
    this.#made ??= makeOwnFolder(this.#folder);
    const speech = this.#made.then(() =>
      readSpeech(path).catch(() => {
        const wav = this.#speaking.then(() => this.#write({ text, voice, path }));
        this.#speaking = wav.catch(() => undefined);
        return wav.then(() => readSpeech(path));
      }),
    );
    this.#spoken.set(key, speech);
    return speech;
  }

  /** Ends the synthesiser's process; the next sentence starts another. */
  close(): void {
    this.#speaker?.close();
    this.#speaker = undefined;
  }

  async #write(order: Order): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#ask(order);
        return;
      } catch (error) {
        if (attempt === LOAD_SYNTHESIS_MAX_ATTEMPTS) throw error;
      }
    }
  }

  #ask(order: Order): Promise<void> {
    if (this.#speaker?.hasEnded !== false) this.#speaker = new Speaker();
    return this.#speaker.ask(order);
  }
}

/** The synthesiser's process. It keeps this one alive only while it speaks, and may end at any time. */
class Speaker {
  readonly #child: ChildProcess;
  #hasEnded = false;
  /** Whoever waits for a sentence. */
  #asked: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('synthesiser_main.js', import.meta.url)), {
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#child.on('message', () => {
      this.#child.unref();
      this.#child.channel?.unref();
      this.#asked?.resolve();
    });
    const onEnd = (): void => {
      this.#hasEnded = true;
      this.#asked?.reject(new Error('the synthesiser ended'));
    };
    this.#child.on('exit', onEnd);
    this.#child.on('error', onEnd);
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  ask(order: Order): Promise<void> {
    this.#child.ref();
    this.#child.channel?.ref();
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject };
      this.#child.send(order);
    });
  }

  close(): void {
    killChild(this.#child, 'SIGTERM');
  }
}

async function makeOwnFolder(path: string): Promise<void> {
  await makePrivateFolder(path);
  const { uid } = await stat(path);
  if (uid !== (process.getuid?.() ?? uid) || (await isOpenToOthers(path)))
    throw new Error(`${path} is another user's, or open to others: remove it`);
}

async function readSpeech(path: string): Promise<Int16Array> {
  const wav = await readFile(path);
  assert.equal(wav.readUInt32LE(24), SAMPLE_RATE_HZ, 'flite spoke at another rate');
  return readWav(wav);
}
