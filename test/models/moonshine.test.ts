import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { loadMoonshine, tokenBudget } from '../../models/moonshine.ts';
import { MOONSHINE_TINY } from '../../models/moonshine_facts.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Recogniser } from '../../pipeline/contracts.ts';
import { AudioError, InferenceError } from '../../pipeline/errors.ts';
import { RECOGNISER_PCM_MAX_MS, RECOGNISER_PCM_MIN_MS } from '../../pipeline/limits.ts';
import { synthesise } from '../support/speech.ts';
import { weightPath } from '../support/weights.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

const MODEL = 'moonshine-tiny-en';
const PUBLISHED = {
  encoderPath: weightPath(MODEL, 'encoder_model.onnx'),
  decoderPath: weightPath(MODEL, 'decoder_model_merged.onnx'),
};

function load(files = PUBLISHED): Promise<Recogniser> {
  return loadMoonshine({ model: MODEL, ...files, device: 'cpu', threads: 1, architecture: MOONSHINE_TINY });
}

describe('Moonshine, published graphs', () => {
  let recogniser: Recogniser;
  before(async () => {
    recogniser = await load();
  });
  after(() => recogniser.close());

  for (const text of [
    'The quick brown fox jumps over the lazy dog.',
    'We will meet at the station near the old bridge.',
  ]) {
    it(`[REC7] hears “${text}”`, async () => {
      const hypothesis = await transcribeOne(recogniser, {
        pcm: await synthesise(text, { voice: 'rms' }),
        draft: [],
      });
      assert.equal(hypothesis.text, text);
      assert.equal(hypothesis.stop, 'end');
      assert.equal(hypothesis.decoderSteps, hypothesis.tokens.length + 1);
      assert(hypothesis.encodeMs > 0 && hypothesis.decodeMs > 0);
    });
  }

  it('[REC8] writes nothing for silence, a tone or noise', async () => {
    const samples = msToSamples(2_000);
    const signals = [
      () => 0,
      (at: number) => 3_000 * Math.sin(at / 6),
      (at: number) => ((at * 7_919) % 3_001) - 1_500,
    ];
    for (const signal of signals) {
      const pcm = Int16Array.from({ length: samples }, (_, at) => signal(at));
      assert.equal((await transcribeOne(recogniser, { pcm, draft: [] })).text, '');
    }
  });

  it('[REC9] refuses audio that is too short or too long, and then goes on', async () => {
    const refused = [0, 1, msToSamples(RECOGNISER_PCM_MIN_MS) - 1, msToSamples(RECOGNISER_PCM_MAX_MS) + 1];
    for (const samples of refused) {
      await assert.rejects(
        transcribeOne(recogniser, { pcm: new Int16Array(samples), draft: [] }),
        (error: unknown) => error instanceof AudioError && error.code === 'invalid_pcm',
      );
    }
    for (const ms of [RECOGNISER_PCM_MIN_MS, RECOGNISER_PCM_MIN_MS + 1]) {
      assert.equal(
        (await transcribeOne(recogniser, { pcm: new Int16Array(msToSamples(ms)), draft: [] })).text,
        '',
      );
    }
  });

  it('[REC10] a second call during the first is refused and does not disturb it', async () => {
    const pcm = await synthesise('The quick brown fox jumps over the lazy dog.', { voice: 'rms' });
    const first = transcribeOne(recogniser, { pcm, draft: [] });
    await assert.rejects(transcribeOne(recogniser, { pcm, draft: [] }), { code: 'ERR_ASSERTION' });
    assert.match((await first).text, /quick brown fox/);
  });

  it('[REC2] the token budget grows with the audio', () => {
    assert.equal(tokenBudget(msToSamples(0)), 4);
    assert.equal(tokenBudget(msToSamples(1_000)), 11);
    assert.equal(tokenBudget(msToSamples(30_000)), 199);
  });
});

describe('Moonshine, loading', () => {
  it('[REC11] a missing graph is an InferenceError that names the model and no path', async () => {
    await assert.rejects(load({ ...PUBLISHED, decoderPath: '/nowhere/decoder.onnx' }), (error: unknown) => {
      assert(error instanceof InferenceError);
      assert.match(error.message, /moonshine-tiny-en/);
      assert.doesNotMatch(error.message, /nowhere/);
      return true;
    });
  });

  it('[REC11] close may be called twice; a call afterwards is refused', async () => {
    const recogniser = await load();
    await recogniser.close();
    await recogniser.close();
    await assert.rejects(transcribeOne(recogniser, { pcm: new Int16Array(16_000), draft: [] }), {
      code: 'ERR_ASSERTION',
    });
  });
});
