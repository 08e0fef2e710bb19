/** A recogniser by the name of its model: its weights found, prepared for this machine, and loaded. */
import type { Recogniser } from '../pipeline/contracts.ts';
import { findRecogniser } from './catalogue.ts';
import { prepareMoonshine, type Preparation } from './graph_preparation.ts';
import { loadMoonshine } from './moonshine.ts';
import type { MoonshineFiles } from './moonshine_graphs.ts';
import { modelPaths, preparedDir, publishedDigests } from './weights.ts';

/** Which model, where its weights are, and how it may run. Plain data: it travels to worker processes. */
export interface RecogniserOptions {
  readonly model: string;
  readonly modelsDir: string;
  /** As ONNX Runtime calls its execution provider. */
  readonly device: string;
  /** Threads of one run, ≥ 1. */
  readonly threads: number;
}

function publishedFiles({ model, modelsDir }: RecogniserOptions): {
  readonly encoderPath: string;
  readonly decoderPath: string;
} {
  const paths = modelPaths(findRecogniser(model), modelsDir);
  return { encoderPath: paths['encoder_model.onnx'], decoderPath: paths['decoder_model_merged.onnx'] };
}

/** Prepares a model's graphs, or finds them prepared. Takes seconds the first time; never throws for bad weights. */
export function prepareRecogniser(options: RecogniserOptions): Promise<Preparation> {
  const { model, modelsDir } = options;
  const entry = findRecogniser(model);
  return prepareMoonshine({
    ...publishedFiles(options),
    published: publishedDigests(entry),
    outputDir: preparedDir(model, modelsDir),
    architecture: entry.architecture,
  });
}

/** A recogniser that runs. `warning` says why it is slower than it could be. */
export interface LoadedRecogniser {
  readonly recogniser: Recogniser;
  readonly warning: string | undefined;
}

/**
 * Loads a recogniser, from the published graphs if the prepared ones cannot be loaded. Throws `ConfigError`
 * (`bad_config`) for a model that is unknown and `InferenceError` (`internal`) for weights that cannot be loaded.
 */
export async function loadRecogniser(options: RecogniserOptions): Promise<LoadedRecogniser> {
  const { warning, ...prepared } = await prepareRecogniser(options);
  const published = publishedFiles(options);
  try {
    return { recogniser: await load(prepared, options), warning };
  } catch (error) {
    if (prepared.encoderPath === published.encoderPath) throw error;
    const cause =
      error instanceof Error && error.cause instanceof Error
        ? `: ${error.cause.message.replaceAll(/\s+/g, ' ')}`
        : '';
    return {
      recogniser: await load(published, options),
      warning: `the published graphs are used: the prepared ones cannot be loaded${cause}`,
    };
  }
}

function load(files: MoonshineFiles, { model, device, threads }: RecogniserOptions): Promise<Recogniser> {
  const { architecture } = findRecogniser(model);
  return loadMoonshine({ model, ...files, device, threads, architecture });
}
