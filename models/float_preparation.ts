/**
 * Derives a model's float graphs, for accelerators, from the published 8-bit ones: every weight is dequantised once.
 * On accelerators 8-bit products fall back to the processor, and float ones are what they are made for.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FLOAT_ERROR_MAX_RATIO } from '../pipeline/limits.ts';
import { buildFloatDecoder } from './float_decoder.ts';
import { buildFloatEncoder } from './float_encoder.ts';
import type { FloatType } from './graph_builder.ts';
import type { PreparationOptions } from './graph_preparation.ts';
import type { MoonshineFiles } from './moonshine_graphs.ts';
import { compareFloat } from './preparation_check.ts';
import { preparedFolder } from './prepared_build.ts';
import { originOf, PREPARED_NAMES } from './prepared_folder.ts';
import { readPublishedGraphs } from './published_graph.ts';

function filesIn(folder: string): MoonshineFiles {
  return {
    encoderPath: join(folder, PREPARED_NAMES.encoder),
    decoderPath: join(folder, PREPARED_NAMES.decoder),
  };
}

async function fill(folder: string, options: PreparationOptions, floatType: FloatType): Promise<void> {
  const published = await readPublishedGraphs(options);
  const target = { architecture: options.architecture, floatType };
  const { encoderPath, decoderPath } = filesIn(folder);
  await writeFile(encoderPath, buildFloatEncoder(published.encoder, target), { flush: true });
  await writeFile(decoderPath, buildFloatDecoder(published.decoder, target), { flush: true });
  const errorRatio = await compareFloat(options, filesIn(folder), options.architecture);
  if (errorRatio <= FLOAT_ERROR_MAX_RATIO) return;
  throw new Error(
    `the float graphs differ from the published ones in ${Math.round(errorRatio * 100)} % of the tokens`,
  );
}

/**
 * Prepares the float graphs, or finds them prepared; they are compared with the published ones on the processor before
 * they are used, alone and in a batch. Takes some seconds the first time. Throws if they cannot be made: an
 * accelerator has nothing else to run.
 */
export async function prepareFloat(
  options: PreparationOptions,
  floatType: FloatType,
): Promise<MoonshineFiles> {
  const { folder } = await preparedFolder({
    outputDir: options.outputDir,
    from: { origin: originOf(options.published), weightType: floatType },
    fill: (into) => fill(into, options, floatType),
  });
  return filesIn(folder);
}
