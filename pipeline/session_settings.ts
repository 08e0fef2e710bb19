/** What one transcription is to be like. */
import type { AudioFormat } from './audio.ts';
import type { Endpointing } from './contracts.ts';

/** The wire protocols that clients may speak. */
export const DIALECTS = ['native', 'deepgram', 'openai', 'vosk'] as const;
export type DialectName = (typeof DIALECTS)[number];

/** What a client asked for, defaults filled in. */
export interface SessionSettings {
  /** What its client speaks; for metrics and the log. */
  readonly dialect: DialectName;
  readonly format: AudioFormat;
  readonly endpointing: Endpointing;
  readonly partials: boolean;
  readonly words: boolean;
  /** Where a resumed session goes on; 0 and 1 for a new one. */
  readonly originAudioMs: number;
  readonly firstUtteranceId: number;
  /** Time without audio or `keepAlive` after which the session is closed, at most SESSION_MAX_MS. */
  readonly idleMaxMs: number;
  /** When a final should be sent after the end of its utterance; those that are due sooner come first. */
  readonly finalObjectiveMs: number;
  /**
   * The client waits until its audio is taken: the audio may be a file, and comes as fast as it is taken and no faster
   * (`Session.push` says `full`). Then neither the clock nor real time says anything about it.
   */
  readonly isPaced: boolean;
  /** Default false: whether `cut` is told. */
  readonly tellsCuts?: boolean;
}
