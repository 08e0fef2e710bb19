/**
 * The accelerator path in earnest: 16 bits in large batches on the processor, and a GPU that is computed in software,
 * WebGPU (Dawn) over Vulkan on SwiftShader.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { loadFloat, loadRecogniser } from '../../models/recogniser.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';
import { decodeCanary } from '../../server/workers/canary.ts';
import { seededRandom } from '../support/random.ts';
import { concat } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { testModelsDir } from '../support/weights.ts';

/** Debian's Chromium brings it. */
const SOFTWARE_DRIVER = '/usr/lib/chromium/vk_swiftshader_icd.json';
const options = { model: 'moonshine-tiny-en', modelsDir: testModelsDir(), threads: 1 } as const;

const reason = missing();
if (reason !== undefined) console.log(`skipped: ${reason}`);

function missing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'WebGPU is bundled for Linux x64 only';
  if (!existsSync(SOFTWARE_DRIVER)) return `there is no ${SOFTWARE_DRIVER}: install chromium and libvulkan1`;
  return undefined;
}

const SENTENCES = [
  'the quick brown fox jumps over the lazy dog',
  'we will meet at the station near the old bridge',
  'please call me back at noon, or after five',
  'one two three four five',
];
const MIX_COUNT = 3;
const ROW_COUNT = 8;
const CLIP_MIN_MS = 1_500;
const CLIP_MAX_MS = 8_000;

describe('float graphs in 16 bits, on the processor', () => {
  it(`[FGR3] ${MIX_COUNT} long and wide mixes: each row of a batch is what it is alone`, async () => {
    const recogniser = await loadFloat({ ...options, threads: 2, device: 'cpu' }, ['float16']);
    const clips = await Promise.all(SENTENCES.map((text) => synthesise(text, { voice: 'rms' })));
    const next = seededRandom(MIX_COUNT);
    for (let mix = 0; mix < MIX_COUNT; mix++) {
      const rows = Array.from({ length: ROW_COUNT }, () => {
        // Speech to its end, over and over: what is cut off in a word has no one text that is right.
        const count = 1 + Math.floor(next() * 3);
        const spoken = concat(
          ...Array.from(
            { length: count },
            () => clips[Math.floor(next() * clips.length)] ?? new Int16Array(0),
          ),
        );
        return spoken.length < msToSamples(CLIP_MIN_MS)
          ? concat(spoken, spoken)
          : spoken.subarray(0, msToSamples(CLIP_MAX_MS));
      });
      const alone: number[][] = [];
      for (const pcm of rows) alone.push([...(await transcribeOne(recogniser, { pcm, draft: [] })).tokens]);
      // Every other row has a draft that is right at first and wrong at the end, as an earlier hypothesis is.
      const tasks = rows.map((pcm, row) => {
        const tokens = alone[row] ?? [];
        return { pcm, draft: row % 2 === 0 ? [] : [...tokens.slice(0, tokens.length >> 1), 77, 88] };
      });
      const { transcriptions } = await recogniser.transcribe(tasks);
      assert.deepEqual(
        transcriptions.map(({ hypothesis }) => hypothesis?.tokens),
        alone,
        `mix ${mix}`,
      );
      assert.ok(alone.every(({ length }) => length > 3));
    }
    await recogniser.close();
  });
});

describe('WebGPU on SwiftShader', { skip: reason }, () => {
  it('[FGR6] a batch of speech has the text that the CPU gives, row by row', async () => {
    process.env['VK_DRIVER_FILES'] = SOFTWARE_DRIVER;
    const { phrase, words } = decodeCanary('en', await loadDecoderFactory());
    const tasks = [phrase, phrase.subarray(0, Math.round(phrase.length * 0.6))].map((pcm) => ({
      pcm,
      draft: [],
    }));
    const { recogniser: cpu } = await loadRecogniser({ ...options, device: 'cpu' });
    const expected: (string | undefined)[] = [];
    for (const task of tasks) {
      const [only] = (await cpu.transcribe([task])).transcriptions;
      expected.push(only?.hypothesis?.text);
    }
    await cpu.close();
    const { recogniser: gpu } = await loadRecogniser({ ...options, device: 'webgpu' });
    const { transcriptions, work } = await gpu.transcribe(tasks);
    assert.deepEqual(
      transcriptions.map(({ hypothesis, error }) => hypothesis?.text ?? String(error?.cause)),
      expected,
    );
    assert.equal(expected[0]?.toLowerCase().replaceAll(/[^a-z ]/g, ''), words);
    // Samples, masks and token ids cross the bus; what the encoder made of the audio does not.
    assert.ok(work.movedBytes < 8 * work.samples, `${work.movedBytes} bytes for ${work.samples} samples`);
    await gpu.close();
  });
});
