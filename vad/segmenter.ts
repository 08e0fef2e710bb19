/**
 * Cuts one session's audio into utterances, frame by frame: a state of plain data and three functions over it.
 * Positions are 16 kHz samples since the session's origin.
 */
import assert from 'node:assert/strict';
import { FRAME_SAMPLES } from '../pipeline/audio.ts';
import type {
  Endpointing,
  JudgedFrame,
  Segmenter,
  SegmenterEvent,
  SegmenterFactory,
  UtteranceEndReason,
} from '../pipeline/contracts.ts';
import {
  CUT_SIDE_FRAMES_COUNT,
  cutScore,
  type EndpointingRules,
  endpointingRules,
  FLUSHED_SPEECH_MIN_FRAMES_COUNT,
  isVoiced,
  LOOKBACK_SAMPLES,
  POST_ROLL_SAMPLES,
  SPEECH_MIN_FRAMES_COUNT,
  utteranceStart,
} from './endpointing.ts';

/** A frame, and what became of it. */
interface RecentFrame extends JudgedFrame {
  readonly isVoiced: boolean;
}

/** The quietest place of an utterance so far, and the utterance's voiced frames up to it. */
interface Cut {
  readonly atSamples: number;
  readonly score: number;
  readonly voicedCount: number;
}

/** An utterance in progress. */
interface OpenUtterance {
  readonly startSamples: number;
  voicedCount: number;
  /** End of the last voiced frame. */
  voiceEndSamples: number;
  cut: Cut | undefined;
}

/** Everything a segmenter knows. Advanced in place by whoever owns it. */
interface SegmenterState {
  /** End of the last frame pushed. */
  positionSamples: number;
  /** End of the last utterance, or the origin: the next one does not start before. */
  floorSamples: number;
  /** Voiced frames on end, up to and with the last; an utterance that ended is not counted. */
  voicedRunCount: number;
  utterance: OpenUtterance | undefined;
  /** The last frames, as many as stand around a cut. */
  recent: RecentFrame[];
}

const NO_EVENTS: readonly SegmenterEvent[] = [];

function initialState(originSamples: number): SegmenterState {
  return {
    positionSamples: originSamples,
    floorSamples: originSamples,
    voicedRunCount: 0,
    utterance: undefined,
    recent: [],
  };
}

function pushFrame(
  state: SegmenterState,
  frame: JudgedFrame,
  rules: EndpointingRules,
): readonly SegmenterEvent[] {
  const voiced = isVoiced(frame.probability, state.voicedRunCount > 0);
  state.positionSamples += FRAME_SAMPLES;
  state.voicedRunCount = voiced ? state.voicedRunCount + 1 : 0;
  state.recent.push({ probability: frame.probability, energy: frame.energy, isVoiced: voiced });
  if (state.recent.length > 2 * CUT_SIDE_FRAMES_COUNT) state.recent.shift();
  const { utterance } = state;
  if (utterance === undefined) {
    return state.voicedRunCount < SPEECH_MIN_FRAMES_COUNT ? NO_EVENTS : [openUtterance(state)];
  }
  if (voiced) {
    utterance.voicedCount++;
    utterance.voiceEndSamples = state.positionSamples;
  }
  if (state.positionSamples - utterance.voiceEndSamples >= rules.silenceSamples) {
    return [closeUtterance(state, utterance, { reason: 'silence', atSamples: state.positionSamples })];
  }
  noteCut(state, utterance, rules);
  const nextLength = state.positionSamples + FRAME_SAMPLES - utterance.startSamples;
  return nextLength > rules.utteranceMaxSamples ? splitUtterance(state, utterance) : NO_EVENTS;
}

/** The run of voiced frames that ends with the last frame becomes an utterance. */
function openUtterance(state: SegmenterState): SegmenterEvent {
  const { positionSamples, voicedRunCount } = state;
  const voiceSamples = positionSamples - voicedRunCount * FRAME_SAMPLES;
  const startSamples = utteranceStart(voiceSamples, state.floorSamples);
  state.utterance = {
    startSamples,
    voicedCount: voicedRunCount,
    voiceEndSamples: positionSamples,
    cut: undefined,
  };
  return { type: 'speechStart', startSamples, decidedAtSamples: positionSamples };
}

interface Ending {
  readonly reason: UtteranceEndReason;
  /** End of the audio there is. */
  readonly atSamples: number;
}

/** Ends the utterance where its voice has died away, or where the audio ends. */
function closeUtterance(state: SegmenterState, utterance: OpenUtterance, ending: Ending): SegmenterEvent {
  const endSamples = Math.min(ending.atSamples, utterance.voiceEndSamples + POST_ROLL_SAMPLES);
  state.utterance = undefined;
  state.floorSamples = endSamples;
  state.voicedRunCount = 0;
  return speechEnd(utterance, { ...ending, endSamples });
}

