/** `node fake_device_worker_main.js <settings of a real inference worker> <file with the health of the fake device>`. */
import { readFileSync } from 'node:fs';
import type { Hypothesis, Recogniser } from '../../pipeline/contracts.ts';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import { loadDecoderFactory } from '../../pipeline/decoders.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { decodeCanary, transcribeCanary } from '../../server/canary.ts';
import { openWorkerChannel } from '../../server/worker_channel.ts';
import type { InferenceWorkerSettings } from '../../server/worker_settings.ts';
import { FAKE_DEVICE, type DeviceHealth } from './fake_device.ts';

const settings = JSON.parse(process.argv[2] ?? '{}') as InferenceWorkerSettings;
const { device } = settings.recogniser;

function health(): DeviceHealth {
  return device === FAKE_DEVICE ? (readFileSync(process.argv[3] ?? '', 'utf8') as DeviceHealth) : 'well';
}

function hypothesisOf(text: string): Hypothesis {
  return { text, tokens: [], stop: 'end', encodeMs: 1, decodeMs: 1, decoderSteps: 1, draftAcceptedTokens: 0 };
}

const channel = openWorkerChannel<InferenceReply>({
  receive: ({ jobs }: InferenceRequest) => {
    if (health() === 'dies') process.kill(process.pid, 'SIGSEGV');
    else
      for (const { jobId } of jobs) channel.send({ type: 'result', jobId, hypothesis: hypothesisOf(device) });
  },
  exit: (status) => {
    process.exit(status);
  },
});
if (health() === 'exits') process.exit(1);
if (health() === 'refuses') {
  process.stderr.write('the fake device has no such kernel\n');
  process.exit(EXIT_CONFIG);
}
const canary = decodeCanary(settings.language, await loadDecoderFactory());
const recogniser: Recogniser = {
  model: 'fake',
  device,
  batchMaxCount: 1,
  transcribe: () => {
    const hypothesis = hypothesisOf(health() === 'mishears' ? 'noise' : canary.words);
    const work = { samples: 0, paddingSamples: 0, movedBytes: 0, halvings: 0 };
    return Promise.resolve({ transcriptions: [{ hypothesis }], work });
  },
  close: () => Promise.resolve(),
};
for (let i = 0; i < (settings.canaryCount ?? 1); i++) await transcribeCanary(recogniser, canary);
channel.send({ type: 'ready', detail: device });
