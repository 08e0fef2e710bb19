/** The accelerator path on a GPU that is computed in software: WebGPU (Dawn) over Vulkan on SwiftShader. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { loadRecogniser } from '../../models/recogniser.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { decodeCanary } from '../../server/workers/canary.ts';
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
