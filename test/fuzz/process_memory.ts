/** The memory of this process in bytes, without garbage, to be compared with what it was before. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** V8 frees the memory of buffers in the background, which the next collection waits for: one leaves up to 30 MB. */
function collectGarbage(): void {
  for (let i = 0; i < 3; i++) gc();
}

/** The whole process. What malloc keeps for itself is in it, which may grow by 180 MB where sizes are of all kinds. */
export function residentBytes(): number {
  collectGarbage();
  return process.memoryUsage().rss;
}

/** What V8 accounts for: objects, buffers, memories of WebAssembly. The same work leaves it the same within 4 MB. */
export function liveBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
