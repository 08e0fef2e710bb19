/** The inference worker process: `node inference_worker_main.js <InferenceWorkerSettings as JSON>`, started by the gateway. */
import { loadRecogniser } from '../../models/recogniser.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { InferenceWorker } from '../../pipeline/inference_worker.ts';
import { decodeCanary, transcribeCanary } from './canary.ts';
import { loadedOrExit } from './hopeless_start.ts';
import { openWorkerChannel } from './worker_channel.ts';
import type { InferenceWorkerSettings } from './worker_settings.ts';

const settings = JSON.parse(process.argv[2] ?? '{}') as InferenceWorkerSettings;
const exit = (status: number): never => process.exit(status);
const channel = openWorkerChannel<InferenceReply>({
  receive: (request: InferenceRequest) => {
    void worker.run(request);
  },
  exit,
});
const canary = decodeCanary(settings.language, await loadDecoderFactory());
const loading = loadRecogniser(settings.recogniser, (candidate) => transcribeCanary(candidate, canary));
const { recogniser, warning } = await loadedOrExit(loading, exit);
for (let i = 0; i < (settings.canaryCount ?? 1); i++) await transcribeCanary(recogniser, canary);
const worker = new InferenceWorker({
  recogniser,
  reply: (message) => {
    channel.send(message);
  },
  exit,
});
channel.send({ type: 'ready', detail: recogniser.model, warning });
