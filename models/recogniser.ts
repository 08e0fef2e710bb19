/** A recogniser by the name of its model: its weights found, prepared for this machine, and loaded. */
import type { Recogniser } from '../pipeline/contracts.ts';
import { SAMPLE_RATE_HZ } from '../pipeline/audio.ts';
import { DeviceError } from '../pipeline/errors.ts';
import { BATCH_MAX_COUNT } from '../pipeline/limits.ts';
import { findRecogniser } from './catalogue.ts';
import { isAccelerator } from './device_options.ts';
import { prepareFloat } from './float_preparation.ts';
import type { FloatType } from './graph_builder.ts';
import { prepareMoonshine, type Preparation, type PreparationOptions } from './graph_preparation.ts';
import { loadMoonshine } from './moonshine.ts';
import type { MoonshineFiles } from './moonshine_graphs.ts';
import { modelPaths, preparedDir, publishedDigests } from './weights.ts';

/** Which model, where its weights are, and how it may run. Plain data: it travels to worker processes. */
export interface RecogniserOptions {
  readonly model: string;
  readonly modelsDir: string;
  /** `cpu`, or an accelerator as the settings name it. */
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

function preparationOf(options: RecogniserOptions): PreparationOptions {
  const { model, modelsDir } = options;
  const entry = findRecogniser(model);
  return {
    ...publishedFiles(options),
    published: publishedDigests(entry),
    outputDir: preparedDir(model, modelsDir),
    architecture: entry.architecture,
  };
}

/**
 * Prepares a model's graphs for processors, or finds them prepared. Takes seconds the first time; never throws for bad
 * weights.
 */
export function prepareRecogniser(options: RecogniserOptions): Promise<Preparation> {
  return prepareMoonshine(preparationOf(options));
}

/** Prepares a model's float graphs, for accelerators, or finds them prepared. Rejects if they cannot be made. */
export async function prepareForAccelerators(options: RecogniserOptions): Promise<void> {
  for (const floatType of FLOAT_TYPES) await prepareFloat(preparationOf(options), floatType);
}

/** Rejects unless the recogniser works: what a device is asked in 16 bits before it is trusted with them. */
export type Trial = (recogniser: Recogniser) => Promise<unknown>;

/** A recogniser that runs. `warning` says why it is slower than it could be. */
export interface LoadedRecogniser {
  readonly recogniser: Recogniser;
  readonly warning: string | undefined;
}

/**
 * Loads a recogniser: on the CPU from the published graphs if the prepared ones cannot be loaded, on an accelerator in
 * 16 bits if that passes the trial, else in 32. Throws `ConfigError` (`bad_config`) for a model that is unknown and `InferenceError`
 * (`internal`) for weights that cannot be loaded, or a device that cannot run them.
 */
export async function loadRecogniser(options: RecogniserOptions, trial?: Trial): Promise<LoadedRecogniser> {
  if (isAccelerator(options.device))
    return { recogniser: await loadFloat(options, FLOAT_TYPES, trial), warning: undefined };
  const { warning, ...prepared } = await prepareRecogniser(options);
  const published = publishedFiles(options);
  try {
    return { recogniser: await load(prepared, options), warning };
  } catch (error) {
    if (prepared.encoderPath === published.encoderPath) throw error;
    return {
      recogniser: await load(published, options),
      warning: `the published graphs are used: the prepared ones cannot be loaded${causeOf(error)}`,
    };
  }
}

/**
 * Loads float graphs. Whether a device computes in 16 bits, and does it right, shows only when it is asked to: by
 * `trial`, or by half a second of silence, which must only be run.
 */
export async function loadFloat(
  options: RecogniserOptions,
  types = FLOAT_TYPES,
  trial: Trial = runSilence,
): Promise<Recogniser> {
  const [floatType, ...others] = types;
  const isLast = others.length === 0;
  let recogniser: Recogniser | undefined;
  try {
    const files = await prepareFloat(preparationOf(options), floatType ?? 'float');
    recogniser = await load(files, options, BATCH_MAX_COUNT);
    if (!isLast) await trial(recogniser);
    return recogniser;
  } catch (error) {
    // A device that is lost is lost for this process, in 32 bits too.
    if (isLast || error instanceof DeviceError) throw error;
  }
  await recogniser?.close();
  return loadFloat(options, others, trial);
}

async function runSilence(recogniser: Recogniser): Promise<void> {
  const silence = { pcm: new Int16Array(TRIAL_SAMPLES), draft: [] };
  const { transcriptions } = await recogniser.transcribe([silence]);
  if (transcriptions[0]?.error !== undefined) throw transcriptions[0].error;
}

const FLOAT_TYPES: readonly FloatType[] = ['float16', 'float'];
const TRIAL_SAMPLES = SAMPLE_RATE_HZ / 2;

function causeOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error
    ? `: ${error.cause.message.replaceAll(/\s+/g, ' ')}`
    : '';
}

function load(
  files: MoonshineFiles,
  { model, device, threads }: RecogniserOptions,
  batchMaxCount?: number,
): Promise<Recogniser> {
  const { architecture } = findRecogniser(model);
  return loadMoonshine({ model, ...files, device, threads, architecture, batchMaxCount });
}
