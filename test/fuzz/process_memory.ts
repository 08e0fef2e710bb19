/** The memory of this process without garbage, to be compared with what it was before. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** In bytes. */
export interface MemorySample {
  /** What V8 accounts for: objects, buffers, memories of WebAssembly. The same load leaves it the same within 4 MB. */
  readonly live: number;
  /**
   * The whole process, with what malloc keeps for itself: without any leak up to 10 MB more from one time to the next if
   * `MALLOC_MMAP_THRESHOLD_` is 65536, else glibc learns to keep up to 200 MB.
   */
  readonly resident: number;
}

export function sampleMemory(): MemorySample {
  // V8 frees the memory of buffers in the background, which the next collection waits for: one leaves up to 30 MB.
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { live: heapUsed + external, resident: rss };
}
