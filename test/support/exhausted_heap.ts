/** A heap that is full at once. */

/**
 * Ends the process as V8 does when it is out of heap. Large arrays fill it in a moment; small objects would have it
 * collect garbage for longer than a job may take.
 */
export function exhaustHeap(): never {
  const hoard: unknown[][] = [];
  for (;;) hoard.push(new Array<unknown>(1_000_000));
}
