/** transformers.js with the published weights, by its model class: a peer to be measured against where it is installed. */
import assert from 'node:assert/strict';
import { basename, dirname } from 'node:path';
import { sessionOptions } from '../../models/device_options.ts';
import { takeTokens } from '../../models/greedy_decoder.ts';
import { tokenBudget } from '../../models/moonshine.ts';
import {
  END_TOKEN,
  type MoonshineArchitecture,
  START_TOKEN,
  VOCABULARY_SIZE,
} from '../../models/moonshine_facts.ts';
import { loadTokenizer } from '../../models/tokenizer.ts';
import { toFloatPcm } from '../../pipeline/audio.ts';
import type { Recogniser } from '../../pipeline/contracts.ts';

/** What is used of the package, which need not be there. */
interface Transformers {
  readonly env: { readonly version: string; allowRemoteModels: boolean; localModelPath: string };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => unknown;
  readonly MoonshineForConditionalGeneration: {
    from_pretrained(name: string, options: unknown): Promise<TransformersModel>;
  };
}

interface TransformersModel {
  generate(inputs: {
    readonly input_values: unknown;
    readonly max_new_tokens: number;
  }): Promise<{ tolist(): readonly (readonly bigint[])[] }>;
  dispose(): Promise<unknown>;
}

export interface TransformersPeer {
  readonly recogniser: Recogniser;
  readonly version: string;
}

/** No dependency of this project: it would bring every contributor a second ONNX Runtime and an image library. */
const PACKAGE: string = '@huggingface/transformers';
const HOW_TO_ADD = 'npm install --no-save @huggingface/transformers@4.3.1';

async function importTransformers(): Promise<Transformers> {
  try {
    return (await import(PACKAGE)) as Transformers;
  } catch (cause) {
    const isAbsent = cause instanceof Error && cause.message.includes(`Cannot find package '${PACKAGE}'`);
    throw isAbsent ? new Error(`it is not installed (${HOW_TO_ADD})`, { cause }) : cause;
  }
}

/** What a `config.json` would say: the published files come without one. */
function configOf({ layerCount, headCount, headSize }: MoonshineArchitecture): unknown {
  return {
    model_type: 'moonshine',
    is_encoder_decoder: true,
    hidden_size: headCount * headSize,
    encoder_num_hidden_layers: layerCount,
    encoder_num_key_value_heads: headCount,
    decoder_num_hidden_layers: layerCount,
    decoder_num_key_value_heads: headCount,
    vocab_size: VOCABULARY_SIZE,
    decoder_start_token_id: START_TOKEN,
    eos_token_id: END_TOKEN,
  };
}

/**
 * Loads the published graphs on one thread, from these files and nowhere else; they lie in one folder under their
 * published names. Throws where the package is not installed, with how to install it, or cannot be loaded.
 */
export async function loadTransformers(options: {
  readonly model: string;
  readonly encoderPath: string;
  readonly architecture: MoonshineArchitecture;
}): Promise<TransformersPeer> {
  const { env, Tensor, MoonshineForConditionalGeneration } = await importTransformers();
  const folder = dirname(options.encoderPath);
  env.allowRemoteModels = false;
  env.localModelPath = dirname(folder);
  const model = await MoonshineForConditionalGeneration.from_pretrained(basename(folder), {
    config: configOf(options.architecture),
    subfolder: '',
    // The type only chooses a suffix of the file's name, and these have none; the weights have 8 bits all the same.
    dtype: 'fp32',
    session_options: sessionOptions({ device: 'cpu', threads: 1 }),
  });
  const tokenizer = await loadTokenizer();
  const recogniser: Recogniser = {
    model: options.model,
    device: 'cpu',
    batchMaxCount: 1,
    async transcribe([task]) {
      assert(task?.draft.length === 0, 'this recogniser takes one task, and no draft');
      const { length } = task.pcm;
      const maxTokens = tokenBudget(length);
      const sequences = await model.generate({
        input_values: new Tensor('float32', toFloatPcm(task.pcm), [1, length]),
        max_new_tokens: maxTokens,
      });
      const [, ...chosen] = sequences.tolist()[0]?.map(Number) ?? [];
      // It has no rule for loops: it pays for them, and then they are cut as those of the other ways are.
      const decoding = takeTokens(chosen, maxTokens);
      const unknown = { encodeMs: NaN, decodeMs: NaN, reusedMs: 0, draftAcceptedTokens: 0 };
      const counts = { ...decoding, ...unknown, decoderSteps: chosen.length };
      const hypothesis = { ...counts, text: tokenizer.decode(decoding.tokens) };
      const work = { samples: length, paddingSamples: 0, movedBytes: 0, halvings: 0 };
      return { transcriptions: [{ hypothesis }], work };
    },
    close: async () => {
      await model.dispose();
    },
  };
  return { recogniser, version: env.version };
}
