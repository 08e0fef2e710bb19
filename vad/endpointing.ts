/** The constants and the arithmetic of cutting: what counts as voice, when speech begins and ends, where it is split. */
import { FRAME_SAMPLES, msToSamples } from '../pipeline/audio.ts';
import type { Endpointing, JudgedFrame } from '../pipeline/contracts.ts';

/** Probability at which voice begins; Silero's own default. */
const ENTER_PROBABILITY = 0.5;
/** Probability below which voice ends; Silero's own default is 0.15 under the enter threshold. */
const LEAVE_PROBABILITY = 0.35;

/**
 * Frames of voice on end that make speech. Measured: 223 of 228 short synthetic words (60 to 610 ms) had as many before
 * they ended, 2 had none at all; clicks, tones and noise never gave more than 1.
 */
export const SPEECH_MIN_FRAMES_COUNT = 3;
/**
 * The same when the speaker asks for an end: whoever says "done" has said something, and the frames that would prove
 * it may be still to come. One frame could be the click of the button.
 */
export const FLUSHED_SPEECH_MIN_FRAMES_COUNT = 2;

/**
 * Audio kept ahead of the first voiced frame. Unvoiced and unstressed onsets come up to 160 ms before the detector is
 * sure ("at" in "at that high level"); this is twice that. Measured with Moonshine tiny: without any, first
 * consonants are misread; from 96 ms on, more changes nothing beyond chance.
 */
const PRE_ROLL_SAMPLES = msToSamples(320);
/** Audio kept after the last voiced frame: the detector lets go before a final "t" or "s" has died away. */
export const POST_ROLL_SAMPLES = msToSamples(200);

/** How far before the frame just pushed an utterance that starts with it may reach back. */
export const LOOKBACK_SAMPLES = PRE_ROLL_SAMPLES + (SPEECH_MIN_FRAMES_COUNT - 1) * FRAME_SAMPLES;

/**
 * Frames on each side of a possible cut that decide how quiet it is there. The 192 ms together are longer than the
 * closure before a "p" or "t", so that the inside of a word is not taken for a pause.
 */
export const CUT_SIDE_FRAMES_COUNT = 3;
/** The stretch before the limit in which the quietest place is looked for: a few words, of which some pause. */
const CUT_WINDOW_MAX_SAMPLES = msToSamples(4_000);
/** Keeps the quietest place a matter of energy when every frame is far from speech. */
const CUT_PROBABILITY_FLOOR = 0.05;

/** A session's endpointing in samples. */
export interface EndpointingRules {
  /** Trailing silence that ends an utterance. */
  readonly silenceSamples: number;
  /** An utterance is split before it gets longer than this. */
  readonly utteranceMaxSamples: number;
  /** Length from which on an utterance's quietest place is looked for. At least half the maximum. */
  readonly cutFromSamples: number;
}

/** Converts a session's endpointing, which must be within its limits. */
export function endpointingRules({ silenceMs, maxUtteranceMs }: Endpointing): EndpointingRules {
  const utteranceMaxSamples = msToSamples(maxUtteranceMs);
  return {
    silenceSamples: msToSamples(silenceMs),
    utteranceMaxSamples,
    cutFromSamples:
      utteranceMaxSamples - Math.min(CUT_WINDOW_MAX_SAMPLES, Math.floor(utteranceMaxSamples / 2)),
  };
}

/** Whether a frame is voiced, given whether the one before it was. */
export function isVoiced(probability: number, wasVoiced: boolean): boolean {
  return probability >= (wasVoiced ? LEAVE_PROBABILITY : ENTER_PROBABILITY);
}

/** Start of an utterance whose voice began at `voiceSamples`; nothing before `floorSamples` is taken. */
export function utteranceStart(voiceSamples: number, floorSamples: number): number {
  return Math.max(floorSamples, voiceSamples - PRE_ROLL_SAMPLES);
}

/**
 * How loud and speech-like it is around a cut in the middle of `frames`: lower is better to cut at. A product, so that
 * the order of cuts depends neither on the gain of the microphone nor on a balance between the two.
 */
export function cutScore(frames: readonly JudgedFrame[]): number {
  let energy = 0;
  let probability = 0;
  for (const frame of frames) {
    energy += frame.energy;
    probability += frame.probability;
  }
  return energy * (CUT_PROBABILITY_FLOOR + probability / frames.length);
}
