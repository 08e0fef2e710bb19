/**
 * The codec and the voice detector of the simulation: they know from the packets and the watermarks what comes next, and
 * report when it does not. Both keep a state that must survive a checkpoint.
 */
import { FRAME_SAMPLES } from '../../pipeline/audio.ts';
import type { TrackParts } from '../../pipeline/audio_track.ts';
import type {
  AudioDecoder,
  AudioDecoderFactory,
  DecodedAudio,
  VoiceDetector,
  VoiceState,
} from '../../pipeline/contracts.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';
import { decodePacket, isSpeechFrame, markedPcm, readSpan } from './watermark.ts';

/** Tells of a broken rule. */
export type Accuse = (rule: string, detail: string) => void;

/** Samples that stand for a packet that could not be read. */
const CONCEALED_SAMPLES = 320;
const UNKNOWN_CLIENT = 0;

class ScriptedDecoder implements AudioDecoder {
  readonly #accuse: Accuse;
  readonly #onClosed: () => void;
  #client = UNKNOWN_CLIENT;
  #nextIndex = 0;
  #positionSamples = 0;
  #isClosed = false;

  constructor(accuse: Accuse, onClosed: () => void) {
    this.#accuse = accuse;
    this.#onClosed = onClosed;
  }

  decode(message: Uint8Array): DecodedAudio {
    if (this.#isClosed) this.#accuse('I3', 'a closed decoder was used');
    const packet = decodePacket(message);
    if (packet === undefined) {
      return { pcm: this.#emit(CONCEALED_SAMPLES, false), fault: 'undecodable_packet' };
    }
    if (this.#client === UNKNOWN_CLIENT) {
      this.#client = packet.client;
      // A resumed session begins in the middle.
      this.#nextIndex = packet.index;
    }
    if (packet.client !== this.#client || packet.index !== this.#nextIndex) {
      this.#accuse(
        'I3',
        `decoder of client ${this.#client} at packet ${this.#nextIndex} got packet ${packet.index} of client ${packet.client}`,
      );
    }
    this.#nextIndex = packet.index + 1;
    return { pcm: this.#emit(packet.durationSamples, packet.isSpeech) };
  }

  snapshot(): Uint8Array {
    const numbers = Float64Array.of(this.#client, this.#nextIndex, this.#positionSamples);
    return new Uint8Array(numbers.buffer);
  }

  restore(snapshot: Uint8Array): void {
    const [client, nextIndex, positionSamples] = new Float64Array(snapshot.slice().buffer);
    this.#client = client ?? 0;
    this.#nextIndex = nextIndex ?? 0;
    this.#positionSamples = positionSamples ?? 0;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClosed();
  }

  #emit(samples: number, isSpeech: boolean): Int16Array {
    const startSamples = this.#positionSamples;
    this.#positionSamples += samples;
    return markedPcm({ client: this.#client, startSamples, endSamples: this.#positionSamples }, isSpeech);
  }
}

/** Makes scripted decoders and counts those that are open. */
export class ScriptedDecoders implements AudioDecoderFactory {
  readonly #accuse: Accuse;
  #openCount = 0;

  constructor(accuse: Accuse) {
    this.#accuse = accuse;
  }

  get openCount(): number {
    return this.#openCount;
  }

  create(): AudioDecoder {
    this.#openCount++;
    return new ScriptedDecoder(this.#accuse, () => {
      this.#openCount--;
    });
  }
}

/**
 * Judges one frame by its marks. The state holds the number of the next frame, and the client plus one; two frames that do
 * not follow one another are reported.
 */
export function judgeFrame(frame: Int16Array, state: VoiceState, accuse: Accuse): number {
  const span = readSpan(frame);
  if (span === undefined) {
    accuse('I3', 'a frame is not one unbroken span of one client');
    return 0;
  }
  const frameIndex = state[0] ?? 0;
  if (span.startSamples !== frameIndex * FRAME_SAMPLES) {
    accuse(
      'I3',
      `client ${span.client}: frame ${frameIndex} was expected, position ${span.startSamples} came`,
    );
  }
  // A stream that began with unreadable packets has no name yet.
  const known = (state[1] ?? 0) - 1;
  if (known > UNKNOWN_CLIENT && known !== span.client) {
    accuse('I3', `a frame of client ${span.client} in the stream of client ${known}`);
  }
  state[0] = frameIndex + 1;
  state[1] = span.client + 1;
  const shade = ((span.client * 7 + frameIndex * 13) % 16) / 16;
  return isSpeechFrame(frame) ? 0.55 + 0.4 * shade : 0.3 * shade;
}

/** The parts of a track, with this detector. */
export function scriptedParts(decoders: AudioDecoderFactory, detect: VoiceDetector['detect']): TrackParts {
  return {
    decoders,
    detector: { createState: () => new Float32Array(2), detect, close: () => Promise.resolve() },
    segmenters: SILERO_SEGMENTERS,
  };
}
