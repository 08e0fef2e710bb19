import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { findRecogniser } from '../../models/catalogue.ts';
import { toFloat16 } from '../../models/float16.ts';
import { frameCount, frontCount, groupsByLength, paddedLength } from '../../models/batch_shapes.ts';
import { loadFloat, loadRecogniser } from '../../models/recogniser.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Recogniser, RecognitionTask, Transcription } from '../../pipeline/contracts.ts';
import { BATCH_PADDING_MAX_RATIO } from '../../pipeline/limits.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';
import { seededRandom } from '../support/random.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { testModelsDir } from '../support/weights.ts';

const SENTENCES = [
  'the quick brown fox jumps over the lazy dog',
  'good morning',
  'please call me back at noon, or after five',
  'one two three four five',
];
const MIX_COUNT = 200;
const ROWS_MAX_COUNT = 4;

const options = {
  ...{ model: 'moonshine-tiny-en', modelsDir: testModelsDir(), device: 'cpu', threads: 2 },
};

function tokensOf({ hypothesis, error }: Transcription): string {
  return hypothesis === undefined ? String(error) : `${hypothesis.stop} ${hypothesis.tokens.join()}`;
}

describe('shapes of batches', () => {
  it('[BAT8] counts of frames are those of the convolutions', () => {
    assert.deepEqual([126, 127, 190, 191].map(frontCount), [0, 1, 1, 2]);
    assert.equal(frameCount(msToSamples(24_000)), 998);
    assert.ok(frameCount(msToSamples(100)) > 0, 'the shortest audio has a frame');
    for (const samples of [1_600, 8_000, 8_128, 8_129, msToSamples(30_000)]) {
      const padded = paddedLength(samples);
      const frames = (padded - 64) / 384;
      assert.ok(padded >= samples && padded < samples + msToSamples(510) && Number.isInteger(frames));
      assert.deepEqual([frontCount(padded), frameCount(padded)], [6 * frames, frames - 2]);
    }
  });

  it('[BAT8] rows are grouped by length, each once, with a bounded part of padding', () => {
    const next = seededRandom(7);
    for (let round = 0; round < 200; round++) {
      const lengths = Array.from(
        { length: 1 + Math.floor(next() * 32) },
        () => 1 + Math.floor(next() * 400_000),
      );
      const groups = groupsByLength(lengths);
      const firsts = groups.map((group) => Math.min(...group));
      assert.deepEqual(
        firsts,
        [...firsts].sort((a, b) => a - b),
        'what was asked for first is run first',
      );
      assert.deepEqual(
        groups.flat().sort((a, b) => a - b),
        [...lengths.keys()],
      );
      for (const group of groups) {
        const own = group.map((index) => lengths[index] ?? 0);
        const total = Math.max(...own) * own.length;
        const audio = own.reduce((sum, length) => sum + length, 0);
        assert.ok(total - audio <= total * BATCH_PADDING_MAX_RATIO + 1e-6);
      }
    }
  });
});

describe('16-bit numbers', () => {
  it('[FGR1] are those of IEEE 754, rounded to even', () => {
    const cases: [number, number][] = [
      ...([
        [0, 0],
        [-0, 0x8000],
        [1, 0x3c00],
        [-2, 0xc000],
        [65_504, 0x7bff],
        [65_520, 0x7c00],
      ] as const),
      ...([
        [1e6, 0x7c00],
        [2 ** -24, 1],
        [2 ** -25, 0],
        [2 ** -14, 0x0400],
        [1 / 3, 0x3555],
      ] as const),
      ...([
        [1 + 2 ** -11, 0x3c00],
        [1 + 3 * 2 ** -11, 0x3c02],
        [NaN, 0x7e00],
        [-Infinity, 0xfc00],
      ] as const),
    ].map(([value, bits]) => [value, bits]);
    const found = toFloat16(Float32Array.from(cases, ([value]) => value));
    assert.deepEqual(
      [...found],
      cases.map(([, bits]) => bits),
    );
  });
});

