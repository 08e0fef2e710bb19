import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FRAME_SAMPLES, msToSamples } from '../../pipeline/audio.ts';
import type { Endpointing, JudgedFrame, Segmenter, SegmenterEvent } from '../../pipeline/contracts.ts';
import { SILENCE_MAX_MS, SILENCE_MIN_MS, UTTERANCE_MAX_MS, UTTERANCE_MIN_MS } from '../../pipeline/limits.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';

/** A failure prints its seed and path; both go in here to run it again. */
const RUNS: fc.Parameters<unknown> = { numRuns: 400 };

type Step =
  | ({ readonly type: 'frame' } & JudgedFrame)
  | { readonly type: 'end'; readonly reason: 'flush' | 'audioStopped'; readonly extraSamples: number };

interface Scenario {
  readonly endpointing: Endpointing;
  readonly originSamples: number;
  readonly steps: readonly Step[];
}

const level = fc.constantFrom(0, 0.2, 0.34, 0.35, 0.45, 0.5, 0.7, 1);
/** Runs of alike frames: independent ones would hardly ever be speech for long. */
const run = fc.record({
  length: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 300 })),
  probability: level,
  jitter: fc.constantFrom(0, 0.1),
  energies: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }),
});
const framesStep = run.map(({ length, probability, jitter, energies }) =>
  Array.from({ length }, (_, i): Step => {
    const wobble = i % 2 === 0 ? jitter : -jitter;
    return {
      type: 'frame',
      probability: Math.min(1, Math.max(0, probability + wobble)),
      energy: energies[i % energies.length] ?? 0,
    };
  }),
);
const endStep = fc
  .record({
    type: fc.constant('end' as const),
    reason: fc.constantFrom('flush' as const, 'audioStopped' as const),
    extraSamples: fc.integer({ min: 0, max: FRAME_SAMPLES - 1 }),
  })
  .map((step): Step[] => [step]);
const scenario: fc.Arbitrary<Scenario> = fc.record({
  endpointing: fc.record({
    silenceMs: fc.integer({ min: SILENCE_MIN_MS, max: SILENCE_MAX_MS }),
    maxUtteranceMs: fc.oneof(
      fc.integer({ min: UTTERANCE_MIN_MS, max: 4_000 }),
      fc.integer({ min: UTTERANCE_MIN_MS, max: UTTERANCE_MAX_MS }),
    ),
  }),
  originSamples: fc.integer({ min: 0, max: 1_000_000 }),
  steps: fc
    .array(fc.oneof({ arbitrary: framesStep, weight: 5 }, { arbitrary: endStep, weight: 1 }), {
      maxLength: 20,
    })
    .map((parts) => parts.flat()),
});

interface Utterance {
  readonly startSamples: number;
  readonly endSamples: number;
  readonly startDecidedAtSamples: number;
  readonly endDecidedAtSamples: number;
  readonly speechSamples: number;
  readonly reason: string;
  /** Index of the step that ended it. */
  readonly step: number;
}

/** What a scenario came to. `open` is the start of an utterance in progress at its end. */
interface Outcome {
  readonly events: readonly SegmenterEvent[];
  readonly utterances: readonly Utterance[];
  readonly open: SegmenterEvent | undefined;
}

function apply(segmenter: Segmenter, step: Step, pushedSamples: number): readonly SegmenterEvent[] {
  return step.type === 'frame'
    ? segmenter.push(step)
    : segmenter.end(step.reason, pushedSamples + step.extraSamples);
}

/** Plays a scenario; every event is checked to be in its turn. `restoreAt`: the step before which to move house. */
function play({ endpointing, originSamples, steps }: Scenario, restoreAt = -1): Outcome {
  let segmenter = SILERO_SEGMENTERS.create(endpointing, originSamples);
  let positionSamples = originSamples;
  const events: SegmenterEvent[] = [];
  const utterances: Utterance[] = [];
  let open: SegmenterEvent | undefined;
  for (const [index, step] of steps.entries()) {
    if (index === restoreAt) segmenter = SILERO_SEGMENTERS.restore(endpointing, segmenter.snapshot());
    const news = apply(segmenter, step, positionSamples);
    if (step.type === 'frame') positionSamples += FRAME_SAMPLES;
    for (const event of news) {
      events.push(event);
      if (event.type === 'speechStart') {
        assert.equal(open, undefined, 'an utterance begins when the one before has ended');
        open = event;
        continue;
      }
      assert.equal(open?.startSamples, event.startSamples, 'an utterance ends that has begun');
      const { startSamples, endSamples, speechSamples, reason } = event;
      const [startDecidedAtSamples, endDecidedAtSamples] = [open.decidedAtSamples, event.decidedAtSamples];
      const decided = { startDecidedAtSamples, endDecidedAtSamples };
      utterances.push({ startSamples, endSamples, speechSamples, reason, step: index, ...decided });
      open = undefined;
    }
    assert.equal(segmenter.inSpeech, open !== undefined);
  }
  return { events, utterances, open };
}

