/** What the gateway tells a worker process on its command line. */
import type { RecogniserOptions } from '../../models/recogniser.ts';

export interface AudioWorkerSettings {
  readonly vadModelPath: string;
}

export interface InferenceWorkerSettings {
  readonly recogniser: RecogniserOptions;
  /** Of the model, for its canary phrase. */
  readonly language: string;
  /** Times that it must hear the phrase before it is ready; default 1. */
  readonly canaryCount?: number;
}
