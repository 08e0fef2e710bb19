/** Watches how much audio a session sends against real time, before anything is decoded. */
import { samplesToMs, type AudioFormat } from './audio.ts';
import { LimitError } from './errors.ts';
import {
  AHEAD_OF_REALTIME_CLOSE_MS,
  AHEAD_OF_REALTIME_MAX_MS,
  OPUS_MESSAGE_MAX_BYTES,
  PCM_MESSAGE_MAX_BYTES,
} from './limits.ts';
import { readOpusPacket } from './opus_packet.ts';

/** Largest message of an encoding, in bytes. */
export function messageMaxBytes(format: AudioFormat): number {
  return format.encoding === 'opus' ? OPUS_MESSAGE_MAX_BYTES : PCM_MESSAGE_MAX_BYTES;
}

/** Duration of the audio in one message, in ms, as its header or length claims. */
function messageDurationMs(format: AudioFormat, bytes: Uint8Array): number {
  if (format.encoding === 'opus') return samplesToMs(readOpusPacket(bytes)?.durationSamples ?? 0);
  return (bytes.length * 1000) / (2 * format.channels * format.sampleRateHz);
}

/**
 * A bucket that audio fills and real time drains. What it holds is how far the client is ahead: some is normal
 * (a burst after a reconnect, a recorded beginning), more is throttled, much more is refused.
 */
export class InputMeter {
  readonly #format: AudioFormat;
  #aheadMs = 0;
  #judgedAtMs: number;
  #isThrottled = false;

  constructor(format: AudioFormat, nowMs: number) {
    this.#format = format;
    this.#judgedAtMs = nowMs;
  }

  /** We did not listen for so long: the audio of that time comes now, all at once, and is not ahead of anything. */
  forgive(stalledMs: number): void {
    this.#aheadMs -= stalledMs;
    this.#judgedAtMs += stalledMs;
  }

  /** Judges one message: `throttled` once each time the bound is passed, a `LimitError` when it must end the session. */
  judge(bytes: Uint8Array, nowMs: number): 'accepted' | 'throttled' | LimitError {
    const maxBytes = messageMaxBytes(this.#format);
    if (bytes.length > maxBytes) {
      const what = `a message of ${this.#format.encoding} has at most ${maxBytes} bytes, got ${bytes.length}`;
      return new LimitError('message_too_large', what);
    }
    // Below zero lies only what was forgiven.
    this.#aheadMs = Math.max(Math.min(0, this.#aheadMs), this.#aheadMs - (nowMs - this.#judgedAtMs));
    this.#judgedAtMs = nowMs;
    this.#aheadMs += messageDurationMs(this.#format, bytes);
    if (this.#aheadMs > AHEAD_OF_REALTIME_CLOSE_MS) {
      return new LimitError(
        'too_fast',
        'audio is more than a minute ahead of real time; send it as it is spoken',
      );
    }
    const wasThrottled = this.#isThrottled;
    this.#isThrottled = this.#aheadMs > AHEAD_OF_REALTIME_MAX_MS;
    return this.#isThrottled && !wasThrottled ? 'throttled' : 'accepted';
  }
}
