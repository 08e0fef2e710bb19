import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import type { TrackSnapshot } from '../../pipeline/audio_messages.ts';
import { CHECKPOINT_INTERVAL_MS } from '../../pipeline/limits.ts';
import type { ControlReply, WorkerExit, WorkerProcess } from '../../pipeline/worker_process.ts';
import { loadConfig } from '../../server/config.ts';
import { audioLauncher } from '../../server/workers/worker_launchers.ts';
import { breakOpusSnapshot, encodeStream } from '../support/opus_material.ts';
import { testModelsDir } from '../support/weights.ts';

const FRAME_MS = 20;
const SETTINGS = {
  format: { encoding: 'opus', sampleRateHz: 48_000, channels: 1 },
  endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
  originSamples: 0,
} as const;
const PACKETS = encodeStream({
  ...{ kind: 'tone', frames: 1.5 * (CHECKPOINT_INTERVAL_MS / FRAME_MS), sampleRateHz: 48_000 },
  ...{ application: 'restricted_lowdelay', bitrate: 48_000, frameMs: FRAME_MS },
});

/** An audio worker in a process, and what it says, to its end. */
function launchWorker(test: TestContext): {
  readonly worker: WorkerProcess<AudioRequest>;
  readonly heard: AsyncIterable<AudioReply | ControlReply>;
  readonly exited: Promise<WorkerExit>;
} {
  const { config } = loadConfig({});
  const launch = audioLauncher({ ...config, modelsDir: testModelsDir() }, {});
  const said = new PassThrough({ objectMode: true });
  let end: (exit: WorkerExit) => void;
  const exited = new Promise<WorkerExit>((resolve) => {
    end = resolve;
  });
  const worker = launch({
    message: (message) => said.write(message),
    ended: () => undefined,
    exited: (exit) => {
      said.end();
      end(exit);
    },
  });
  test.after(() => {
    worker.kill('SIGKILL');
  });
  return { worker, heard: said, exited };
}

/** All packets for one track, from its beginning or from a state. */
function entriesOf(track: number, state?: TrackSnapshot): AudioRequest {
  const open = {
    type: 'open',
    track,
    settings: SETTINGS,
    ...(state === undefined ? {} : { state }),
  } as const;
  const inputs = PACKETS.map((bytes, index) => ({
    ...({ type: 'input', track, seq: index + 1 } as const),
    input: { type: 'audio', bytes } as const,
  }));
  return { type: 'entries', entries: [open, ...inputs] };
}

describe('the audio worker process', () => {
  it('[R-18] lives through a trap of the codec, says so on stderr, and reports it', async (test) => {
    const { worker, heard, exited } = launchWorker(test);
    let trapCount = 0;
    let checkpoint: TrackSnapshot | undefined;
    for await (const message of heard) {
      if (message.type === 'ready') worker.send(entriesOf(1));
      if (message.type !== 'outputs') continue;
      trapCount += message.stats.opusTrapCount;
      // The audio after the trap has been worked off: the process is whole.
      if (message.checkpoints.some(({ track }) => track === 2)) break;
      if (checkpoint !== undefined) continue;
      checkpoint = message.checkpoints[0]?.state;
      if (checkpoint === undefined) continue;
      worker.send(entriesOf(2, { ...checkpoint, decoder: breakOpusSnapshot(checkpoint.decoder) }));
    }
    worker.send({ type: 'stop' });
    const { code, stderrTail } = await exited;
    assert.deepEqual([trapCount, code], [1, 0], stderrTail);
    assert.match(stderrTail, /^the Opus codec trapped and was rebuilt: RuntimeError/m);
  });
});
