/**
 * The real audio worker with scripted parts, which ends as it is told when a message that is poison is decoded:
 * `node faulty_audio_worker_main.js SIGSEGV|heap|loop`.
 */
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import { AudioWorker } from '../../pipeline/audio_worker.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { openWorkerChannel } from '../../server/workers/worker_channel.ts';
import { exhaustHeap } from './exhausted_heap.ts';
import { poisonableDecoders, scriptedParts } from './scripted_audio.ts';

const fault = process.argv[2];
const channel = openWorkerChannel<AudioReply>({
  receive: (request: AudioRequest) => {
    void worker.receive(request);
  },
  exit: (status) => {
    process.exit(status);
  },
});
const worker = new AudioWorker({
  parts: { ...scriptedParts(), decoders: poisonableDecoders(fail) },
  clock: systemClock,
  cpuMs: () => 0,
  reply: (message) => {
    channel.send(message);
  },
  onTrackFailed: (error) => {
    process.stderr.write(`a track was given up: ${String(error)}\n`);
  },
});
channel.send({ type: 'ready', detail: 'faulty' });

function fail(): void {
  if (fault === 'loop') for (;;);
  if (fault === 'heap') exhaustHeap();
  process.kill(process.pid, 'SIGSEGV');
}
