/** The audio worker process: `node audio_worker_main.js <AudioWorkerSettings as JSON>`, started by the gateway. */
import { readSileroGraph } from '../../models/silero_graph.ts';
import { AudioWorker } from '../../pipeline/audio_worker.ts';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import type { VoiceDetector } from '../../pipeline/contracts.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';
import { loadSilero } from '../../vad/silero.ts';
import { loadedOrExit } from './hopeless_start.ts';
import { cpuMs, openWorkerChannel } from './worker_channel.ts';
import type { AudioWorkerSettings } from './worker_settings.ts';

const settings = JSON.parse(process.argv[2] ?? '{}') as AudioWorkerSettings;
const exit = (status: number): never => process.exit(status);
const channel = openWorkerChannel<AudioReply>({
  receive: (request: AudioRequest) => {
    // A rejection is a fault of all tracks: unhandled, it ends the process, and the gateway replays into another.
    void worker.receive(request);
  },
  exit,
});
const loadDetector = async (): Promise<VoiceDetector> =>
  loadSilero({ graph: await readSileroGraph(settings.vadModelPath), threads: 1 });
const [decoders, detector] = await Promise.all([
  loadDecoderFactory({
    onOpusRebuilt: (cause) => {
      process.stderr.write(`the Opus codec trapped and was rebuilt: ${String(cause)}\n`);
      worker.noteOpusTrap();
    },
  }),
  loadedOrExit(loadDetector(), exit),
]);
const worker = new AudioWorker({
  parts: { decoders, detector, segmenters: SILERO_SEGMENTERS },
  clock: systemClock,
  cpuMs,
  reply: (message) => {
    channel.send(message);
  },
  onTrackFailed: (error) => {
    process.stderr.write(`a track was given up: ${error instanceof Error ? error.stack : String(error)}\n`);
  },
});
channel.send({ type: 'ready', detail: 'silero-vad-v5' });
