/**
 * The audio vocabulary. Inside the server there is one form of audio: 16 kHz, mono, signed 16-bit PCM in an
 * `Int16Array`. A position in it is a count of samples since the start of the session's audio.
 */

/** Sample rate of all PCM inside the server, in Hz; both models were trained at it. */
export const SAMPLE_RATE_HZ = 16_000;

/** Samples in one voice-activity frame: Silero v5 takes exactly 512 samples (32 ms) at 16 kHz. */
export const FRAME_SAMPLES = 512;

/** Values that the voice detector keeps of a stream: 256 of its recurrent layer, then the last 64 samples. */
export const VOICE_STATE_VALUES = 256 + 64;

/** `opus`: each message is exactly one Opus packet (RFC 6716). The others are samples, cut anywhere. */
const BARE_ENCODINGS = ['opus', 'pcm_s16le', 'pcm_f32le', 'mulaw', 'alaw'] as const;
/** Containers, cut anywhere. `auto` is whichever of them the first bytes tell. */
const CONTAINER_ENCODINGS = ['ogg_opus', 'webm_opus', 'wav', 'auto'] as const;
/** Encodings a session can be opened with. */
export const AUDIO_ENCODINGS = [...BARE_ENCODINGS, ...CONTAINER_ENCODINGS] as const;
export type ContainerEncoding = (typeof CONTAINER_ENCODINGS)[number];
export type AudioEncoding = (typeof AUDIO_ENCODINGS)[number];

/** True if the bytes say themselves how they are to be read; how long a message lasts is known when it is decoded. */
export function isContainerEncoding(encoding: AudioEncoding): encoding is ContainerEncoding {
  return CONTAINER_ENCODINGS.some((name) => name === encoding);
}

/**
 * How a client's bytes are to be read. `sampleRateHz` (8,000–48,000) and `channels` (1 or 2, interleaved) describe bare
 * samples; Opus packets and containers carry their own. All become 16 kHz mono.
 */
export interface AudioFormat {
  readonly encoding: AudioEncoding;
  readonly sampleRateHz: number;
  readonly channels: number;
}

/** The parts as one. */
export function joinPcm(parts: readonly Int16Array[]): Int16Array<ArrayBuffer> {
  const pcm = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    pcm.set(part, offset);
    offset += part.length;
  }
  return pcm;
}

/** Converts a count of 16 kHz samples to ms (fractional). */
export function samplesToMs(samples: number): number {
  return (samples * 1000) / SAMPLE_RATE_HZ;
}

/** Converts ms to a whole count of 16 kHz samples, rounding to the nearest. */
export function msToSamples(ms: number): number {
  return Math.round((ms * SAMPLE_RATE_HZ) / 1000);
}

/** Scales 16-bit PCM to float samples in [-1, 1). */
export function toFloatPcm(pcm: Int16Array): Float32Array {
  const floats = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i++) floats[i] = (pcm[i] ?? 0) / 32_768;
  return floats;
}
