/** Chance that any process repeats: a number that looks random and follows from what it is for. */

/**
 * A number in [0, 1) for these coordinates, such as a seed, a session and a sentence: the same in every process,
 * whatever was drawn before. The coordinates go through the mixer of MurmurHash3 one by one.
 */
export function draw(...coordinates: readonly number[]): number {
  let bits = 0x9e3779b9;
  for (const coordinate of coordinates) {
    bits = Math.imul(bits ^ coordinate, 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    bits ^= bits >>> 16;
  }
  return (bits >>> 0) / 2 ** 32;
}
