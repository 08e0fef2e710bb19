/** Facts of the Moonshine family (model card and config) that the graphs do not say themselves. */
import { RECOGNISER_PCM_MAX_MS } from '../pipeline/limits.ts';
import type { WeightType } from './graph_builder.ts';

/** What differs between the models of the family. */
export interface MoonshineArchitecture {
  readonly layerCount: number;
  readonly headCount: number;
  readonly headSize: number;
}

/** What graphs are built for. */
export interface GraphTarget {
  readonly architecture: MoonshineArchitecture;
  readonly weightType: WeightType;
}

/** `moonshine-tiny-en`: 6 layers, 8 heads of 36. */
export const MOONSHINE_TINY: MoonshineArchitecture = { layerCount: 6, headCount: 8, headSize: 36 };
/** Start and end tokens and the size of the vocabulary. */
export const START_TOKEN = 1;
export const END_TOKEN = 2;
export const VOCABULARY_SIZE = 32_768;

/** Dimensions of each head that carry the position; the rest of the head does not. */
export const ROTARY_SIZE = 32;

/** The convolutions at the encoder's front, none of which pads: length of the kernels, and by how much each shortens. */
export const CONVOLUTIONS = {
  conv1: { size: 127, stride: 64 },
  conv2: { size: 7, stride: 3 },
  conv3: { size: 3, stride: 2 },
} as const;
/** Epsilon of the norm behind the first of them. */
export const GROUP_NORM_EPSILON = 1e-5;

/** The encoder makes 1,000 frames of 24 s of audio; 384 samples each. */
export const SAMPLES_PER_ENCODED_FRAME = 384;
/** Longest sequence of frames or tokens that occurs. */
export const LONGEST_SEQUENCE = Math.ceil((RECOGNISER_PCM_MAX_MS * 16) / SAMPLES_PER_ENCODED_FRAME);

/** Heads are padded to a multiple of 16, which ONNX Runtime's GroupQueryAttention asks for. */
export function paddedHeadSize({ headSize }: MoonshineArchitecture): number {
  return Math.ceil(headSize / 16) * 16;
}
