/** What one session says, and when: sentences with silence between them. */
import { draw } from './draw.ts';
import { MESSAGE_MS, type SpeechMaterial, type Spoken } from './speech_material.ts';

/** Around each sentence there is at least this much silence: more than ends an utterance. */
export const PAUSE_MIN_MS = 1_500;
/** Nobody speaks from the very first sample. */
const FIRST_PAUSE_MIN_MS = 300;

/** The golden section: multiples of it come back to where they were as late as possible. */
const STEP_RATIO = 0.382;

/** A sentence and its place in the session's audio. */
export interface SpokenSentence {
  readonly text: string;
  readonly startAudioMs: number;
  /** Where its last audible sample is. */
  readonly endAudioMs: number;
}

export interface ScriptOptions {
  readonly material: SpeechMaterial;
  readonly seed: number;
  readonly index: number;
  /** Sessions of the whole load: they begin out of step, so that about `talkRatio` of them speak at any time. */
  readonly sessionCount: number;
  readonly durationMs: number;
  readonly talkRatio: number;
}

interface Placed extends SpokenSentence {
  readonly firstMessage: number;
  readonly messages: readonly Uint8Array[];
}

export class SessionScript {
  readonly sentences: readonly SpokenSentence[];
  readonly messageCount: number;
  readonly #placed: readonly Placed[];
  readonly #quiet: readonly Uint8Array[];

  /** The same options give the same script, in any process. */
  constructor(options: ScriptOptions) {
    this.messageCount = Math.floor(options.durationMs / MESSAGE_MS);
    this.#quiet = options.material.quiet;
    this.#placed = place(options);
    this.sentences = this.#placed.map(({ text, startAudioMs, endAudioMs }) => ({
      text,
      startAudioMs,
      endAudioMs,
    }));
  }

  /** The nth message of the audio. */
  message(n: number): Uint8Array {
    const sentence = this.#placed[this.#indexAt(n)];
    const spoken = sentence?.messages[n - sentence.firstMessage];
    return spoken ?? this.#quiet[n % this.#quiet.length] ?? Uint8Array.of();
  }

  /** The last sentence that begins at or before this message, by bisection; -1 if there is none. */
  #indexAt(n: number): number {
    let low = 0;
    let high = this.#placed.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#placed[middle]?.firstMessage ?? 0) <= n) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** As many sentences as fit; the silences are stretched to the share that is speech, and their lengths vary. */
function place(options: ScriptOptions): Placed[] {
  const { seed, index, durationMs, talkRatio } = options;
  const placed: Placed[] = [];
  let nextMessage = 0;
  for (let nth = 0; ; nth++) {
    const { text, audibleMs, messages } = sentenceOf(options, nth);
    // Half to one and a half times the silence that is due for the sentence; before the first, a part of its round.
    const dueMs = ((audibleMs * (1 - talkRatio)) / talkRatio) * (0.5 + draw(seed, index, nth, 1));
    const phase = (index + draw(seed, index, 2)) / options.sessionCount;
    const pauseMs =
      nth === 0 ? FIRST_PAUSE_MIN_MS + (audibleMs / talkRatio) * (phase % 1) : Math.max(PAUSE_MIN_MS, dueMs);
    const firstMessage = nextMessage + Math.ceil(pauseMs / MESSAGE_MS);
    const startAudioMs = firstMessage * MESSAGE_MS;
    const endAudioMs = startAudioMs + audibleMs;
    if (endAudioMs + PAUSE_MIN_MS > durationMs) return placed;
    placed.push({ text, startAudioMs, endAudioMs, firstMessage, messages });
    nextMessage = firstMessage + messages.length;
  }
}

/**
 * Each session has its own place in the list and goes on by a good third of it, so that nobody says what those say who
 * are as far as they are, nor those who are one sentence before or behind.
 */
function sentenceOf({ material, index }: ScriptOptions, nth: number): Spoken {
  const { sentences } = material;
  const step = Math.floor(sentences.length * STEP_RATIO) + 1;
  const spoken = sentences[(nth * step + index) % sentences.length];
  return spoken ?? { text: '', audibleMs: Infinity, messages: [] };
}
