/** `sherpa-onnx-node` with the published weights, called as its own examples do: a peer to be measured against. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toFloatPcm, SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import type { Hypothesis, Recogniser } from '../../pipeline/contracts.ts';
import { VOCABULARY_SIZE } from '../../models/moonshine_facts.ts';

/** What is used of the package, which has no types of its own. */
interface Sherpa {
  readonly OfflineRecognizer: new (config: unknown) => {
    createStream(): SherpaStream;
    decode(stream: SherpaStream): void;
    getResult(stream: SherpaStream): { readonly text: string };
  };
}

interface SherpaStream {
  acceptWaveform(wave: { readonly samples: Float32Array; readonly sampleRate: number }): void;
}

/** Lines of `base64(bytes of the token) id`; the ids beyond the Llama vocabulary stand for no text. */
async function tokenLines(): Promise<string> {
  const { default: llama } = (await import('llama-tokenizer-js')) as unknown as {
    readonly default: { readonly vocabById: readonly string[] };
  };
  const lines = Array.from({ length: VOCABULARY_SIZE }, (_, id) => {
    const token = llama.vocabById[id] ?? `<${id}>`;
    return `${Buffer.from(token).toString('base64')} ${id}`;
  });
  return `${lines.join('\n')}\n`;
}

/** Loads the published graphs on one thread. Throws where the package has no binary for this machine. */
export async function loadSherpa(options: {
  readonly model: string;
  readonly encoderPath: string;
  readonly decoderPath: string;
}): Promise<Recogniser> {
  const require = createRequire(import.meta.url);
  const { OfflineRecognizer } = require('sherpa-onnx-node') as Sherpa;
  const folder = mkdtempSync(join(tmpdir(), 'earwitness-bench-'));
  const tokens = join(folder, 'tokens.txt');
  writeFileSync(tokens, await tokenLines());
  const recogniser = new OfflineRecognizer({
    featConfig: { sampleRate: SAMPLE_RATE_HZ, featureDim: 80 },
    modelConfig: {
      moonshine: { encoder: options.encoderPath, mergedDecoder: options.decoderPath },
      ...{ tokens, numThreads: 1, provider: 'cpu', debug: 0 },
    },
  });
  rmSync(folder, { recursive: true });
  return {
    model: options.model,
    device: 'cpu',
    batchMaxCount: 1,
    transcribe([task]) {
      assert(task?.draft.length === 0, 'this recogniser takes one task, and no draft');
      const stream = recogniser.createStream();
      stream.acceptWaveform({ samples: toFloatPcm(task.pcm), sampleRate: SAMPLE_RATE_HZ });
      recogniser.decode(stream);
      const text = recogniser.getResult(stream).text.trim();
      // It tells neither its tokens nor what its parts took.
      const unknown = {
        encodeMs: NaN,
        decodeMs: NaN,
        reusedMs: 0,
        decoderSteps: NaN,
        draftAcceptedTokens: 0,
      };
      const hypothesis: Hypothesis = { text, tokens: [], stop: 'end', ...unknown };
      const work = { samples: task.pcm.length, paddingSamples: 0, movedBytes: 0, halvings: 0 };
      return Promise.resolve({ transcriptions: [{ hypothesis }], work });
    },
    close: () => Promise.resolve(),
  };
}
