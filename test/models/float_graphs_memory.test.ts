import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InferenceSession } from 'onnxruntime-node';
import { FloatGraphs } from '../../models/float_graphs.ts';
import { MOONSHINE_TINY } from '../../models/moonshine_facts.ts';

describe('float graphs: memory', () => {
  for (const ending of ['fails', 'works'] as const) {
    it(`[FLT7] what the encoder left on the device is freed when the decoder ${ending}`, async (test) => {
      let freedCount = 0;
      const hidden = {
        location: 'gpu-buffer',
        dims: [1, 1, 1],
        type: 'float32',
        dispose: () => freedCount++,
      };
      const tokens = { data: Int32Array.of(2), dims: [1, 1], type: 'int32', location: 'cpu' };
      const encoder = { run: () => Promise.resolve({ hidden }) };
      const decoder = {
        run: () =>
          ending === 'works'
            ? Promise.resolve({ chosen: tokens, steps: tokens })
            : Promise.reject(new Error('out of memory')),
      };
      const sessions = [encoder, decoder];
      test.mock.method(InferenceSession, 'create', () => Promise.resolve(sessions.shift()));
      const files = { encoderPath: 'encoder', decoderPath: 'decoder' };
      const graphs = await FloatGraphs.open(files, {
        ...{ architecture: MOONSHINE_TINY, device: 'cpu', threads: 1, batchMaxCount: 1 },
      });
      const decoded = graphs.decode([{ pcm: new Int16Array(8_000), maxTokens: 4, draft: [] }]);
      if (ending === 'works') await decoded;
      else await assert.rejects(decoded, /out of memory/);
      assert.equal(freedCount, 1);
    });
  }
});
