/**
 * The native protocol, version 1, as types: what travels over `ws://host/v1/stream`. Text frames carry one of these
 * messages as JSON, binary frames carry audio. SPEC.md has the rules. Positions (`…AudioMs`) are ms of audio since
 * the start of the session's audio, not wall time.
 */

/** Version named in `start` and understood by this server. */
export const PROTOCOL_VERSION = 1;
/** Path of the native protocol. */
export const STREAM_PATH = '/v1/stream';
/** Path of a plain GET whose answer is a `ServerStatus`. */
export const STATUS_PATH = '/v1/status';

/** Whether a new session would be let in. Browsers hide from pages why a WebSocket was refused; this they show. */
export interface ServerStatus {
  readonly status: 'ready' | 'busy';
  /** Of a busy server: when to try again. */
  readonly retryAfterSeconds?: number;
  /** Whether sessions need an API key or a token. */
  readonly needsKey: boolean;
}

/** One Opus packet per message, or samples cut anywhere: of each message it is known how long it lasts. */
export type BareEncoding = 'opus' | 'pcm_s16le' | 'pcm_f32le' | 'mulaw' | 'alaw';
/** A stream with a header, cut anywhere. `auto`: whichever of them its first bytes tell. */
export type ContainerEncoding = 'ogg_opus' | 'webm_opus' | 'wav' | 'auto';

/** How the audio is sent. */
export interface AudioSettings {
  /** Default `auto`. */
  readonly encoding?: BareEncoding | ContainerEncoding;
  /** 8,000–48,000; of bare samples, default 16,000. */
  readonly sampleRateHz?: number;
  /** 1 or 2 (interleaved; mixed down); of bare samples, default 1. */
  readonly channels?: number;
}

/** Opens the session; everything has a default. The same fields work as query parameters. */
export interface StartMessage {
  readonly type: 'start';
  readonly version: 1;
  readonly audio?: AudioSettings;
  /** API key or token, where the server asks for one and the request that opened the socket had none. */
  readonly token?: string;
  readonly model?: string;
  readonly language?: string;
  /** Default true. */
  readonly partials?: boolean;
  readonly endpointing?: { readonly silenceMs?: number; readonly maxUtteranceMs?: number };
  /** Default false: whether finals carry words with estimated times. */
  readonly words?: boolean;
  /** Continues an earlier session: the audio that follows starts at `fromAudioMs` of it. */
  readonly resume?: {
    readonly sessionId: string;
    readonly fromAudioMs: number;
    readonly nextUtteranceId: number;
  };
}
/** Ends the utterance now and keeps the stream open; answered by `flushed` after every final before it. */
export interface FlushMessage {
  readonly type: 'flush';
  readonly id: string;
}
/** Asks for the finals of everything received; answered by `done` and close code 1000. */
export interface StopMessage {
  readonly type: 'stop';
}
/** Resets the idle timer of a client that has no audio to send. */
export interface KeepAliveMessage {
  readonly type: 'keepAlive';
}
export type ClientMessage = StartMessage | FlushMessage | StopMessage | KeepAliveMessage;

/** The session is open. */
export interface ReadyMessage {
  readonly type: 'ready';
  readonly version: 1;
  readonly sessionId: string;
  readonly model: string;
  /** The limits in force for this session. */
  readonly limits: {
    readonly messageMaxBytes: number;
    readonly idleMaxMs: number;
    readonly sessionMaxMs: number;
    /** Audio that may be sent ahead of real time … */
    readonly aheadOfRealtimeMaxMs: number;
    /** … and how fast that allowance fills up again, in seconds of audio a second. */
    readonly catchUpRatio: number;
  };
  /** The settings in force, defaults filled in. */
  readonly endpointing: { readonly silenceMs: number; readonly maxUtteranceMs: number };
}
/** Somebody began to speak. `audioMs` is where the utterance's audio begins (pre-roll included). */
export interface SpeechStartMessage {
  readonly type: 'speechStart';
  readonly utteranceId: number;
  readonly audioMs: number;
}
/** The utterance's end was decided; its final follows. */
export interface SpeechEndMessage {
  readonly type: 'speechEnd';
  readonly utteranceId: number;
  readonly audioMs: number;
}
/** The whole utterance so far. Replaces the partial before it. */
export interface PartialMessage {
  readonly type: 'partial';
  readonly utteranceId: number;
  /** 1, 2, 3 … within the utterance. */
  readonly revision: number;
  readonly text: string;
  /** Length of the prefix of `text`, in UTF-16 units, that two successive hypotheses agreed on. */
  readonly stableLength: number;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
}
/** A word with its place in the audio; `estimated` is true where the model gives no times. */
export interface Word {
  readonly text: string;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly estimated: boolean;
}
/** Text that will not change. Exactly one per utterance; empty when the utterance held no words. */
export interface FinalMessage {
  readonly type: 'final';
  readonly utteranceId: number;
  readonly text: string;
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly words?: readonly Word[];
  /** The client may forget its audio before this position; a resumed session starts here. */
  readonly ackedAudioMs: number;
}
export type NoticeCode =
  'packets_lost' | 'utterance_failed' | 'partials_suspended' | 'partials_resumed' | 'input_throttled';
/** Something the client may want to know; the session lives on. */
export interface NoticeMessage {
  readonly type: 'notice';
  readonly code: NoticeCode;
  readonly message: string;
  readonly utteranceId?: number;
}
/**
 * The session ends here: reconnect and send `resume` as given. Audio is heard for `deadlineMs` more at most, 0 where nobody
 * speaks; finals for what was heard still follow, then `done` and close code 1012.
 */
export interface GoAwayMessage {
  readonly type: 'goAway';
  readonly deadlineMs: number;
  readonly resume: NonNullable<StartMessage['resume']>;
}
/** Every final for audio received before the `flush` of this id has been sent. */
export interface FlushedMessage {
  readonly type: 'flushed';
  readonly id: string;
}
/** Every final has been sent; close code 1000 follows. */
export interface DoneMessage {
  readonly type: 'done';
}
/** The session ends; a close code follows. */
export interface ErrorMessage {
  readonly type: 'error';
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}
export type ServerMessage =
  | ReadyMessage
  | SpeechStartMessage
  | SpeechEndMessage
  | PartialMessage
  | FinalMessage
  | NoticeMessage
  | GoAwayMessage
  | FlushedMessage
  | DoneMessage
  | ErrorMessage;
