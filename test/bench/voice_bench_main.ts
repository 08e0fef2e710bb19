/**
 * What it costs to judge a frame of voice: the published graph against the one that is made of it for many streams.
 * `node dist/test/bench/voice_bench_main.js`
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { readSileroGraph } from '../../models/silero_graph.ts';
import { FRAME_SAMPLES, VOICE_STATE_VALUES } from '../../pipeline/audio.ts';
import { sessionOptions } from '../../vad/silero.ts';
import { whiteNoise } from '../support/sound.ts';
import { weightPath } from '../support/weights.ts';
import { machineLine, median, processorMs } from './processor_time.ts';

const STREAM_COUNTS = [1, 2, 4, 8, 16, 32, 64];
const ROUNDS = 15;
const FRAMES_PER_ROUND = 600;

type Feeds = Readonly<Record<string, Tensor>>;

const noise = whiteNoise({ durationMs: 1_000, dbfs: -20, seed: 1 });
const modelPath = weightPath('silero-vad-v5', 'silero_vad_v5.onnx');
const published = await InferenceSession.create(modelPath, sessionOptions(1));
const rebuilt = await InferenceSession.create(await readSileroGraph(modelPath), sessionOptions(1));

function publishedFeeds(count: number): Feeds {
  const width = 64 + FRAME_SAMPLES;
  const input = Float32Array.from(
    { length: count * width },
    (_, at) => (noise[at % noise.length] ?? 0) / 32_768,
  );
  return {
    input: new Tensor('float32', input, [count, width]),
    state: new Tensor('float32', new Float32Array(2 * count * 128), [2, count, 128]),
    sr: new Tensor('int64', [16_000n], []),
  };
}

function rebuiltFeeds(count: number): Feeds {
  const frames = Int16Array.from({ length: count * FRAME_SAMPLES }, (_, at) => noise[at % noise.length] ?? 0);
  return {
    frames: new Tensor('int16', frames, [count, FRAME_SAMPLES]),
    states: new Tensor('float32', new Float32Array(count * VOICE_STATE_VALUES), [count, VOICE_STATE_VALUES]),
  };
}

/** Processor time of a frame in µs. */
async function round(session: InferenceSession, feeds: Feeds, count: number): Promise<number> {
  const runs = Math.ceil(FRAMES_PER_ROUND / count);
  const startedAtMs = processorMs();
  for (let i = 0; i < runs; i++) await session.run(feeds);
  return (1_000 * (processorMs() - startedAtMs)) / runs / count;
}

console.log(machineLine('onnxruntime-node'));
const rows: Record<string, Record<string, string>> = {};
for (const count of STREAM_COUNTS) {
  const costs: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS; i++) {
    costs[0].push(await round(published, publishedFeeds(count), count));
    costs[1].push(await round(rebuilt, rebuiltFeeds(count), count));
  }
  const [before, after] = [median(costs[0]), median(costs[1])];
  rows[`${count} streams at once`] = {
    'published, µs a frame': before.toFixed(0),
    'matrix products': after.toFixed(0),
    ratio: (after / before).toFixed(2),
  };
}
console.table(rows);
await published.release();
await rebuilt.release();
