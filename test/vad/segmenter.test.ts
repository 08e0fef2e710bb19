import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FRAME_SAMPLES, msToSamples } from '../../pipeline/audio.ts';
import type { Endpointing, JudgedFrame, Segmenter, SegmenterEvent } from '../../pipeline/contracts.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';

const PRE_ROLL = msToSamples(320);
const POST_ROLL = msToSamples(200);
const DEFAULTS: Endpointing = { silenceMs: 500, maxUtteranceMs: 20_000 };

function segmenter(options: Partial<Endpointing> & { originSamples?: number } = {}): Segmenter {
  const { originSamples = 0, ...endpointing } = options;
  return SILERO_SEGMENTERS.create({ ...DEFAULTS, ...endpointing }, originSamples);
}

/** `count` frames of one probability. */
function frames(count: number, probability: number, energy = 0.01): JudgedFrame[] {
  return Array.from({ length: count }, () => ({ probability, energy }));
}
const speech = (count: number): JudgedFrame[] => frames(count, 0.9);
const quiet = (count: number): JudgedFrame[] => frames(count, 0.05, 1e-6);

function pushAll(target: Segmenter, sequence: readonly JudgedFrame[]): SegmenterEvent[] {
  return sequence.flatMap((frame) => [...target.push(frame)]);
}

function ends(events: readonly SegmenterEvent[]): Extract<SegmenterEvent, { type: 'speechEnd' }>[] {
  return events.filter((event) => event.type === 'speechEnd');
}

describe('beginning of an utterance', () => {
  it('[SEG1] voice begins at 0.5 and goes on down to 0.35', () => {
    assert.deepEqual(pushAll(segmenter(), frames(50, 0.49)), []);
    const held = pushAll(segmenter(), [...frames(1, 0.5), ...frames(60, 0.35)]);
    assert.deepEqual(
      held.map((event) => event.type),
      ['speechStart'],
    );
    const left = pushAll(segmenter(), [...speech(10), ...frames(16, 0.34)]);
    assert.equal(ends(left)[0]?.speechSamples, 10 * FRAME_SAMPLES);
    const notBack = pushAll(segmenter(), [...speech(10), ...quiet(1), ...frames(15, 0.45)]);
    assert.equal(ends(notBack).length, 1, 'between the thresholds silence stays silence');
  });

  it('[SEG2] fewer than three voiced frames on end are no speech', () => {
    const clicks = Array.from({ length: 20 }, () => [...speech(2), ...quiet(1)]).flat();
    assert.deepEqual(pushAll(segmenter(), clicks), []);
  });

  it('[SEG2] three voiced frames on end are speech, decided with the third', () => {
    const events = pushAll(segmenter(), [...quiet(20), ...speech(3)]);
    assert.deepEqual(events, [
      {
        type: 'speechStart',
        startSamples: 20 * FRAME_SAMPLES - PRE_ROLL,
        decidedAtSamples: 23 * FRAME_SAMPLES,
      },
    ]);
  });

  it('[SEG2] a word of 200 ms comes through', () => {
    const events = pushAll(segmenter(), [...quiet(20), ...speech(6), ...quiet(30)]);
    assert.equal(ends(events)[0]?.speechSamples, 6 * FRAME_SAMPLES);
  });

  it('[SEG3] the pre-roll ends at the origin, which need not be 0', () => {
    const events = pushAll(segmenter({ originSamples: 123_457 }), [...quiet(2), ...speech(3)]);
    assert.equal(events[0]?.startSamples, 123_457);
  });

  it('[SEG3] the pre-roll never reaches into the utterance before', () => {
    const endpointing = { silenceMs: 100 };
    const events = pushAll(segmenter(endpointing), [...speech(10), ...quiet(4), ...speech(3)]);
    const end = ends(events)[0]?.endSamples;
    assert.equal(end, 14 * FRAME_SAMPLES, 'the post-roll ends where the end was decided');
    assert.equal(events.at(-1)?.startSamples, end);
  });

  it('[SEG3] no utterance reaches further back than the look-back', () => {
    const events = pushAll(segmenter(), [...quiet(40), ...speech(3)]);
    const [start] = events;
    assert.equal(start?.startSamples, 42 * FRAME_SAMPLES - SILERO_SEGMENTERS.lookbackSamples);
  });
});

