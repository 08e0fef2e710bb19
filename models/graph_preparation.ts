/**
 * Rebuilds a model's published graphs so that they run several times faster with the same result, once for each
 * machine. Measured on speech, one thread: a decoder
 * step takes 0.3 to 0.4 of the published graph's time, a final about half.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WeightType } from './graph_builder.ts';
import type { GraphTarget, MoonshineArchitecture } from './moonshine_facts.ts';
import type { MoonshineFiles } from './moonshine_graphs.ts';
import { comparePrepared } from './preparation_check.ts';
import { buildDecoder } from './prepared_decoder.ts';
import { buildEncoder } from './prepared_encoder.ts';
import { buildStreamingEncoder } from './streaming_encoder.ts';
import { preparedFolder } from './prepared_build.ts';
import { originOf, PREPARED_NAMES, type PublishedDigests } from './prepared_folder.ts';
import { readPublishedGraphs } from './published_graph.ts';
import { fastestWeightType } from './weight_type.ts';

/** What is to be prepared: the published files, and the folder where the prepared ones are kept. */
export interface PreparationOptions {
  readonly encoderPath: string;
  readonly decoderPath: string;
  /** What the published files must be. */
  readonly published: PublishedDigests;
  /** Created if need be. Holds one folder for each version of the inputs and the preparer, and each kind of machine. */
  readonly outputDir: string;
  readonly architecture: MoonshineArchitecture;
}

/** The files to load. `warning` says, for the log, what is slower than it could be and why. */
export interface Preparation extends MoonshineFiles {
  readonly warning?: string;
}

interface PreparedFiles extends MoonshineFiles {
  readonly verifierPath: string;
  readonly streaming: NonNullable<MoonshineFiles['streaming']>;
}

function filesIn(folder: string): PreparedFiles {
  const pathOf = (name: keyof typeof PREPARED_NAMES): string => join(folder, PREPARED_NAMES[name]);
  return {
    encoderPath: pathOf('encoder'),
    decoderPath: pathOf('step'),
    verifierPath: pathOf('verifier'),
    streaming: { encoderPath: pathOf('streamingEncoder'), readerPath: pathOf('reader') },
  };
}

async function buildInto(folder: string, options: PreparationOptions, target: GraphTarget): Promise<void> {
  const published = await readPublishedGraphs(options);
  const write = (name: string, model: Uint8Array) => writeFile(join(folder, name), model, { flush: true });
  await write(PREPARED_NAMES.encoder, buildEncoder(published, target));
  await write(PREPARED_NAMES.streamingEncoder, buildStreamingEncoder(published, target));
  for (const kind of ['step', 'verifier', 'reader'] as const)
    await write(PREPARED_NAMES[kind], buildDecoder(kind, published.decoder, target));
}

/** Builds the graphs, and leaves those that can be used. */
async function fill(folder: string, options: PreparationOptions, weightType: WeightType): Promise<void> {
  const { architecture } = options;
  await buildInto(folder, options, { architecture, weightType });
  const files = filesIn(folder);
  const { finals, drafts, partials } = await comparePrepared(options, files, architecture);
  const useless = [
    ...(finals ? [] : [files.encoderPath, files.decoderPath]),
    ...(drafts ? [] : [files.verifierPath]),
    ...(partials ? [] : Object.values(files.streaming)),
  ];
  for (const path of useless) await rm(path);
}

async function prepare(options: PreparationOptions): Promise<Preparation> {
  const weightType = await fastestWeightType();
  const { folder, manifest } = await preparedFolder({
    outputDir: options.outputDir,
    from: { origin: originOf(options.published), weightType },
    fill: (into) => fill(into, options, weightType),
  });
  if (manifest.files.length === 0) throw new Error('the prepared graphs do not give the published result');
  const has = (wanted: string): boolean => manifest.files.some(({ name }) => name === wanted);
  const { verifierPath, streaming, ...files } = filesIn(folder);
  const warnings: string[] = [];
  if (!has(PREPARED_NAMES.verifier))
    warnings.push('drafts are not used: on this processor they would change results');
  if (!has(PREPARED_NAMES.reader))
    warnings.push('partials are made as finals are: on this processor they would differ too much');
  return {
    ...files,
    ...(has(PREPARED_NAMES.verifier) && { verifierPath }),
    ...(has(PREPARED_NAMES.reader) && { streaming }),
    ...(warnings.length > 0 && { warning: warnings.join('; ') }),
  };
}

/**
 * Prepares a model, or finds it prepared: the second call for the same files takes a fraction of a second. What is
 * found is read to the last byte, and made anew if it is not what it was. Nothing half-written is ever found, and
 * several processes may prepare the same model at once. What was built is compared with the published graphs before it
 * is used. Never throws: if anything fails, the published files come back with a warning.
 */
export async function prepareMoonshine(options: PreparationOptions): Promise<Preparation> {
  try {
    return await prepare(options);
  } catch (error) {
    const { encoderPath, decoderPath } = options;
    const reason = error instanceof Error ? error.message : String(error);
    return { encoderPath, decoderPath, warning: `the published graphs are used as they are: ${reason}` };
  }
}
