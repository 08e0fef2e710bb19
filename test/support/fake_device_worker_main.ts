/**
 * `node fake_device_worker_main.js <settings of a real inference worker> <file with the health of the fake device>`:
 * a real worker and recogniser around an engine that has no model.
 */
import { readFileSync } from 'node:fs';
import { Moonshine } from '../../models/moonshine.ts';
import type { MoonshineEngine } from '../../models/moonshine_engine.ts';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { InferenceWorker } from '../../pipeline/inference_worker.ts';
import { decodeCanary, transcribeCanary } from '../../server/workers/canary.ts';
import { openWorkerChannel } from '../../server/workers/worker_channel.ts';
import type { InferenceWorkerSettings } from '../../server/workers/worker_settings.ts';
import { FAKE_DEVICE, type DeviceHealth } from './fake_device.ts';

const settings = JSON.parse(process.argv[2] ?? '{}') as InferenceWorkerSettings;
const { device } = settings.recogniser;
const exit = (status: number): never => process.exit(status);
const SCARCE_ROWS_COUNT = 2;
let isReady = false;

function health(): DeviceHealth {
  return device === FAKE_DEVICE ? (readFileSync(process.argv[3] ?? '', 'utf8') as DeviceHealth) : 'well';
}

const channel = openWorkerChannel<InferenceReply>({
  receive: (request: InferenceRequest) => {
    if (health() === 'dies') process.kill(process.pid, 'SIGSEGV');
    else void worker.run(request);
  },
  exit,
});
if (health() === 'exits') process.exit(1);
if (health() === 'refuses') {
  process.stderr.write('the fake device has no such kernel\n');
  process.exit(EXIT_CONFIG);
}
const canary = decodeCanary(settings.language, await loadDecoderFactory());
const engine: MoonshineEngine = {
  batchMaxCount: device === FAKE_DEVICE ? 8 : 1,
  decode: (tasks) => {
    if (health() === 'lost') {
      return Promise.reject(new Error('CUDA failure 700: an illegal memory access was encountered ; GPU=0'));
    }
    if (health() === 'scarce' && tasks.length > SCARCE_ROWS_COUNT) {
      return Promise.reject(new Error('Failed to allocate memory for requested buffer of size 1073741824'));
    }
    const decodings = tasks.map(() => ({
      ...{
        tokens: [],
        stop: 'end' as const,
        decoderSteps: 1,
        draftAcceptedTokens: 0,
        encodeMs: 1,
        decodeMs: 1,
        reusedMs: 0,
      },
    }));
    return Promise.resolve({ decodings, samples: 0, paddingSamples: 0, movedBytes: 0 });
  },
  close: () => Promise.resolve(),
};
const heard = (): string => (isReady ? device : health() === 'mishears' ? 'noise' : canary.words);
const recogniser = new Moonshine({ model: 'fake', device }, { engine, tokenizer: { decode: heard } });
for (let i = 0; i < (settings.canaryCount ?? 1); i++) await transcribeCanary(recogniser, canary);
isReady = true;
const worker = new InferenceWorker({
  recogniser,
  reply: (message) => {
    channel.send(message);
  },
  exit,
});
channel.send({ type: 'ready', detail: device });
