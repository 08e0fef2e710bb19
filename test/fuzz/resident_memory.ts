/** Whether a process leaks, told from its resident memory. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Resident memory in bytes, without garbage: how much of that there is depends on when V8 collected last. */
export function residentBytes(): number {
  collectGarbage();
  return process.memoryUsage().rss;
}

/**
 * By how much memory grew over samples that were taken at equal distances: the median of all pairwise slopes (Theil and
 * Sen), since single ones lie tens of MB beside the trend.
 */
export function growthBytes(samples: readonly number[]): number {
  const slopes = samples
    .flatMap((early, i) => samples.slice(i + 1).map((late, gap) => (late - early) / (gap + 1)))
    .sort((a, b) => a - b);
  return (slopes[Math.floor(slopes.length / 2)] ?? 0) * (samples.length - 1);
}
