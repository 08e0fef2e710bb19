/** The memory of this process without garbage, to be compared with what it was before. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** In bytes. */
export interface MemorySample {
  /** What V8 accounts for: objects, buffers, memories of WebAssembly. The same load leaves it the same within 4 MB. */
  readonly live: number;
  /** The whole process. What malloc could not give back is in it: steps of up to 200 MB, without any leak. */
  readonly resident: number;
}

export function sampleMemory(): MemorySample {
  // V8 frees the memory of buffers in the background, which the next collection waits for: one leaves up to 30 MB.
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { live: heapUsed + external, resident: rss };
}

/**
 * By how much a quantity grew over samples that were taken at equal distances, told from the median of all pairwise
 * slopes (Theil and Sen): a single step is none.
 */
export function trendOf(samples: readonly number[]): number {
  const slopes = samples
    .flatMap((early, i) => samples.slice(i + 1).map((late, gap) => (late - early) / (gap + 1)))
    .sort((a, b) => a - b);
  return (slopes[Math.floor(slopes.length / 2)] ?? 0) * (samples.length - 1);
}