describe('end of an utterance', () => {
  it('[SEG4] silence of silenceMs ends an utterance, 200 ms after its last voiced frame', () => {
    const target = segmenter();
    assert.equal(ends(pushAll(target, [...quiet(20), ...speech(10), ...quiet(15)])).length, 0);
    assert.equal(target.inSpeech, true);
    assert.deepEqual(pushAll(target, quiet(1)), [
      {
        type: 'speechEnd',
        startSamples: 20 * FRAME_SAMPLES - PRE_ROLL,
        endSamples: 30 * FRAME_SAMPLES + POST_ROLL,
        decidedAtSamples: 46 * FRAME_SAMPLES,
        speechSamples: 10 * FRAME_SAMPLES,
        reason: 'silence',
      },
    ]);
    assert.equal(target.inSpeech, false);
  });

  it('[SEG4] silence of exactly silenceMs is enough', () => {
    assert.equal(ends(pushAll(segmenter({ silenceMs: 320 }), [...speech(10), ...quiet(10)])).length, 1);
  });

  it('[SEG4] a pause shorter than silenceMs does not end the utterance', () => {
    const events = pushAll(segmenter(), [...speech(10), ...quiet(15), ...speech(10), ...quiet(16)]);
    assert.deepEqual(
      events.map((event) => event.type),
      ['speechStart', 'speechEnd'],
    );
    assert.equal(ends(events)[0]?.speechSamples, 20 * FRAME_SAMPLES);
  });

  it('[SEG19] where silence is to end nothing, a flush does, or the limit', () => {
    const target = segmenter({ silenceMs: Infinity });
    const events = pushAll(target, [...speech(10), ...quiet(200), ...speech(10), ...quiet(20)]);
    assert.deepEqual(
      events.map((event) => event.type),
      ['speechStart'],
    );
    const atSamples = 240 * FRAME_SAMPLES;
    const [end] = ends(target.end('flush', atSamples));
    assert.deepEqual([end?.reason, end?.endSamples], ['flush', 220 * FRAME_SAMPLES + POST_ROLL]);
    const long = pushAll(segmenter({ silenceMs: Infinity }), [...speech(10), ...quiet(1_000)]);
    assert.deepEqual(
      ends(long).map(({ reason }) => reason),
      ['split'],
    );
  });

  it('[SEG5] flush ends an utterance at the end of the audio, samples that fill no frame included', () => {
    const target = segmenter();
    pushAll(target, speech(10));
    const atSamples = 10 * FRAME_SAMPLES + 300;
    const [end, ...others] = target.end('flush', atSamples);
    assert.deepEqual(others, []);
    assert.deepEqual(end, {
      type: 'speechEnd',
      startSamples: 0,
      endSamples: atSamples,
      decidedAtSamples: atSamples,
      speechSamples: 10 * FRAME_SAMPLES,
      reason: 'flush',
    });
  });

  it('[SEG5] after a flush within speech the next utterance begins where the flushed one ended', () => {
    const target = segmenter();
    pushAll(target, speech(10));
    const atSamples = 10 * FRAME_SAMPLES + 300;
    target.end('flush', atSamples);
    assert.equal(pushAll(target, speech(3))[0]?.startSamples, atSamples);
  });

  it('[SEG5] the dying voice after a flush begins no utterance', () => {
    const target = segmenter();
    pushAll(target, speech(10));
    target.end('flush', 10 * FRAME_SAMPLES);
    assert.deepEqual(pushAll(target, [...frames(10, 0.45), ...quiet(30)]), []);
  });

  it('[SEG6] a flush in silence yields no utterance', () => {
    const target = segmenter();
    assert.deepEqual(target.end('flush', 0), []);
    pushAll(target, [...quiet(50), ...speech(1)]);
    assert.deepEqual(target.end('flush', 51 * FRAME_SAMPLES), []);
  });

  it('[SEG6] a flush two frames into speech yields it', () => {
    const target = segmenter();
    pushAll(target, [...quiet(50), ...speech(2)]);
    const events = target.end('flush', 52 * FRAME_SAMPLES + 100);
    assert.deepEqual(events[0], {
      type: 'speechStart',
      startSamples: 50 * FRAME_SAMPLES - PRE_ROLL,
      decidedAtSamples: 52 * FRAME_SAMPLES + 100,
    });
    assert.equal(ends(events)[0]?.speechSamples, 2 * FRAME_SAMPLES);
  });

  it('[SEG7] when the audio stops, an utterance ends as if silence had followed', () => {
    const target = segmenter();
    pushAll(target, [...speech(10), ...quiet(10)]);
    const [end] = ends(target.end('audioStopped', 20 * FRAME_SAMPLES));
    assert.equal(end?.reason, 'audioStopped');
    assert.equal(end.endSamples, 10 * FRAME_SAMPLES + POST_ROLL);
    assert.deepEqual(target.end('audioStopped', 20 * FRAME_SAMPLES), []);
  });
});