describe('Moonshine, float graphs', () => {
  let quantised: Recogniser;
  let float: Recogniser;
  let clips: Int16Array[];
  before(async () => {
    clips = await Promise.all(SENTENCES.map((text) => synthesise(text, { voice: 'rms' })));
    ({ recogniser: quantised } = await loadRecogniser(options));
    float = await loadFloat(options, ['float']);
  });
  after(async () => {
    await quantised.close();
    await float.close();
  });

  it('[FGR2] speech has the text that the graphs for processors give, in 32 and in 16 bits', async () => {
    const float16 = await loadFloat(options, ['float16']);
    for (const pcm of clips) {
      const { text } = await transcribeOne(quantised, { pcm, draft: [] });
      assert.equal((await transcribeOne(float, { pcm, draft: [] })).text, text);
      assert.equal((await transcribeOne(float16, { pcm, draft: [] })).text, text);
    }
    await float16.close();
  });

  it(`[FGR3] ${MIX_COUNT} random mixes of lengths and drafts: each row of a batch is what it is alone`, async () => {
    const next = seededRandom(2_026);
    const alone = new Map<string, Transcription>();
    for (let mix = 0; mix < MIX_COUNT; mix++) {
      const keys: string[] = [];
      const tasks: RecognitionTask[] = [];
      for (let row = 2 + Math.floor(next() * (ROWS_MAX_COUNT - 1)); row > 0; row--) {
        const clip = Math.floor(next() * clips.length);
        const ms = 200 + 100 * Math.floor(next() * 10);
        const key = `${clip} ${ms}`;
        const pcm = (clips[clip] ?? new Int16Array(0)).subarray(0, msToSamples(ms));
        const known = alone.get(key) ?? (await float.transcribe([{ pcm, draft: [] }])).transcriptions[0];
        if (known !== undefined) alone.set(key, known);
        // What is right at first and wrong at the end, as an earlier hypothesis is.
        const tokens = known?.hypothesis?.tokens ?? [];
        const draft = next() < 0.5 ? [] : [...tokens.slice(0, Math.ceil(tokens.length / 2)), 77, 88];
        keys.push(key);
        tasks.push({ pcm, draft });
      }
      const { transcriptions } = await float.transcribe(tasks);
      const expected = keys.map((key) => alone.get(key)).flatMap((known) => (known ? [tokensOf(known)] : []));
      assert.deepEqual(transcriptions.map(tokensOf), expected, `mix ${mix}: ${keys.join(', ')}`);
    }
  });

  it('[FGR7] a device that is wrong in 16 bits is given 32', async () => {
    const tried: Recogniser[] = [];
    const recogniser = await loadFloat(options, ['float16', 'float'], (candidate) => {
      tried.push(candidate);
      return Promise.reject(new Error('heard something else'));
    });
    assert.equal(tried.length, 1, 'there is nothing to choose after 32 bits');
    assert.notEqual(recogniser, tried[0]);
    const pcm = clips[1] ?? new Int16Array(0);
    await assert.rejects(transcribeOne(tried[0] ?? recogniser, { pcm, draft: [] }), /none after close/);
    const { text } = await transcribeOne(recogniser, { pcm, draft: [] });
    assert.equal(text, (await transcribeOne(float, { pcm, draft: [] })).text);
    await recogniser.close();
  });

  it('[FGR4] a draft is verified in one run, and one that is all wrong changes nothing', async () => {
    const [pcm = new Int16Array(0)] = clips;
    const plain = await transcribeOne(float, { pcm, draft: [] });
    const drafted = await transcribeOne(float, { pcm, draft: plain.tokens });
    assert.deepEqual(drafted.tokens, plain.tokens);
    assert.equal(drafted.draftAcceptedTokens, plain.tokens.length);
    assert.ok(drafted.decoderSteps <= 2 && plain.decoderSteps > plain.tokens.length);
    const misled = await transcribeOne(float, { pcm, draft: new Array<number>(40).fill(29_892) });
    assert.deepEqual([misled.tokens, misled.draftAcceptedTokens], [plain.tokens, 0]);
  });

  it('[BAT10] what is run first is told first, while the rest of the batch still runs', async () => {
    const [long = new Int16Array(0)] = clips;
    const tasks = [long.subarray(0, msToSamples(300)), long].map((pcm) => ({ pcm, draft: [] }));
    const heard: string[] = [];
    let isOver = false;
    const batch = float.transcribe(tasks, (at, { text }) => {
      assert.ok(!isOver);
      heard.push(`${at} ${text}`);
    });
    const { transcriptions } = await batch.finally(() => (isOver = true));
    assert.deepEqual(
      heard,
      transcriptions.map(({ hypothesis }, at) => `${at} ${hypothesis?.text ?? 'nothing'}`),
    );
  });

  it('[FGR5] silence has no words, and what is padded is counted', async () => {
    const long = concat(clips[0] ?? new Int16Array(0), silence(500));
    const short = silence(1_500);
    const { transcriptions, work } = await float.transcribe([
      { pcm: long, draft: [] },
      { pcm: short, draft: [] },
    ]);
    assert.equal(transcriptions[1]?.hypothesis?.text, '');
    assert.equal(work.samples - work.paddingSamples, long.length + short.length);
    assert.equal(work.movedBytes, 0, 'on the processor nothing moves');
    assert.ok(float.batchMaxCount > 1);
    assert.equal(quantised.batchMaxCount, 1);
    assert.equal(findRecogniser(options.model).architecture.layerCount, 6);
  });
});
