/** Audio bytes of any length and cut as messages that a session takes. */

/** The bytes in pieces of at most `maxBytes`: themselves if they fit, else copies. */
export function slicesOf(bytes: Uint8Array, maxBytes: number): readonly Uint8Array[] {
  if (bytes.length <= maxBytes) return [bytes];
  const slices: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; start += maxBytes) {
    slices.push(bytes.slice(start, start + maxBytes));
  }
  return slices;
}

/** Takes interleaved samples apart, one run of bytes for each channel; bytes may be cut anywhere. */
export class ChannelSplitter {
  readonly #sampleBytes: number;
  readonly #channelCount: number;
  /** The beginning of a frame whose end has not come. */
  #carry = new Uint8Array(0);

  constructor(sampleBytes: number, channelCount: number) {
    this.#sampleBytes = sampleBytes;
    this.#channelCount = channelCount;
  }

  push(bytes: Uint8Array): readonly Uint8Array[] {
    const all = new Uint8Array(this.#carry.length + bytes.length);
    all.set(this.#carry);
    all.set(bytes, this.#carry.length);
    const sampleBytes = this.#sampleBytes;
    const frameBytes = sampleBytes * this.#channelCount;
    const frameCount = Math.floor(all.length / frameBytes);
    this.#carry = all.slice(frameCount * frameBytes);
    return Array.from({ length: this.#channelCount }, (_, channel) => {
      const samples = new Uint8Array(frameCount * sampleBytes);
      for (let frame = 0; frame < frameCount; frame++) {
        const from = frame * frameBytes + channel * sampleBytes;
        samples.set(all.subarray(from, from + sampleBytes), frame * sampleBytes);
      }
      return samples;
    });
  }
}
