/**
 * Measures a device: throughput and latency against the size of the batch, beside the CPU in the same run; where the
 * time goes; how many people can speak at the same time with their finals in time; words that differ from the CPU's.
 * `node dist/test/bench/device_bench_main.js [--device webgpu] [--seconds 10] [--rows 32] [--streams 1024]`
 */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { loadFloat, loadRecogniser } from '../../models/recogniser.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { Recogniser, RecognitionTask } from '../../pipeline/contracts.ts';
import { WorkerInferencePool } from '../../pipeline/inference_pool.ts';
import { BATCH_MAX_COUNT, ACCELERATOR_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { Scheduler } from '../../pipeline/scheduler.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';
import { CPU } from '../../server/workers/devices.ts';
import { inferenceLauncher } from '../../server/workers/worker_launchers.ts';
import { testModelsDir } from '../support/weights.ts';
import { normalisedWords, wordEditCount } from '../../server/load/word_error_rate.ts';
import { shortUtterances, type Clip } from './bench_speech.ts';
import { speakLive } from './live_streams.ts';
import { machineLine } from './processor_time.ts';

/** p95 of finals that counts as in time. */
const FINAL_P95_MAX_MS = 300;
const PARTIAL_INTERVAL_MS = 500;

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'webgpu' },
    seconds: { type: 'string', default: '10' },
    rows: { type: 'string', default: String(BATCH_MAX_COUNT) },
    streams: { type: 'string', default: '1024' },
  },
});
const model = { model: 'moonshine-tiny-en', modelsDir: testModelsDir(), threads: 1 } as const;

function percentile(of: readonly number[], share: number): number {
  return [...of].sort((a, b) => a - b)[Math.min(of.length - 1, Math.floor(of.length * share))] ?? NaN;
}

/** The first so many utterances, from the beginning again where there are not so many. */
function taskRows(clips: readonly Clip[], count: number): RecognitionTask[] {
  return Array.from({ length: count }, (_, at) => ({
    pcm: clips[at % clips.length]?.pcm ?? new Int16Array(0),
    draft: [],
  }));
}

/** Runs batches of this size for a while and says what each took, and on what. */
async function measureBatch(recogniser: Recogniser, tasks: readonly RecognitionTask[], durationMs: number) {
  await recogniser.transcribe(tasks);
  const runs: {
    tookMs: number;
    encodeMs: number;
    decodeMs: number;
    movedBytes: number;
    paddingRatio: number;
  }[] = [];
  const endAtMs = performance.now() + durationMs;
  do {
    const startedAtMs = performance.now();
    const { transcriptions, work } = await recogniser.transcribe(tasks);
    const tookMs = performance.now() - startedAtMs;
    const sum = (of: 'encodeMs' | 'decodeMs') =>
      transcriptions.reduce((total, { hypothesis }) => total + (hypothesis?.[of] ?? 0), 0);
    const paddingRatio = work.paddingSamples / work.samples;
    runs.push({
      ...{ tookMs, paddingRatio },
      encodeMs: sum('encodeMs'),
      decodeMs: sum('decodeMs'),
      movedBytes: work.movedBytes,
    });
  } while (performance.now() < endAtMs);
  const median = (of: (run: (typeof runs)[number]) => number) => percentile(runs.map(of), 0.5);
  const tookMs = median((run) => run.tookMs);
  const samples = tasks.reduce((total, { pcm }) => total + pcm.length, 0);
  return {
    'ms p50': Number(tookMs.toFixed(1)),
    'ms p95': Number(
      percentile(
        runs.map((run) => run.tookMs),
        0.95,
      ).toFixed(1),
    ),
    'utterances/s': Number(((tasks.length * 1_000) / tookMs).toFixed(1)),
    'audio s/s': Number((samples / 16 / tookMs).toFixed(1)),
    'encoder ms': Number(median(({ encodeMs }) => encodeMs).toFixed(1)),
    'decoder ms': Number(median(({ decodeMs }) => decodeMs).toFixed(1)),
    'host ms': Number(median((run) => run.tookMs - run.encodeMs - run.decodeMs).toFixed(1)),
    'moved MB': Number((median(({ movedBytes }) => movedBytes) / 1e6).toFixed(2)),
    padding: Number(median(({ paddingRatio }) => paddingRatio).toFixed(2)),
  };
}

