/** Watches how much audio a session sends against real time. */
import { isContainerEncoding, samplesToMs, type AudioFormat } from './audio.ts';
import { LimitError } from './errors.ts';
import {
  AHEAD_OF_REALTIME_CLOSE_MS,
  AHEAD_OF_REALTIME_MAX_MS,
  CATCH_UP_RATIO,
  CONTAINER_MESSAGE_MAX_BYTES,
  CONTAINER_RATE_MAX_BYTES,
  FLOAT_MESSAGE_MAX_BYTES,
  OPUS_MESSAGE_MAX_BYTES,
  PCM_MESSAGE_MAX_BYTES,
} from './limits.ts';
import { readOpusPacket } from './codecs/opus_packet.ts';

/** Bytes of one sample, of encodings that are bare samples. */
const SAMPLE_BYTES = { pcm_s16le: 2, pcm_f32le: 4, mulaw: 1, alaw: 1 } as const;

/** Largest message of an encoding, in bytes. */
export function messageMaxBytes({ encoding }: AudioFormat): number {
  if (encoding === 'opus') return OPUS_MESSAGE_MAX_BYTES;
  if (isContainerEncoding(encoding)) return CONTAINER_MESSAGE_MAX_BYTES;
  return encoding === 'pcm_f32le' ? FLOAT_MESSAGE_MAX_BYTES : PCM_MESSAGE_MAX_BYTES;
}

/** Duration of the audio in one message, in ms, as its header or length claims; unknown in a container. */
function messageDurationMs(format: AudioFormat, bytes: Uint8Array): number | undefined {
  const { encoding, channels, sampleRateHz } = format;
  if (encoding === 'opus') return samplesToMs(readOpusPacket(bytes)?.durationSamples ?? 0);
  if (isContainerEncoding(encoding)) return undefined;
  return (1000 * bytes.length) / (SAMPLE_BYTES[encoding] * channels * sampleRateHz);
}

/** What audio fills and time drains, somewhat faster than audio is spoken. What it holds is how far a client is ahead. */
class Bucket {
  #aheadMs = 0;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  get aheadMs(): number {
    return this.#aheadMs;
  }

  forgive(stalledMs: number): void {
    this.#aheadMs -= stalledMs;
    this.#atMs += stalledMs;
  }

  /** Audio that comes now. Returns how far ahead that is. */
  add(ms: number, nowMs: number): number {
    this.#drain(nowMs);
    return (this.#aheadMs += ms);
  }

  /** Audio that came since the last time. Returns how far ahead that is. */
  addPast(ms: number, nowMs: number): number {
    this.#aheadMs += ms;
    this.#drain(nowMs);
    return this.#aheadMs;
  }

  /** Below zero lies only what was forgiven. */
  #drain(nowMs: number): void {
    const drainedMs = CATCH_UP_RATIO * (nowMs - this.#atMs);
    this.#aheadMs = Math.max(Math.min(0, this.#aheadMs), this.#aheadMs - drainedMs);
    this.#atMs = nowMs;
  }
}

function tooFast(): LimitError {
  return new LimitError(
    'too_fast',
    'audio is more than a minute ahead of real time; send it as it is spoken',
  );
}

/**
 * How far the client is ahead: some is normal (a burst after a reconnect, a recorded beginning), more is throttled,
 * much more is refused. What a message of a container holds is known when it was decoded, and counts from then on.
 * Until then, and where nothing in it is audio, its bytes count, at a rate that no audio has.
 */
export class InputMeter {
  readonly #format: AudioFormat;
  readonly #audio: Bucket;
  readonly #bytes: Bucket;
  #decodedMs = 0;
  #isThrottled = false;

  constructor(format: AudioFormat, nowMs: number) {
    this.#format = format;
    this.#audio = new Bucket(nowMs);
    this.#bytes = new Bucket(nowMs);
  }

  /** True while the client is ahead of what it may send at once: then a queue that is full is its own doing. */
  get isAhead(): boolean {
    return this.#isThrottled;
  }

  /** We did not listen for so long: the audio of that time comes now, all at once, and is not ahead of anything. */
  forgive(stalledMs: number): void {
    this.#audio.forgive(stalledMs);
    this.#bytes.forgive(stalledMs);
  }

  /**
   * Judges one message: `throttled` once each time the bound is passed, a `LimitError` when it must end the session.
   * `decodedMs` is all the audio that was decoded of the messages before it; it counts for containers.
   */
  judge(bytes: Uint8Array, nowMs: number, decodedMs = 0): 'accepted' | 'throttled' | LimitError {
    const maxBytes = messageMaxBytes(this.#format);
    if (bytes.length > maxBytes) {
      const what = `a message of ${this.#format.encoding} has at most ${maxBytes} bytes, got ${bytes.length}`;
      return new LimitError('message_too_large', what);
    }
    const durationMs = messageDurationMs(this.#format, bytes);
    const aheadMs =
      durationMs === undefined
        ? Math.max(this.#fillBytes(bytes.length, nowMs), this.#fillDecoded(decodedMs, nowMs))
        : this.#audio.add(durationMs, nowMs);
    if (aheadMs > AHEAD_OF_REALTIME_CLOSE_MS) {
      return tooFast();
    }
    const wasThrottled = this.#isThrottled;
    this.#isThrottled = aheadMs > AHEAD_OF_REALTIME_MAX_MS;
    return this.#isThrottled && !wasThrottled ? 'throttled' : 'accepted';
  }

  /** Judges what was decoded since: of a container that is known only now, and its client may have fallen silent. */
  judgeDecoded(decodedMs: number, nowMs: number): LimitError | undefined {
    if (!isContainerEncoding(this.#format.encoding)) return undefined;
    return this.#fillDecoded(decodedMs, nowMs) > AHEAD_OF_REALTIME_CLOSE_MS ? tooFast() : undefined;
  }

  #fillBytes(count: number, nowMs: number): number {
    return this.#bytes.add((1000 * count) / CONTAINER_RATE_MAX_BYTES, nowMs);
  }

  /** What was decoded since the last time was spoken while it was on its way, however long that took us. */
  #fillDecoded(decodedMs: number, nowMs: number): number {
    const newMs = decodedMs - this.#decodedMs;
    this.#decodedMs = decodedMs;
    return newMs > 0 ? this.#audio.addPast(newMs, nowMs) : this.#audio.aheadMs;
  }
}
