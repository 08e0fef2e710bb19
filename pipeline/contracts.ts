/** The interfaces between the parts. Each is implemented once for real and once by hand for tests. */
import type { AudioFormat } from './audio.ts';
import type { TranscriptionError } from './errors.ts';
import type { Refusal } from './refusal.ts';

/** What a recogniser made of one span of audio. */
export interface Hypothesis {
  /** Decoded text, trimmed; empty if the model heard nothing. */
  readonly text: string;
  /** Token ids without start and end tokens; offered back as the next job's `draft`. */
  readonly tokens: readonly number[];
  /** Why decoding stopped: the end token, the token budget of the audio's length, or a repetition loop. */
  readonly stop: 'end' | 'length' | 'repetition';
  readonly encodeMs: number;
  readonly decodeMs: number;
  /** Of the audio in ms, what was not encoded because an earlier run for the same utterance had. */
  readonly reusedMs: number;
  readonly decoderSteps: number;
  /** Draft tokens that were verified and taken over. */
  readonly draftAcceptedTokens: number;
  /** Which part of its slot's time it stands for, where it was one of a batch; added by the pool. */
  readonly slotShare?: number;
}

/** One span of audio to be transcribed. */
export interface RecognitionTask {
  /** 16 kHz mono PCM. */
  readonly pcm: Int16Array;
  /** Token ids of an earlier hypothesis for a prefix of the same audio, or empty; the result is the same without. */
  readonly draft: readonly number[];
  /**
   * A number that all beginnings of one growing utterance have, and no other audio. With it the recogniser may use again
   * what it made of an earlier one: the hypothesis comes faster, and need not be what the model makes of this audio
   * alone. Absent: it is just that.
   */
  readonly partialOf?: number | undefined;
}

/**
 * What became of one task of a batch: `AudioError` (`invalid_pcm`) for audio that must not be run, `InferenceError`
 * (`internal`) if the model fails on it.
 */
export type Transcription =
  | { readonly hypothesis: Hypothesis; readonly error?: undefined }
  | { readonly hypothesis?: undefined; readonly error: TranscriptionError };

/** What a batch cost beside time. */
export interface BatchWork {
  /** Audio that the device worked on, and how much of it was only there to make rows equally long. */
  readonly samples: number;
  readonly paddingSamples: number;
  /** What crossed between the host's memory and the device's; 0 where they are the same. */
  readonly movedBytes: number;
  /** Times that a run had to be repeated in halves because the device had too little memory. */
  readonly halvings: number;
}

/** One model on one device. Not re-entrant: the next call may start when the last promise has settled. */
export interface Recogniser {
  readonly model: string;
  readonly device: string;
  /** Most tasks that one call takes, ≥ 1; falls when the device turns out to have too little memory. */
  readonly batchMaxCount: number;
  /**
   * Transcribes a batch; one result for each task, in order, equal to what it would be alone. An error of one task is
   * its own result. `heard` is called with a task's index as soon as its hypothesis is known, which may be while
   * others are still worked on; if those have to be repeated, it may be called again. Throws `DeviceError` if the device must not be
   * used any more.
   */
  transcribe(
    tasks: readonly RecognitionTask[],
    heard?: (at: number, hypothesis: Hypothesis) => void,
  ): Promise<{ readonly transcriptions: readonly Transcription[]; readonly work: BatchWork }>;
  close(): Promise<void>;
}

/** Recurrent state of the voice detector for one stream: `VOICE_STATE_VALUES` numbers. */
export type VoiceState = Float32Array;