/** Runs of at least three frames that are voiced whatever came before, as positions. */
function surelyVoiced({ originSamples, steps }: Scenario): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  let [position, count] = [originSamples, 0];
  const note = (): void => {
    if (count >= 3) runs.push({ from: position - count * FRAME_SAMPLES, to: position });
    count = 0;
  };
  for (const step of steps) {
    // An end is no matter of the detector's: what is voiced on both sides of it counts on each side alone.
    if (step.type === 'end' || step.probability < 0.5) note();
    else count++;
    if (step.type === 'frame') position += FRAME_SAMPLES;
  }
  note();
  return runs;
}

function check(property: (scenario: Scenario) => void): void {
  fc.assert(fc.property(scenario, property), RUNS);
}

describe('any sequence of frames, flushes and stops', () => {
  it('[SEG11] utterances are in order, do not overlap, and are not empty', () => {
    check((given) => {
      let floorSamples = given.originSamples;
      for (const { startSamples, endSamples, endDecidedAtSamples } of play(given).utterances) {
        assert.ok(startSamples >= floorSamples);
        assert.ok(endSamples > startSamples);
        assert.ok(endDecidedAtSamples >= endSamples);
        floorSamples = endSamples;
      }
    });
  });

  it('[SEG12] no utterance is longer than maxUtteranceMs', () => {
    check((given) => {
      const maxSamples = msToSamples(given.endpointing.maxUtteranceMs);
      for (const { startSamples, endDecidedAtSamples } of play(given).utterances) {
        assert.ok(endDecidedAtSamples - startSamples <= maxSamples);
      }
    });
  });

  it('[SEG13] every run of at least three voiced frames is inside utterances', () => {
    check((given) => {
      const { utterances, open } = play(given);
      const spans = utterances.map(({ startSamples, endSamples }) => ({
        from: startSamples,
        to: endSamples,
      }));
      if (open !== undefined) spans.push({ from: open.startSamples, to: Infinity });
      for (const { from, to } of surelyVoiced(given)) {
        let coveredTo = from;
        for (const span of spans) if (span.from <= coveredTo && span.to > coveredTo) coveredTo = span.to;
        assert.ok(coveredTo >= to, `voice from ${from} to ${to} is covered to ${coveredTo}`);
      }
    });
  });

  it('[SEG14] an utterance never reaches further back than the look-back, but for a split', () => {
    check((given) => {
      let previous: SegmenterEvent | undefined;
      for (const event of play(given).events) {
        const isAfterSplit = previous?.type === 'speechEnd' && previous.reason === 'split';
        if (
          event.type === 'speechStart' &&
          !(isAfterSplit && previous?.decidedAtSamples === event.decidedAtSamples)
        ) {
          const backSamples = event.decidedAtSamples - event.startSamples;
          assert.ok(backSamples <= SILERO_SEGMENTERS.lookbackSamples + FRAME_SAMPLES);
        }
        previous = event;
      }
    });
  });

  it('[SEG15] the reason of an end is what ended it', () => {
    check((given) => {
      const silenceSamples = msToSamples(given.endpointing.silenceMs);
      const maxSamples = msToSamples(given.endpointing.maxUtteranceMs);
      for (const utterance of play(given).utterances) {
        const step = given.steps[utterance.step];
        const lengthSamples = utterance.endDecidedAtSamples - utterance.startSamples;
        if (step?.type === 'end') assert.equal(utterance.reason, step.reason);
        else if (utterance.reason === 'split') assert.ok(lengthSamples + FRAME_SAMPLES > maxSamples);
        else {
          assert.equal(utterance.reason, 'silence');
          const silentFrames = given.steps
            .slice(0, utterance.step + 1)
            .slice(-Math.ceil(silenceSamples / FRAME_SAMPLES));
          assert.ok(silentFrames.every((frame) => frame.type === 'end' || frame.probability < 0.5));
        }
      }
    });
  });

  it('[SEG16] the same frames give the same cuts, and so does going on from a snapshot at any of them', () => {
    fc.assert(
      fc.property(scenario, fc.nat(), (given, at) => {
        const undisturbed = play(given).events;
        assert.deepEqual(play(given).events, undisturbed);
        assert.deepEqual(play(given, at % Math.max(1, given.steps.length)).events, undisturbed);
      }),
      RUNS,
    );
  });

  it('[SEG17] speechSamples counts whole voiced frames, at most those the utterance touches', () => {
    check((given) => {
      for (const { startSamples, endSamples, speechSamples } of play(given).utterances) {
        assert.equal(speechSamples % FRAME_SAMPLES, 0);
        assert.ok(speechSamples > 0);
        assert.ok(speechSamples < endSamples - startSamples + FRAME_SAMPLES);
      }
    });
  });
});
