/** Runs in the browser's audio thread: mixes the microphone's audio down to mono and passes it on in blocks. */

// TypeScript's libraries do not declare what this scope has.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(
  name: string,
  processor: new (options: { readonly processorOptions: CaptureProcessorOptions }) => AudioWorkletProcessor,
): void;

interface CaptureProcessorOptions {
  readonly blockSamples: number;
}

class CaptureProcessor extends AudioWorkletProcessor {
  readonly #blockSamples: number;
  #block: Float32Array<ArrayBuffer>;
  #filledCount = 0;

  constructor({ processorOptions }: { readonly processorOptions: CaptureProcessorOptions }) {
    super();
    this.#blockSamples = processorOptions.blockSamples;
    this.#block = new Float32Array(this.#blockSamples);
  }

  /** Called by the browser with the next samples of each channel, which it uses again afterwards. */
  process([channels = []]: readonly (readonly Float32Array[])[]): boolean {
    const count = channels[0]?.length ?? 0;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i] ?? 0;
      this.#block[this.#filledCount++] = sum / channels.length;
      if (this.#filledCount === this.#blockSamples) this.#post();
    }
    return true;
  }

  #post(): void {
    this.port.postMessage(this.#block, [this.#block.buffer]);
    this.#block = new Float32Array(this.#blockSamples);
    this.#filledCount = 0;
  }
}

registerProcessor('earwitness-capture', CaptureProcessor);
