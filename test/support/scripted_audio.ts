/** Audio parts that a test understands by heart, and the real audio worker run inside fake processes. */
import { VOICE_STATE_VALUES } from '../../pipeline/audio.ts';
import { AudioWorker } from '../../pipeline/audio_worker.ts';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import type { TrackParts } from '../../pipeline/audio_track.ts';
import type { Clock } from '../../pipeline/clock.ts';
import type { AudioDecoder, DecodedAudio, VoiceDetector } from '../../pipeline/contracts.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';
import { settle } from './fake_clock.ts';
import { actHealthy, type FakeProcess } from './fake_worker.ts';

/** Samples that one byte of a scripted message stands for: 4 ms. */
export const SAMPLES_PER_BYTE = 64;
/** From this value on a byte is voice; below it is silence. */
const VOICE_BYTE = 128;
/** A message that begins with this byte cannot be decoded. */
const BAD_BYTE = 255;

/** Every sample depends on all bytes before it, so that a wrongly restored state is heard for ever. */
class ScriptedDecoder implements AudioDecoder {
  #state = 1;

  decode(message: Uint8Array): DecodedAudio {
    const isBad = message[0] === BAD_BYTE;
    const pcm = new Int16Array(message.length * SAMPLES_PER_BYTE);
    message.forEach((byte, index) => {
      this.#state = (this.#state * 31 + byte) % 1_009;
      const level = byte >= VOICE_BYTE && !isBad ? 8_000 : 0;
      pcm.fill(level + this.#state, index * SAMPLES_PER_BYTE, (index + 1) * SAMPLES_PER_BYTE);
    });
    return isBad ? { pcm, fault: 'undecodable_packet' } : { pcm };
  }

  snapshot(): Uint8Array {
    return Uint8Array.of(this.#state >> 8, this.#state & 255);
  }

  restore(snapshot: Uint8Array): void {
    this.#state = ((snapshot[0] ?? 0) << 8) | (snapshot[1] ?? 0);
  }

  close(): void {
    this.#state = 0;
  }
}

/** Voice is what is loud, remembered over a few frames in the stream's state. */
class ScriptedDetector implements VoiceDetector {
  #callCount = 0;

  createState(): Float32Array {
    return new Float32Array(VOICE_STATE_VALUES);
  }

  /** Every third call takes a turn of the event loop: messages come in between, as they do while a model runs. */
  async detect(frames: readonly Int16Array[], states: readonly Float32Array[]): Promise<Float32Array> {
    if (this.#callCount++ % 3 === 0) await settle();
    return Float32Array.from(frames, (frame, index) => {
      const state = states[index] ?? new Float32Array(1);
      let loudCount = 0;
      for (const sample of frame) if (sample >= 8_000) loudCount++;
      state[0] = 0.4 * (state[0] ?? 0) + (0.6 * loudCount) / frame.length;
      return state[0];
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A message that begins with this byte does to a worker what a test says. */
export const POISON_BYTE = 254;

/** The audio of a session at this rate is poison from the outset, where a test says so. */
export const POISON_RATE_HZ = 8_000;

/** What of a session is poison: messages that begin with POISON_BYTE, or a step in a session at POISON_RATE_HZ. */
export type PoisonPlace = 'message' | 'open' | 'restore';

/** Scripted decoders that call `onPoison` for all that is poison, before they go on like any others. */
export function poisonableDecoders(
  onPoison: () => void,
  place: PoisonPlace = 'message',
): TrackParts['decoders'] {
  return {
    create: ({ sampleRateHz }) => {
      const decoder = new ScriptedDecoder();
      if (sampleRateHz === POISON_RATE_HZ) {
        if (place === 'open') onPoison();
        const restore = decoder.restore.bind(decoder);
        decoder.restore = (snapshot) => {
          if (place === 'restore') onPoison();
          restore(snapshot);
        };
      }
      const decode = decoder.decode.bind(decoder);
      decoder.decode = (message) => {
        if (place === 'message' && message[0] === POISON_BYTE) onPoison();
        return decode(message);
      };
      return decoder;
    },
  };
}

/** Scripted decoder and detector, real segmenter. */
export function scriptedParts(): TrackParts {
  return {
    decoders: { create: () => new ScriptedDecoder() },
    detector: new ScriptedDetector(),
    segmenters: SILERO_SEGMENTERS,
  };
}

/**
 * Makes a fake process an audio worker: the real one, with scripted parts. Every message of a track, in and out, goes
 * through `cross`, which calls `pass` or loses the message.
 */
export function actAudioWorker(
  process: FakeProcess<AudioRequest, AudioReply>,
  options: {
    readonly clock: Clock;
    readonly cross?: (pass: () => void) => void;
    readonly decoders?: TrackParts['decoders'];
    /** Default: a failed track is a fault of ours. */
    readonly onTrackFailed?: (error: unknown) => void;
  },
): AudioWorker {
  const { clock, cross = passAlways, decoders, onTrackFailed = refuse } = options;
  const worker = new AudioWorker({
    parts: { ...scriptedParts(), ...(decoders === undefined ? {} : { decoders }) },
    clock,
    cpuMs: () => 0,
    reply: (message) => {
      cross(() => {
        process.reply(message);
      });
    },
    onTrackFailed,
  });
  actHealthy(process, (request) => {
    cross(() => {
      void worker.receive(request);
    });
  });
  return worker;
}

function refuse(error: unknown): void {
  throw error;
}

function passAlways(pass: () => void): void {
  pass();
}
