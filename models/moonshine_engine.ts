/** What runs the graphs of a Moonshine model: one utterance after the other, or a batch at once. */
import type { RecognitionTask } from '../pipeline/contracts.ts';
import type { Decoding } from './greedy_decoder.ts';

/** Audio with the most tokens that it may become, and a guess at them. */
export interface AudioTask extends RecognitionTask {
  readonly maxTokens: number;
}

/** The times are the row's part of its batch: they add up to what the device was busy. */
export interface TimedDecoding extends Decoding {
  readonly encodeMs: number;
  readonly decodeMs: number;
  /** Of the audio, what an earlier run had encoded. */
  readonly reusedMs: number;
}

export interface DecodedBatch {
  /** One for each task, in order. */
  readonly decodings: readonly TimedDecoding[];
  readonly samples: number;
  readonly paddingSamples: number;
  readonly movedBytes: number;
}

/** Holds native memory until `close`. Not re-entrant. */
export interface MoonshineEngine {
  readonly batchMaxCount: number;
  /**
   * Calls `decoded` for each task as soon as it is known. Rejects with ONNX Runtime's error if a run fails; then of the
   * batch only what was told is known.
   */
  decode(
    tasks: readonly AudioTask[],
    decoded?: (at: number, decoding: TimedDecoding) => void,
  ): Promise<DecodedBatch>;
  close(): Promise<void>;
}
