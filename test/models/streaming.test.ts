import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { findRecogniser } from '../../models/catalogue.ts';
import { loadMoonshine } from '../../models/moonshine.ts';
import { prepareRecogniser } from '../../models/recogniser.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Hypothesis, Recogniser } from '../../pipeline/contracts.ts';
import { ENCODER_CACHE_MAX_MS, ENCODER_LOOKAHEAD_MS, RECOGNISER_PCM_MIN_MS } from '../../pipeline/limits.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';
import { normalisedWords, wordEditCount } from '../../server/load/word_error_rate.ts';
import { synthesise } from '../support/speech.ts';
import { testModelsDir, weightPath } from '../support/weights.ts';

const MODEL = 'moonshine-tiny-en';
const SENTENCE = 'The quick brown fox jumps over the lazy dog.';
const LONG =
  'We will meet at the station near the old bridge and take the last train home, ' +
  'and if the weather is good enough in the morning we can walk along the river to the market.';

function editsBetween(some: string, others: string): number {
  return wordEditCount(normalisedWords(some), normalisedWords(others));
}

describe('partials of utterances that grow', () => {
  let recogniser: Recogniser;
  let lastNumber = 0;
  before(async () => {
    const place = { model: MODEL, modelsDir: testModelsDir(), device: 'cpu', threads: 1 };
    const { warning, ...files } = await prepareRecogniser(place);
    assert.equal(warning, undefined);
    recogniser = await loadMoonshine({
      ...place,
      ...files,
      architecture: findRecogniser(MODEL).architecture,
    });
  });
  after(() => recogniser.close());

  /** The beginnings of an utterance, as far as these ends. */
  async function hear(
    pcm: Int16Array,
    endsMs: readonly number[],
    partialOf = ++lastNumber,
  ): Promise<Hypothesis[]> {
    const heard: Hypothesis[] = [];
    for (const endMs of endsMs) {
      const draft = heard.at(-1)?.tokens ?? [];
      heard.push(
        await transcribeOne(recogniser, { pcm: pcm.subarray(0, msToSamples(endMs)), draft, partialOf }),
      );
    }
    return heard;
  }

  const exact = (pcm: Int16Array): Promise<Hypothesis> => transcribeOne(recogniser, { pcm, draft: [] });
  const everyHalfSecond = (pcm: Int16Array): number[] =>
    Array.from({ length: Math.floor(pcm.length / 8_000) }, (_, at) => (at + 1) * 500);

  it('[STR1] say what the whole model says, nearly, and encode no more than the end anew', async () => {
    const pcm = await synthesise(LONG, { voice: 'rms' });
    const ends = everyHalfSecond(pcm);
    const heard = await hear(pcm, ends);
    let [edits, count] = [0, 0];
    for (const [at, { text, reusedMs }] of heard.entries()) {
      const endMs = ends[at] ?? NaN;
      const whole = await exact(pcm.subarray(0, msToSamples(endMs)));
      edits += editsBetween(whole.text, text);
      count += normalisedWords(whole.text).length;
      const settledMs = (ends[at - 1] ?? 0) - ENCODER_LOOKAHEAD_MS;
      // A frame is 24 ms, and sees some samples after its own.
      assert(Math.abs(reusedMs - Math.max(0, settledMs)) < 80, `${reusedMs} of ${endMs} ms`);
    }
    assert(count > 100);
    assert(edits / count < 0.08, `${edits} of ${count} words are others`);
  });

  it('[STR2] a job without a number is exact whatever partials came before it', async () => {
    const pcm = await synthesise(SENTENCE, { voice: 'rms' });
    const before = await exact(pcm);
    const partials = await hear(pcm, everyHalfSecond(pcm));
    const final = await transcribeOne(recogniser, { pcm, draft: partials.at(-1)?.tokens ?? [] });
    assert.deepEqual(final.tokens, before.tokens);
    assert.equal(final.reusedMs, 0);
  });

  it('[STR3] other audio under the same number gets nothing of what was kept', async () => {
    const [fox, train] = [
      await synthesise(SENTENCE, { voice: 'rms' }),
      await synthesise(LONG, { voice: 'slt' }),
    ];
    const alone = await hear(train, [3_000]);
    await hear(fox, [1_000, 2_000, 2_500], ++lastNumber);
    const [crossed] = await hear(train, [3_000], lastNumber);
    assert.deepEqual([crossed?.tokens, crossed?.reusedMs], [alone[0]?.tokens, 0]);
    // One sample is enough.
    const changed = Int16Array.from(train);
    changed[100] = (changed[100] ?? 0) ^ 1;
    const [again] = await hear(changed, [3_500], lastNumber);
    assert.equal(again?.reusedMs, 0);
  });

  it('[STR4] utterances that take turns do not disturb each other', async () => {
    const [fox, train] = [
      await synthesise(SENTENCE, { voice: 'rms' }),
      await synthesise(LONG, { voice: 'slt' }),
    ];
    const ends = [700, 1_300, 2_100, 2_600, 3_000];
    const apart = [await hear(fox, ends), await hear(train, ends)];
    const [foxNumber, trainNumber] = [++lastNumber, ++lastNumber];
    for (const [at, endMs] of ends.entries()) {
      for (const [of, pcm, number] of [
        [0, fox, foxNumber],
        [1, train, trainNumber],
      ] as const) {
        const draft = apart[of]?.[at - 1]?.tokens ?? [];
        const task = { pcm: pcm.subarray(0, msToSamples(endMs)), draft, partialOf: number };
        assert.deepEqual((await transcribeOne(recogniser, task)).tokens, apart[of]?.[at]?.tokens);
      }
    }
  });

  it('[STR5] any steps will do: the shortest audio, none more, less, a jump', async () => {
    const pcm = await synthesise(LONG, { voice: 'rms' });
    const number = ++lastNumber;
    for (const endMs of [
      RECOGNISER_PCM_MIN_MS,
      100,
      101,
      112,
      140,
      2_000,
      2_000,
      2_001,
      1_000,
      1_500,
      8_000,
    ]) {
      const [heard] = await hear(pcm, [endMs], number);
      assert(heard !== undefined);
    }
    const [jumped] = await hear(pcm, [8_000]);
    const [last] = await hear(pcm, [8_000], number);
    assert(editsBetween(jumped?.text ?? '', last?.text ?? '') <= 2);
  });

  it('[STR7] without graphs for it they are exact', async () => {
    const { architecture } = findRecogniser(MODEL);
    const published = {
      encoderPath: weightPath(MODEL, 'encoder_model.onnx'),
      decoderPath: weightPath(MODEL, 'decoder_model_merged.onnx'),
    };
    const plain = await loadMoonshine({
      model: MODEL,
      ...published,
      device: 'cpu',
      threads: 1,
      architecture,
    });
    const pcm = await synthesise(SENTENCE, { voice: 'rms' });
    for (const endMs of [1_000, 2_000]) {
      const beginning = { pcm: pcm.subarray(0, msToSamples(endMs)), draft: [] };
      const [exact, partial] = [
        await transcribeOne(plain, beginning),
        await transcribeOne(plain, { ...beginning, partialOf: 1 }),
      ];
      assert.deepEqual([partial.tokens, partial.reusedMs], [exact.tokens, 0]);
    }
    await plain.close();
  });

  it('[STR6] the oldest is forgotten when more is spoken at a time than is kept, and works on', async () => {
    const pcm = await synthesise(LONG, { voice: 'rms' });
    const [firstNumber, partMs] = [++lastNumber, 3_000];
    await hear(pcm, [partMs], firstNumber);
    for (let keptMs = 0; keptMs <= ENCODER_CACHE_MAX_MS; keptMs += partMs) await hear(pcm, [partMs]);
    const [forgotten] = await hear(pcm, [partMs + 500], firstNumber);
    const [kept] = await hear(pcm, [partMs + 500], lastNumber);
    assert.equal(forgotten?.reusedMs, 0);
    assert((kept?.reusedMs ?? 0) > 0);
  });
});