/** Ends the utterance at its quietest place and, if there was voice since, goes on with the next from there. */
function splitUtterance(state: SegmenterState, utterance: OpenUtterance): readonly SegmenterEvent[] {
  const { positionSamples } = state;
  const { cut } = utterance;
  assert(cut !== undefined, 'the window for cuts is longer than the frames around one');
  const voicedAfterCount = utterance.voicedCount - cut.voicedCount;
  if (voicedAfterCount === 0) {
    return [closeUtterance(state, utterance, { reason: 'split', atSamples: positionSamples })];
  }
  const startSamples = cut.atSamples;
  state.utterance = {
    startSamples,
    voicedCount: voicedAfterCount,
    voiceEndSamples: utterance.voiceEndSamples,
    cut: undefined,
  };
  return [
    speechEnd(
      { startSamples: utterance.startSamples, voicedCount: cut.voicedCount },
      { reason: 'split', atSamples: positionSamples, endSamples: startSamples },
    ),
    { type: 'speechStart', startSamples, decidedAtSamples: positionSamples },
  ];
}

function speechEnd(
  { startSamples, voicedCount }: Pick<OpenUtterance, 'startSamples' | 'voicedCount'>,
  { reason, atSamples, endSamples }: Ending & { readonly endSamples: number },
): SegmenterEvent {
  return {
    type: 'speechEnd',
    startSamples,
    endSamples,
    decidedAtSamples: atSamples,
    speechSamples: voicedCount * FRAME_SAMPLES,
    reason,
  };
}

/** Looks at the cut in the middle of the last frames; of equally quiet ones the latest is kept. */
function noteCut(state: SegmenterState, utterance: OpenUtterance, rules: EndpointingRules): void {
  const atSamples = state.positionSamples - CUT_SIDE_FRAMES_COUNT * FRAME_SAMPLES;
  if (atSamples - utterance.startSamples < rules.cutFromSamples) return;
  const score = cutScore(state.recent);
  if (utterance.cut !== undefined && score > utterance.cut.score) return;
  let voicedCount = utterance.voicedCount;
  for (const frame of state.recent.slice(-CUT_SIDE_FRAMES_COUNT)) if (frame.isVoiced) voicedCount--;
  utterance.cut = { atSamples, score, voicedCount };
}

/** Ends what is being said; a run of voice that is no utterance yet becomes one if it is long enough for that. */
function endSpeech(
  state: SegmenterState,
  reason: 'flush' | 'audioStopped',
  atSamples: number,
): readonly SegmenterEvent[] {
  const unjudgedSamples = atSamples - state.positionSamples;
  assert(unjudgedSamples >= 0 && unjudgedSamples <= FRAME_SAMPLES, 'at most one frame is not judged yet');
  const events: SegmenterEvent[] = [];
  if (state.utterance === undefined && state.voicedRunCount >= FLUSHED_SPEECH_MIN_FRAMES_COUNT) {
    events.push({ ...openUtterance(state), decidedAtSamples: atSamples });
  }
  if (state.utterance !== undefined) {
    events.push(closeUtterance(state, state.utterance, { reason, atSamples }));
  }
  return events;
}

/** Owns one state. */
class FrameSegmenter implements Segmenter {
  readonly #rules: EndpointingRules;
  readonly #state: SegmenterState;

  constructor(endpointing: Endpointing, state: SegmenterState) {
    this.#rules = endpointingRules(endpointing);
    this.#state = state;
  }

  get inSpeech(): boolean {
    return this.#state.utterance !== undefined;
  }

  get likelyEndSamples(): number | undefined {
    const { utterance, positionSamples } = this.#state;
    if (utterance === undefined) return undefined;
    const endSamples = utterance.voiceEndSamples + POST_ROLL_SAMPLES;
    return endSamples <= positionSamples ? endSamples : undefined;
  }

  push(frame: JudgedFrame): readonly SegmenterEvent[] {
    return pushFrame(this.#state, frame, this.#rules);
  }

  end(reason: 'flush' | 'audioStopped', atSamples: number): readonly SegmenterEvent[] {
    return endSpeech(this.#state, reason, atSamples);
  }

  snapshot(): unknown {
    return structuredClone(this.#state);
  }
}

function isState(snapshot: unknown): snapshot is SegmenterState {
  return typeof snapshot === 'object' && snapshot !== null && 'voicedRunCount' in snapshot;
}

/**
 * Makes segmenters with the constants that suit Silero's probabilities. A snapshot must be one that a segmenter of
 * this same version took.
 */
export const SILERO_SEGMENTERS: SegmenterFactory = {
  lookbackSamples: LOOKBACK_SAMPLES,
  create: (endpointing, originSamples) => new FrameSegmenter(endpointing, initialState(originSamples)),
  restore(endpointing, snapshot) {
    assert(isState(snapshot), 'a segmenter is restored from its own snapshot');
    return new FrameSegmenter(endpointing, structuredClone(snapshot));
  },
};
