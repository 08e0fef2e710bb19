/** How much memory this server may use: the machine's, or its container's if that is less. */
import { totalmem } from 'node:os';

/** In bytes. A container is one as its control group says; what else runs in it counts against the same limit. */
export function memoryLimitBytes(): number {
  // Without a limit the system reports 0, nothing, or a number beyond any memory.
  const constrained = process.constrainedMemory() as number | undefined;
  const total = totalmem();
  return constrained !== undefined && constrained > 0 ? Math.min(constrained, total) : total;
}
