/** An inference worker process around the recogniser without a model. */
import { EXIT_CONCURRENCY, EXIT_DEVICE } from '../../pipeline/errors.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { InferenceWorker } from '../../pipeline/inference_worker.ts';
import { openWorkerChannel } from '../../server/workers/worker_channel.ts';
import { HashingRecogniser } from './hashing_recogniser.ts';

const worker = new InferenceWorker({
  recogniser: new HashingRecogniser(),
  reply: (message) => {
    channel.send(message);
  },
  onConcurrency: () => {
    process.exit(EXIT_CONCURRENCY);
  },
  onDeviceLost: () => {
    process.exit(EXIT_DEVICE);
  },
});
const channel = openWorkerChannel<InferenceReply>({
  receive: (request: InferenceRequest) => {
    void worker.run(request);
  },
  exit: (status) => {
    process.exit(status);
  },
});
channel.send({ type: 'ready', detail: 'digest' });
