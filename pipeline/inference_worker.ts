/** The inside of an inference worker: one recogniser, one batch at a time, each job answered as soon as it is heard. */
import type { BatchWork, Recogniser, Transcription } from './contracts.ts';
import { DeviceError, EXIT_CONCURRENCY, EXIT_DEVICE } from './errors.ts';
import type { BatchJob, InferenceReply, InferenceRequest } from './inference_pool.ts';

export interface InferenceWorkerOptions {
  readonly recogniser: Recogniser;
  readonly reply: (message: InferenceReply) => void;
  /**
   * Ends the process: a batch came while one was running (EXIT_CONCURRENCY), and nothing here is to be trusted, or the
   * device is lost (EXIT_DEVICE), and it never serves again.
   */
  readonly exit: (status: number) => void;
}

export class InferenceWorker {
  readonly #options: InferenceWorkerOptions;
  #isRunning = false;

  constructor(options: InferenceWorkerOptions) {
    this.#options = options;
  }

  async run({ jobs }: InferenceRequest): Promise<void> {
    const { recogniser, reply, exit } = this.#options;
    if (this.#isRunning) {
      process.stderr.write('a second batch arrived while one was running: the device must be serialized\n');
      exit(EXIT_CONCURRENCY);
      return;
    }
    this.#isRunning = true;
    const waiting = new Set(jobs.keys());
    let batch: { readonly transcriptions: readonly Transcription[]; readonly work: BatchWork };
    try {
      batch = await recogniser.transcribe(jobs, (at, hypothesis) => {
        // With the last answer the batch is over for who sent it: that waits for what there is to say of the batch.
        if (waiting.size === 1 || !waiting.delete(at)) return;
        const job = jobs[at];
        if (job !== undefined) reply(replyTo(job, { hypothesis }));
      });
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      tellOperator(error);
      exit(EXIT_DEVICE);
      return;
    }
    this.#isRunning = false;
    reply({ type: 'batchDone', work: batch.work, batchMaxCount: recogniser.batchMaxCount });
    for (const [at, job] of jobs.entries())
      if (waiting.has(at)) reply(replyTo(job, batch.transcriptions[at]));
  }
}

function replyTo({ jobId }: BatchJob, transcription: Transcription | undefined): InferenceReply {
  if (transcription?.hypothesis !== undefined) {
    return { type: 'result', jobId, hypothesis: transcription.hypothesis };
  }
  const error = transcription?.error;
  if (error?.cause !== undefined) tellOperator(error);
  return {
    type: 'jobFailed',
    jobId,
    code: error?.code ?? 'internal',
    message: error?.message ?? 'the model failed on this audio',
  };
}

/** The operator reads the cause in the worker's stderr; the client gets no library's message. */
function tellOperator({ message, cause }: Error): void {
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  process.stderr.write(`inference failed: ${message}: ${text}\n`);
}
