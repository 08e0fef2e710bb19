/** The inside of an inference worker: one recogniser, one job at a time, replies in the order of the jobs. */
import type { Recogniser } from './contracts.ts';
import { TranscriptionError } from './errors.ts';
import type { InferenceReply, InferenceRequest } from './inference_pool.ts';

export interface InferenceWorkerOptions {
  readonly recogniser: Recogniser;
  readonly reply: (message: InferenceReply) => void;
  /** Called when a second job arrives while one runs: the caller must end the process, nothing here is to be trusted. */
  readonly onConcurrency: () => void;
}

export class InferenceWorker {
  readonly #options: InferenceWorkerOptions;
  #isRunning = false;

  constructor(options: InferenceWorkerOptions) {
    this.#options = options;
  }

  async run(request: InferenceRequest): Promise<void> {
    if (this.#isRunning) {
      this.#options.onConcurrency();
      return;
    }
    this.#isRunning = true;
    const reply = await this.#transcribe(request);
    this.#isRunning = false;
    this.#options.reply(reply);
  }

  async #transcribe({ jobId, pcm, draft }: InferenceRequest): Promise<InferenceReply> {
    try {
      return { type: 'result', jobId, hypothesis: await this.#options.recogniser.transcribe(pcm, draft) };
    } catch (error) {
      if (error instanceof TranscriptionError) {
        return { type: 'jobFailed', jobId, code: error.code, message: error.message };
      }
      // The operator reads the cause in the worker's stderr; the client gets no library's message.
      process.stderr.write(
        `inference failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
      return { type: 'jobFailed', jobId, code: 'internal', message: 'the model failed on this audio' };
    }
  }
}
