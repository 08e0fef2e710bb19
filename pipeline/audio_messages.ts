/** What the audio pool and its workers say to each other: data that travels between processes. */
import type { AudioFormat } from './audio.ts';
import type { AudioStats } from './audio_stats.ts';
import type { Endpointing, TrackEvent, TrackInput, VoiceState } from './contracts.ts';

/** Among the numbers of a track's inputs, which begin at 1: its opening, and its end. */
export const OPENING_SEQ = 0;
export const GONE_SEQ = Number.MAX_SAFE_INTEGER;

/** What an audio path needs to know of its session. */
export interface TrackSettings {
  readonly format: AudioFormat;
  readonly endpointing: Endpointing;
  /** Position of the first sample; above 0 in a resumed session. */
  readonly originSamples: number;
}

/** Everything a track needs to go on elsewhere. */
export interface TrackSnapshot {
  readonly decoder: Uint8Array;
  readonly voice: VoiceState;
  readonly segmenter: unknown;
  /** The last samples of audio, up to the end of what is decoded: for looking back, and those not judged yet. */
  readonly recent: Int16Array;
  /** End of the audio decoded, of the audio judged, and of the audio sent on, as positions. */
  readonly decodedSamples: number;
  readonly judgedSamples: number;
  readonly sentSamples: number;
  readonly outputSeq: number;
  readonly faults: readonly boolean[];
  readonly inBurst: boolean;
}

/** One step for one track. Track ids are never reused. */
export type TrackEntry =
  | {
      readonly type: 'open';
      readonly track: number;
      readonly settings: TrackSettings;
      readonly state?: TrackSnapshot;
    }
  | { readonly type: 'input'; readonly track: number; readonly seq: number; readonly input: TrackInput }
  | { readonly type: 'close'; readonly track: number };

export interface AudioRequest {
  readonly type: 'entries';
  readonly entries: readonly TrackEntry[];
}

export interface AudioReply {
  readonly type: 'outputs';
  readonly events: readonly { readonly track: number; readonly seq: number; readonly event: TrackEvent }[];
  readonly checkpoints: readonly {
    readonly track: number;
    readonly inputSeq: number;
    readonly state: TrackSnapshot;
  }[];
  /** The last input each of these tracks has used up, frames and all; OPENING_SEQ: it is open; GONE_SEQ: it is gone. */
  readonly taken: readonly { readonly track: number; readonly inputSeq: number }[];
  /** Tracks ended by an exception. */
  readonly failed: readonly number[];
  readonly stats: AudioStats;
}
