/** What a session tells its dialect, in order. Positions are ms of audio since the session's origin. */
import type { UtteranceEndReason } from './contracts.ts';
import type { TranscriptionError } from './errors.ts';

/** A word with its place in the audio; `estimated` where the model gives no times. */
export interface TimedWord {
  readonly text: string;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly estimated: boolean;
}

/** Text that will not change; exactly one per utterance, in the order of the utterances. */
export interface FinalEvent {
  readonly type: 'final';
  readonly utteranceId: number;
  readonly text: string;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly words: readonly TimedWord[];
  /** Audio before this position is not needed again, whatever happens. */
  readonly ackedAudioMs: number;
}

export type SessionEvent =
  | { readonly type: 'speechStart'; readonly utteranceId: number; readonly audioMs: number }
  | {
      readonly type: 'speechEnd';
      readonly utteranceId: number;
      readonly audioMs: number;
      readonly reason: UtteranceEndReason;
    }
  | {
      readonly type: 'partial';
      readonly utteranceId: number;
      readonly revision: number;
      readonly text: string;
      /** Length of the prefix of `text`, in UTF-16 units, that two successive hypotheses agreed on. */
      readonly stableLength: number;
      readonly startAudioMs: number;
      readonly endAudioMs: number;
    }
  | FinalEvent
  | {
      readonly type: 'notice';
      readonly code:
        'packets_lost' | 'utterance_failed' | 'partials_suspended' | 'partials_resumed' | 'input_throttled';
      readonly message: string;
      readonly utteranceId?: number;
    }
  /** `audioMs` is how much audio there was before the flush. */
  | { readonly type: 'flushed'; readonly id: string; readonly audioMs: number }
  /** All audio before this flush has been cut into utterances: those that begin from now on come after it. */
  | { readonly type: 'cut'; readonly id: string }
  /** The server is going away: finals for what was heard follow, then `done`; go on elsewhere from here. */
  | {
      readonly type: 'goAway';
      /** Time that audio is still heard for at most; 0 where nobody speaks. */
      readonly deadlineMs: number;
      readonly ackedAudioMs: number;
      readonly nextUtteranceId: number;
    }
  /** The session is over and took its last final with it. `audioMs` is how much audio there was. */
  | { readonly type: 'done'; readonly audioMs: number }
  /** The session is over because of this. */
  | { readonly type: 'failed'; readonly error: TranscriptionError };