/** Voice-activity detection for many streams at once. Not re-entrant. */
export interface VoiceDetector {
  createState(): VoiceState;
  /**
   * One frame (512 samples) of each of n streams in; the speech probability (0–1) of each out.
   * `states[i]` belongs to `frames[i]` and is advanced in place. A stream may appear only once in a call.
   */
  detect(frames: readonly Int16Array[], states: readonly VoiceState[]): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Result of decoding one message. */
export interface DecodedAudio {
  /** 16 kHz mono PCM; may be empty. Owned by the caller. */
  readonly pcm: Int16Array;
  /** That something in the message was not decodable and `pcm` is concealment there, or that nothing more will be. */
  readonly fault?: 'undecodable_packet' | 'unsupported_audio';
  /** Why the audio is unsupported. */
  readonly reason?: Refusal;
  /** Where a message is not one packet: of each packet that ended in it, whether it had to be concealed. */
  readonly concealed?: readonly boolean[];
}

/**
 * Turns the binary messages of one session into 16 kHz mono PCM. Deterministic: a decoder restored from a
 * snapshot, in any process, goes on with bit-identical output. Never throws for bad input.
 */
export interface AudioDecoder {
  decode(message: Uint8Array): DecodedAudio;
  /** A self-contained copy of the state. */
  snapshot(): Uint8Array;
  restore(snapshot: Uint8Array): void;
  /** Frees the decoder; idempotent. */
  close(): void;
}

export interface AudioDecoderFactory {
  /** Throws `LimitError` (`overloaded`) when the cap on live decoders is reached. */
  create(format: AudioFormat): AudioDecoder;
}

export type UtteranceEndReason = 'silence' | 'split' | 'flush' | 'audioStopped';

/** How a session wants its speech cut. All in ms of audio. */
export interface Endpointing {
  /** Trailing silence that ends an utterance; Infinity if only a flush is to end one. */
  readonly silenceMs: number;
  /** Longest utterance; a longer one is split at the quietest place near the limit. */
  readonly maxUtteranceMs: number;
}

/**
 * What comes out of a session's audio path, in order. Positions are 16 kHz samples since the session's origin.
 * `pcm` is contiguous from an utterance's `startSamples` until its end was decided; after a `split` the next
 * utterance starts inside what was already delivered.
 */
export type TrackEvent =
  | {
      readonly type: 'pcm';
      readonly startSamples: number;
      readonly pcm: Int16Array;
      /** Where the utterance ends if only silence follows; absent while somebody speaks. */
      readonly likelyEndSamples?: number;
    }
  | { readonly type: 'speechStart'; readonly startSamples: number; readonly decidedAtSamples: number }
  | {
      readonly type: 'speechEnd';
      readonly startSamples: number;
      readonly endSamples: number;
      readonly decidedAtSamples: number;
      /** Samples of frames judged to be speech; the silence guard's measure. */
      readonly speechSamples: number;
      readonly reason: UtteranceEndReason;
    }
  | {
      readonly type: 'fault';
      /** `poison` and `internal` come from the pool: the path has ended, and no event follows. */
      readonly code: 'undecodable_packet' | 'unsupported_audio' | 'poison' | 'internal';
      readonly count: number;
      /** Of `unsupported_audio`, where it is known. */
      readonly reason?: Refusal;
    }
  | { readonly type: 'flushed'; readonly id: string; readonly atSamples: number };

/** What goes into a session's audio path, in order. */
export type TrackInput =
  | { readonly type: 'audio'; readonly bytes: Uint8Array }
  /** End the utterance now; answered by a `flushed` event with the same id. */
  | { readonly type: 'flush'; readonly id: string }
  /** No audio came for a while: end an utterance in progress as if silence had followed. */
  | { readonly type: 'audioStopped' };

/** One judged frame: its speech probability (0–1) and its energy (mean square of samples scaled to ±1). */
export interface JudgedFrame {
  readonly probability: number;
  readonly energy: number;
}

export type SegmenterEvent = Extract<TrackEvent, { readonly type: 'speechStart' | 'speechEnd' }>;

/** Cuts one session's audio into utterances, frame by frame. Pure: no clock, no model, no I/O. */
export interface Segmenter {
  /** True between a `speechStart` and its `speechEnd`. */
  readonly inSpeech: boolean;
  /** Where the utterance in progress will end if only silence follows: known once nobody has spoken up to there. */
  readonly likelyEndSamples: number | undefined;
  /** The next frame of FRAME_SAMPLES. */
  push(frame: JudgedFrame): readonly SegmenterEvent[];
  /**
   * Ends an utterance in progress. `atSamples` is the end of the audio received so far: at most one frame after the
   * last frame pushed; the utterance may reach up to it. The position of later frames is not changed by it.
   */
  end(reason: 'flush' | 'audioStopped', atSamples: number): readonly SegmenterEvent[];
  /** A structured-cloneable copy of the state. */
  snapshot(): unknown;
}

export interface SegmenterFactory {
  /** How far before the frame just pushed an utterance that starts with it may reach back. */
  readonly lookbackSamples: number;
  create(endpointing: Endpointing, originSamples: number): Segmenter;
  /** Goes on exactly where `snapshot` was taken. */
  restore(endpointing: Endpointing, snapshot: unknown): Segmenter;
}