describe('split of a long utterance', () => {
  const pauseAt = (frame: number, total: number): JudgedFrame[] => [
    ...speech(frame - 3),
    ...frames(6, 0.6, 1e-4),
    ...speech(total - frame - 3),
  ];

  it('[SEG8] it is split at the quietest place of its last 4 s, and goes on from there', () => {
    const events = pushAll(segmenter(), pauseAt(530, 700));
    const cutSamples = 530 * FRAME_SAMPLES;
    const decidedAtSamples = 625 * FRAME_SAMPLES;
    assert.deepEqual(events.slice(1), [
      {
        type: 'speechEnd',
        startSamples: 0,
        endSamples: cutSamples,
        decidedAtSamples,
        speechSamples: cutSamples,
        reason: 'split',
      },
      { type: 'speechStart', startSamples: cutSamples, decidedAtSamples },
    ]);
  });

  it('[SEG8] a pause earlier than that is not where it is split', () => {
    const [end] = ends(pushAll(segmenter(), pauseAt(400, 700)));
    assert.ok(end !== undefined && end.endSamples >= msToSamples(16_000));
  });

  it('[SEG8] a pause is preferred to the closure inside a word, however silent', () => {
    const sequence = [
      ...speech(520),
      ...frames(2, 0.9, 0),
      ...speech(20),
      ...frames(8, 0.9, 1e-4),
      ...speech(150),
    ];
    const [end] = ends(pushAll(segmenter(), sequence));
    assert.ok(
      end !== undefined && end.endSamples > 542 * FRAME_SAMPLES && end.endSamples < 550 * FRAME_SAMPLES,
    );
  });

  it('[SEG8] equally loud, it is split where speech is least probable', () => {
    const sequence = [...speech(560), ...frames(6, 0.4), ...speech(150)];
    assert.equal(ends(pushAll(segmenter(), sequence))[0]?.endSamples, 563 * FRAME_SAMPLES);
  });

  it('[SEG8] the voice after the split is counted to the next utterance', () => {
    const target = segmenter();
    const [first] = ends(pushAll(target, pauseAt(530, 625)));
    const [second] = ends(pushAll(target, quiet(16)));
    assert.equal(first?.speechSamples, 530 * FRAME_SAMPLES);
    assert.equal(second?.startSamples, first.endSamples);
    assert.equal(second.speechSamples, 95 * FRAME_SAMPLES);
  });

  it('[SEG9] an utterance that reaches its limit in a pause is not gone on with', () => {
    const target = segmenter({ silenceMs: 3_000 });
    const events = pushAll(target, [...speech(600), ...quiet(25)]);
    assert.deepEqual(ends(events), [
      {
        type: 'speechEnd',
        startSamples: 0,
        endSamples: 600 * FRAME_SAMPLES + POST_ROLL,
        decidedAtSamples: 625 * FRAME_SAMPLES,
        speechSamples: 600 * FRAME_SAMPLES,
        reason: 'split',
      },
    ]);
    assert.equal(events.at(-1)?.type, 'speechEnd');
    assert.equal(target.inSpeech, false);
  });
});

describe('state', () => {
  it('[SEG18] in a pause the end is known before it is decided, and is where silence ends the utterance', () => {
    const target = segmenter();
    pushAll(target, speech(10));
    assert.equal(target.likelyEndSamples, undefined);
    pushAll(target, quiet(6));
    assert.equal(target.likelyEndSamples, undefined, '192 ms are less than the post-roll');
    pushAll(target, quiet(1));
    assert.equal(target.likelyEndSamples, 10 * FRAME_SAMPLES + POST_ROLL);
    pushAll(target, speech(1));
    assert.equal(target.likelyEndSamples, undefined, 'somebody speaks on');
    pushAll(target, quiet(14));
    const likelyEnd = target.likelyEndSamples;
    assert.equal(ends(pushAll(target, quiet(5)))[0]?.endSamples, likelyEnd);
    assert.equal(target.likelyEndSamples, undefined);
  });

  it('[SEG10] a snapshot survives JSON and is not changed by what follows', () => {
    const target = segmenter();
    pushAll(target, speech(560));
    const snapshot = target.snapshot();
    const taken = JSON.stringify(snapshot);
    const expected = pushAll(target, [...speech(200), ...quiet(20)]);
    assert.equal(JSON.stringify(snapshot), taken);
    for (const source of [snapshot, JSON.parse(taken)]) {
      const restored = SILERO_SEGMENTERS.restore(DEFAULTS, source);
      assert.deepEqual(pushAll(restored, [...speech(200), ...quiet(20)]), expected);
    }
    assert.equal(JSON.stringify(snapshot), taken);
  });

  it('[SEG10] what is not a snapshot is refused', () => {
    for (const other of [undefined, null, 7, {}]) {
      assert.throws(() => SILERO_SEGMENTERS.restore(DEFAULTS, other));
    }
  });
});