async function compareBatches(clips: readonly Clip[], durationMs: number): Promise<void> {
  const { recogniser: cpu } = await loadRecogniser({ ...model, device: CPU });
  // On the processor the same float graphs can be asked for, to see what a batch gains there.
  const options = { ...model, device: values.device };
  const device =
    values.device === CPU ? await loadFloat(options, ['float']) : (await loadRecogniser(options)).recogniser;
  const rows: Record<string, object> = {
    'cpu, 8 bits, 1 thread': await measureBatch(cpu, taskRows(clips, 1), durationMs),
  };
  for (let count = 1; count <= Math.min(Number(values.rows), device.batchMaxCount); count *= 2) {
    rows[`${values.device}, batch of ${count}`] = await measureBatch(
      device,
      taskRows(clips, count),
      durationMs,
    );
  }
  console.log(
    `\nencoder and decoder: on the device, transfers included, which the binding does not tell apart; of ` +
      `${availableParallelism()} cores each can do what the first line says`,
  );
  console.table(rows);
  await compareWords({ cpu, device, clips });
  await cpu.close();
  await device.close();
}

async function compareWords(of: {
  cpu: Recogniser;
  device: Recogniser;
  clips: readonly Clip[];
}): Promise<void> {
  let [errors, words] = [0, 0];
  for (const task of taskRows(of.clips, of.clips.length)) {
    const { text: expected } = await transcribeOne(of.cpu, task);
    const { text: heard } = await transcribeOne(of.device, task);
    const expectedWords = normalisedWords(expected);
    errors += wordEditCount(expectedWords, normalisedWords(heard));
    words += expectedWords.length;
  }
  console.log(`words that differ from those of the CPU: ${errors} of ${words}`);
}

async function readyPool(pump: () => void): Promise<WorkerInferencePool> {
  const { device } = values;
  const launch = inferenceLauncher({ ...model, device, inferenceThreads: 1 }, { device });
  let pool: WorkerInferencePool | undefined;
  await new Promise<void>((resolve, reject) => {
    pool = new WorkerInferencePool({
      workers: [{ launch, batchMaxCount: device === CPU ? 1 : BATCH_MAX_COUNT }],
      clock: systemClock,
      random: Math.random,
      slotCount: 1,
      rssMaxBytes: ACCELERATOR_RSS_MAX_BYTES,
      onDeath: ({ exit }) => {
        reject(new Error(`the worker died: ${exit.stderrTail}`));
      },
      onChange: () => {
        resolve();
        pump();
      },
    });
    pool.start();
  });
  assert(pool);
  return pool;
}

async function findStreamCount(clips: readonly Clip[], durationMs: number): Promise<void> {
  let scheduler: Scheduler | undefined;
  const pool = await readyPool(() => scheduler?.pump());
  const utterances = clips.map(({ pcm }) => pcm);
  const rows: Record<string, object> = {};
  let best = 0;
  for (let streamCount = 1; streamCount <= Number(values.streams); streamCount *= 2) {
    const onScheduler = (one: Scheduler): void => {
      scheduler = one;
    };
    const result = await speakLive({
      ...{ pool, streamCount, durationMs, utterances, onScheduler, partialIntervalMs: PARTIAL_INTERVAL_MS },
    });
    const p95Ms = percentile(result.finalMs, 0.95);
    rows[`${streamCount} speaking`] = {
      finals: result.finalMs.length,
      failed: result.failedCount,
      'final ms p50': Math.round(percentile(result.finalMs, 0.5)),
      'final ms p95': Math.round(p95Ms),
      'partials/s of each': Number(((result.partialCount * 1_000) / durationMs / streamCount).toFixed(2)),
    };
    if (!(p95Ms <= FINAL_P95_MAX_MS)) break;
    best = streamCount;
  }
  console.table(rows);
  console.log(
    `${values.device}: ${best} people speaking all the time with p95 of finals ≤ ${FINAL_P95_MAX_MS} ms`,
  );
  await pool.close();
}

console.log(machineLine('onnxruntime-node'));
const clips = await shortUtterances();
const durationMs = Number(values.seconds) * 1_000;
await compareBatches(clips, durationMs);
await findStreamCount(clips, durationMs);
