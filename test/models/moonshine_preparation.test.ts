import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findRecogniser } from '../../models/catalogue.ts';
import {
  type Preparation,
  type PreparationOptions,
  prepareMoonshine,
} from '../../models/graph_preparation.ts';
import { loadMoonshine } from '../../models/moonshine.ts';
import { MOONSHINE_TINY } from '../../models/moonshine_facts.ts';
import { comparePrepared } from '../../models/preparation_check.ts';
import type { MoonshineFiles } from '../../models/moonshine_graphs.ts';
import { loadRecogniser } from '../../models/recogniser.ts';
import { publishedDigests } from '../../models/weights.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Recogniser } from '../../pipeline/contracts.ts';
import { linkModels, pretendPrepared } from '../support/linked_models.ts';
import { seededRandom } from '../support/random.ts';
import { synthesise, type Voice } from '../support/speech.ts';
import { weightPath } from '../support/weights.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

const MODEL = 'moonshine-tiny-en';
const PUBLISHED = {
  encoderPath: weightPath(MODEL, 'encoder_model.onnx'),
  decoderPath: weightPath(MODEL, 'decoder_model_merged.onnx'),
};
const CLIPS: readonly (readonly [Voice, string])[] = [
  ['rms', 'The quick brown fox jumps over the lazy dog.'],
  ['slt', 'Please call me back at seven thirty tomorrow morning.'],
  ['kal16', 'It was the best of times, it was the worst of times.'],
  ['awb', 'We will meet at the station near the old bridge.'],
];

function load(files: MoonshineFiles): Promise<Recogniser> {
  return loadMoonshine({ model: MODEL, ...files, device: 'cpu', threads: 1, architecture: MOONSHINE_TINY });
}

