/** Shapes of the batches that float graphs run on. Pure functions of lengths. */
import { SAMPLE_RATE_HZ } from '../pipeline/audio.ts';
import { BATCH_LENGTH_STEP_MS, BATCH_PADDING_MAX_RATIO } from '../pipeline/limits.ts';
import { CONVOLUTIONS, SAMPLES_PER_ENCODED_FRAME } from './moonshine_facts.ts';

/** Samples by which the windows of the first convolution are apart. */
const FRONT_STRIDE = CONVOLUTIONS.conv1.stride;

function shortened(
  length: number,
  { size, stride }: { readonly size: number; readonly stride: number },
): number {
  return Math.max(0, Math.floor((length - size) / stride) + 1);
}

/** Frames after the first convolution that hold nothing but these samples. */
export function frontCount(samples: number): number {
  return shortened(samples, CONVOLUTIONS.conv1);
}

/** Frames that leave the encoder for so many samples. */
export function frameCount(samples: number): number {
  return Object.values(CONVOLUTIONS).reduce(shortened, samples);
}

/**
 * The length that rows of at most `samples` are padded to: in steps, because a device prepares itself for each shape,
 * and so that after each convolution the next one's stride divides what is left: 384 n + 64 samples give 6 n, then
 * 2 n − 2 positions, then n − 2 frames.
 */
export function paddedLength(samples: number): number {
  const stepFrames = Math.round((SAMPLE_RATE_HZ * BATCH_LENGTH_STEP_MS) / 1_000 / SAMPLES_PER_ENCODED_FRAME);
  const steps = Math.ceil((samples - FRONT_STRIDE) / SAMPLES_PER_ENCODED_FRAME / stepFrames);
  return steps * stepFrames * SAMPLES_PER_ENCODED_FRAME + FRONT_STRIDE;
}

/**
 * Splits rows into groups of similar length, so that in none of them more than BATCH_PADDING_MAX_RATIO of the samples is
 * padding. Returns indices; the groups are in the order of their first rows, which are waited for most.
 */
export function groupsByLength(lengths: readonly number[]): number[][] {
  const order = [...lengths.keys()].sort((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0));
  const groups: number[][] = [];
  let samples = 0;
  for (const index of order) {
    const group = groups.at(-1);
    const longest = lengths[group?.[0] ?? index] ?? 0;
    const length = lengths[index] ?? 0;
    const total = longest * ((group?.length ?? 0) + 1);
    if (group !== undefined && total - samples - length <= total * BATCH_PADDING_MAX_RATIO) {
      group.push(index);
      samples += length;
    } else {
      groups.push([index]);
      samples = length;
    }
  }
  return groups.sort((a, b) => Math.min(...a) - Math.min(...b));
}
