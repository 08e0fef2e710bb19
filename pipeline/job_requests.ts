/** What sessions ask of the scheduler. */
import type { Hypothesis } from './contracts.ts';
import type { TranscriptionError } from './errors.ts';
import type { Strikes } from './strikes.ts';

/** Audio that a source hands over for a job. */
export interface JobAudio {
  readonly pcm: Int16Array;
  readonly draft: readonly number[];
  /** The utterance's, shared by its partials and its final. Absent: it has no other jobs than these. */
  readonly strikes?: Strikes;
  /** Whose it is, for the log. */
  readonly sessionId?: string;
}

/** A complete utterance that needs its final text. Exactly one of `done` and `failed` is called, once. */
export interface FinalRequest {
  readonly audio: JobAudio;
  /** On the clock: finals are run in the order of it, but for those whose utterance has cost workers. */
  readonly deadlineAtMs: number;
  /** False when nobody waits for the text any more; a job that has not begun is then dropped. */
  readonly isWanted: () => boolean;
  /** A slot has taken it; called again when it is run again. */
  readonly started?: () => void;
  readonly done: (hypothesis: Hypothesis) => void;
  readonly failed: (error: TranscriptionError) => void;
}

/** The beginning of an utterance, or what may be the whole of it. Exactly one of `done` and `failed` is called, once. */
export interface PartialRequest {
  readonly audio: JobAudio;
  /** Its text may become the final, so it must be just what the model makes of it. */
  readonly isWhole: boolean;
  /** Returns false if nobody waits for the text any more. */
  readonly done: (hypothesis: Hypothesis) => boolean;
  readonly failed: () => void;
}

/** An utterance in progress, from `addSource` to `removeSource`. The scheduler asks it for audio when a slot is free for it. */
export interface PartialSource {
  /** All audio so far, or undefined if too little is new since the last time. */
  takePartial(): PartialRequest | undefined;
}
