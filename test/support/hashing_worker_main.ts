/** An inference worker process around the recogniser without a model. */
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { InferenceWorker } from '../../pipeline/inference_worker.ts';
import { openWorkerChannel } from '../../server/workers/worker_channel.ts';
import { HashingRecogniser } from './hashing_recogniser.ts';

const exit = (status: number): never => process.exit(status);
const worker = new InferenceWorker({
  recogniser: new HashingRecogniser(),
  reply: (message) => {
    channel.send(message);
  },
  exit,
});
const channel = openWorkerChannel<InferenceReply>({
  receive: (request: InferenceRequest) => {
    void worker.run(request);
  },
  exit,
});
channel.send({ type: 'ready', detail: 'digest' });
