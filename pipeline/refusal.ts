/** Why the audio of a session is taken no further, and what its client should do instead. */

/** In words for the client; never with bytes of its own. The first three are of no container in particular. */
export const REFUSALS = {
  mismatch: 'too much of it cannot be decoded',
  unknown:
    'its first bytes are not those of Ogg, WebM or WAV: name `audio.encoding` if it is bare packets or samples',
  too_fast: 'one message holds more than a minute of audio; send it as it is spoken',
  ogg: 'this is Ogg: name `ogg_opus`, or no encoding',
  webm: 'this is WebM: name `webm_opus`, or no encoding',
  wav: 'this is WAV: name `wav`, or no encoding',
  mp4: 'this is MP4, which holds AAC: record `audio/webm;codecs=opus`, or send PCM',
  flac: 'this is FLAC: send Opus, WAV or PCM',
  mp3: 'this is MP3: send Opus, WAV or PCM',
  aac: 'this is AAC: send Opus, WAV or PCM',
  headerless: 'its header is missing: send the stream from its first byte on, in a session of its own',
  damaged: 'its structure is damaged',
  codec: 'its audio is not Opus',
  channels: 'its Opus audio has more than two channels or a mapping of its own',
  wav_format: 'its samples are not PCM of 8 to 32 bits, float, mu-law or A-law, of 8 to 192 kHz',
} as const;
export type Refusal = keyof typeof REFUSALS;

const NAMES = Object.keys(REFUSALS) as Refusal[];

/** The decoding of a message of a stream that is refused; `pcm` is what was decoded before. */
export interface RefusedAudio {
  readonly pcm: Int16Array;
  readonly fault: 'unsupported_audio';
  readonly reason: Refusal;
}

export function refused(reason: Refusal, pcm: Int16Array = new Int16Array(0)): RefusedAudio {
  return { pcm, fault: 'unsupported_audio', reason };
}

/** A refusal, or none, as a number for a snapshot. */
export function refusalCode(refusal: Refusal | undefined): number {
  return refusal === undefined ? 0 : NAMES.indexOf(refusal) + 1;
}

/** The refusal of a number that `refusalCode` gave. */
export function refusalOf(code = 0): Refusal | undefined {
  return NAMES[code - 1];
}