describe('Moonshine, prepared graphs', () => {
  let outputDir: string;
  let preparation: Preparation;
  let published: Recogniser;
  let prepared: Recogniser;
  const prepare = (changes: Partial<PreparationOptions> = {}) =>
    prepareMoonshine({
      ...PUBLISHED,
      published: publishedDigests(findRecogniser(MODEL)),
      outputDir,
      architecture: MOONSHINE_TINY,
      ...changes,
    });

  before(async () => {
    outputDir = await mkdtemp(join(tmpdir(), 'earwitness-prepared-'));
    preparation = await prepare();
    published = await load(PUBLISHED);
    prepared = await load(preparation);
  });
  after(async () => {
    await published.close();
    await prepared.close();
    await rm(outputDir, { recursive: true });
  });

  it('[PREP1] preparation succeeds, drafts included, and leaves nothing else behind', async () => {
    assert.equal(preparation.warning, undefined);
    assert.notEqual(preparation.verifierPath, undefined);
    assert.notEqual(preparation.streaming, undefined);
    assert.equal((await readdir(outputDir)).length, 1);
  });

  it('[PREP2] gives the published tokens', async () => {
    for (const [voice, text] of CLIPS) {
      const pcm = await synthesise(text, { voice });
      const [expected, heard] = [
        await transcribeOne(published, { pcm, draft: [] }),
        await transcribeOne(prepared, { pcm, draft: [] }),
      ];
      assert.deepEqual(heard.tokens, expected.tokens);
      assert.notEqual(heard.text, '');
    }
  });

  it('[PREP3] a draft never changes a result: growing audio, drafts from before and mad ones', async () => {
    const seed = 20_261_123;
    const random = seededRandom(seed);
    const mutate = (tokens: readonly number[]) =>
      tokens.flatMap((token) => {
        const dice = random();
        if (dice < 0.1) return [];
        if (dice < 0.2) return [Math.floor(random() * 32_768), token];
        return [dice < 0.3 ? Math.floor(random() * 32_768) : token];
      });
    for (const [voice, text] of CLIPS.slice(0, 2)) {
      const pcm = await synthesise(text, { voice });
      let earlier: readonly number[] = [];
      for (let end = msToSamples(700); end < pcm.length; end += msToSamples(800)) {
        const prefix = pcm.subarray(0, end);
        const plain = await transcribeOne(prepared, { pcm: prefix, draft: [] });
        const backwards = [...plain.tokens].reverse();
        const repeated = new Array<number>(300).fill(plain.tokens[0] ?? 5);
        for (const draft of [
          earlier,
          plain.tokens,
          mutate(plain.tokens),
          backwards,
          repeated,
          [-1, NaN, 40_000],
        ]) {
          const drafted = await transcribeOne(prepared, { pcm: prefix, draft });
          assert.deepEqual(
            [drafted.tokens, drafted.stop],
            [plain.tokens, plain.stop],
            `seed ${seed}, ${voice}, ${end} samples, draft ${draft.join()}`,
          );
        }
        earlier = plain.tokens;
      }
    }
  });

  it('[PREP4] a right draft costs one run of the decoder', async () => {
    const pcm = await synthesise('The quick brown fox jumps over the lazy dog.', { voice: 'rms' });
    const { tokens } = await transcribeOne(prepared, { pcm, draft: [] });
    const drafted = await transcribeOne(prepared, { pcm, draft: tokens });
    assert.deepEqual([drafted.decoderSteps, drafted.draftAcceptedTokens], [1, tokens.length]);
  });

  it('[PREP5] the longest audio has room for its whole budget', async () => {
    const speech = await synthesise('It was the best of times, it was the worst of times.', { voice: 'rms' });
    const pcm = Int16Array.from({ length: msToSamples(30_000) }, (_, at) => speech[at % speech.length] ?? 0);
    const { tokens } = await transcribeOne(prepared, { pcm, draft: [] });
    const drafted = await transcribeOne(prepared, {
      pcm,
      draft: [...tokens, ...new Array<number>(500).fill(29_892)],
    });
    assert.deepEqual(drafted.tokens, tokens);
  });

  it('[PREP6] what is prepared is found again and not written again', async () => {
    const written = await stat(preparation.encoderPath);
    assert.deepEqual(await prepare(), preparation);
    assert.equal((await stat(preparation.encoderPath)).mtimeMs, written.mtimeMs);
  });

  it('[PREP7] graphs that cannot be prepared are used as published, with a warning', async () => {
    const damaged = { ...PUBLISHED, decoderPath: join(outputDir, 'damaged.onnx') };
    const whole = await readFile(PUBLISHED.decoderPath);
    const bytes = whole.subarray(0, whole.length >> 1);
    await writeFile(damaged.decoderPath, bytes);
    const { encoder } = publishedDigests(findRecogniser(MODEL));
    const decoder = createHash('sha256').update(bytes).digest('hex');
    for (const [digest, fault] of [
      [decoder, /published graphs are used/],
      ['0'.repeat(64), /published graphs are used as they are: the published graph is damaged/],
    ] as const) {
      const { warning, ...files } = await prepare({ ...damaged, published: { encoder, decoder: digest } });
      assert.deepEqual(files, damaged);
      assert.match(warning ?? '', fault);
    }
    await rm(damaged.decoderPath);
    assert.equal((await readdir(outputDir)).length, 1, 'the failed attempt left files behind');
  });

  it('[PREP13] streaming graphs that choose otherwise are not used, and nothing else is blamed', async () => {
    const { streaming } = preparation;
    assert(streaming !== undefined);
    const readerPath = join(outputDir, 'other_reader.onnx');
    const bytes = await readFile(streaming.readerPath);
    // The last third of the file is the weights that choose the token.
    await writeFile(
      readerPath,
      bytes.map((byte, at) => (Math.abs(at / bytes.length - 0.85) < 0.1 ? byte ^ 85 : byte)),
    );
    const other = { ...preparation, streaming: { ...streaming, readerPath } };
    const verdicts = [preparation, other].map((files) => comparePrepared(PUBLISHED, files, MOONSHINE_TINY));
    assert.deepEqual(await Promise.all(verdicts), [
      { finals: true, drafts: true, partials: true },
      { finals: true, drafts: true, partials: false },
    ]);
    await rm(readerPath);
  });

  it('[PREP11] a damaged file is made again; of several who do it at once each has the same whole graphs', async () => {
    const path = preparation.decoderPath;
    const right = await readFile(path);
    const damaged = Buffer.from(right);
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 1;
    await writeFile(path, damaged);
    const outcomes = await Promise.all([prepare(), prepare(), prepare()]);
    assert.deepEqual(outcomes, [preparation, preparation, preparation]);
    assert(right.equals(await readFile(path)));
    assert.equal((await readdir(outputDir)).length, 1);
  });
});

describe('A recogniser whose prepared graphs cannot be loaded', () => {
  it('[PREP12] runs as published, with one warning that says why', async (test) => {
    const models = await linkModels();
    test.after(() => models.remove());
    const folder = await pretendPrepared(models);
    const { modelsDir } = models;
    const { recogniser, warning } = await loadRecogniser({
      model: MODEL,
      modelsDir,
      device: 'cpu',
      threads: 1,
    });
    const pcm = await synthesise('The quick brown fox jumps over the lazy dog.', { voice: 'rms' });
    assert.match((await transcribeOne(recogniser, { pcm, draft: [] })).text, /quick brown fox/i);
    assert.match(
      warning ?? '',
      /^the published graphs are used: the prepared ones cannot be loaded: [^\n]+$/,
    );
    assert((await readdir(folder)).length > 0);
    await recogniser.close();
  });
});
