/**
 * Measures the Moonshine recogniser in one run: the published graphs run plainly, `sherpa-onnx-node` with the same two
 * files, and the prepared graphs with and without drafts. Finals and live streams; a decoder step against the bare
 * 8-bit products of its weights; memory. Reads the weights that `models pull` fetched.
 * `node dist/test/bench/moonshine_bench_main.js [folder of 16 kHz WAV files]`
 */
import { findRecogniser } from '../../models/catalogue.ts';
import { prepareMoonshine } from '../../models/graph_preparation.ts';
import { loadMoonshine } from '../../models/moonshine.ts';
import { MOONSHINE_TINY } from '../../models/moonshine_facts.ts';
import { type MoonshineFiles } from '../../models/moonshine_graphs.ts';
import { fastestWeightType } from '../../models/weight_type.ts';
import { preparedDir, publishedDigests } from '../../models/weights.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import type { Recogniser } from '../../pipeline/contracts.ts';
import { testModelsDir, weightPath } from '../support/weights.ts';
import { durationMs, longUtterances, recordings, shortUtterances, type Clip } from './bench_speech.ts';
import { benchDecoderStep } from './decoder_step_bench.ts';
import { machineLine } from './processor_time.ts';
import { compareWays, PARTIAL_INTERVAL_MS, type Way } from './recogniser_bench.ts';
import { loadSherpa } from './sherpa_recogniser.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

const MODEL = 'moonshine-tiny-en';
const ARCHITECTURE = MOONSHINE_TINY;
const RUN_OPTIONS = { device: 'cpu', threads: 1, architecture: ARCHITECTURE } as const;
const PUBLISHED: MoonshineFiles = {
  encoderPath: weightPath(MODEL, 'encoder_model.onnx'),
  decoderPath: weightPath(MODEL, 'decoder_model_merged.onnx'),
};
const FLAT_RUNS = 2_000;

function load(files: MoonshineFiles): Promise<Recogniser> {
  return loadMoonshine({ model: MODEL, ...files, ...RUN_OPTIONS });
}

/** Memory before and after many runs of the same two clips, when all has been used once. */
async function measureMemory(recogniser: Recogniser, clips: readonly Clip[]): Promise<void> {
  const short = clips.map(({ pcm }) => pcm.subarray(0, msToSamples(1_500))).slice(0, 2);
  const runAll = async (count: number) => {
    for (let run = 0; run < count; run++) {
      await transcribeOne(recogniser, {
        pcm: short[run % short.length] ?? new Int16Array(16_000),
        draft: [],
      });
    }
  };
  await runAll(FLAT_RUNS / 10);
  const beforeMib = process.memoryUsage.rss() / 2 ** 20;
  await runAll(FLAT_RUNS);
  const afterMib = process.memoryUsage.rss() / 2 ** 20;
  console.log(
    `\nresident memory: ${beforeMib.toFixed(0)} MiB, after ${FLAT_RUNS} runs ${afterMib.toFixed(0)} MiB`,
  );
}

async function preparedFiles(): Promise<MoonshineFiles> {
  const { warning, ...files } = await prepareMoonshine({
    encoderPath: PUBLISHED.encoderPath,
    decoderPath: PUBLISHED.decoderPath,
    published: publishedDigests(findRecogniser(MODEL)),
    outputDir: preparedDir(MODEL, testModelsDir()),
    architecture: ARCHITECTURE,
  });
  if (warning !== undefined) console.log(`warning: ${warning}`);
  return files;
}

async function main(): Promise<void> {
  const prepared = await preparedFiles();
  const sets = {
    'utterances of up to 5 s': await shortUtterances(),
    'utterances of 10 to 15 s': await longUtterances(),
    recordings: await recordings(process.argv[2]),
  };
  console.log(machineLine('onnxruntime-node', 'sherpa-onnx-node'));
  console.log(
    `${MODEL} on one thread, 8-bit weights as ${await fastestWeightType()}; costs are processor time`,
  );
  const [published, sherpa, ours] = [
    await load(PUBLISHED),
    await loadSherpa(PUBLISHED),
    await load(prepared),
  ];
  const ways: readonly Way[] = [
    { name: 'published graph', recogniser: published, drafts: false },
    { name: 'sherpa-onnx-node', recogniser: sherpa, drafts: false },
    { name: 'prepared', recogniser: ours, drafts: false },
    { name: 'prepared, drafts', recogniser: ours, drafts: true },
    { name: 'prepared, drafts, streaming', recogniser: ours, drafts: true, isStreaming: true },
    { name: 'as served', recogniser: ours, drafts: true, isStreaming: true, isPaced: true },
  ];
  const speech = sets['utterances of 10 to 15 s'][0]?.pcm ?? new Int16Array();
  await benchDecoderStep({ published: PUBLISHED, prepared, architecture: ARCHITECTURE, speech });
  for (const [name, clips] of Object.entries(sets)) {
    if (clips.length === 0) continue;
    console.log(`\n${name}: ${clips.length}, ${(durationMs(clips) / 1_000).toFixed(1)} s; finals:`);
    await compareWays(ways.slice(0, 3), clips, 'final');
    console.log(`${name}, live: a partial every ${PARTIAL_INTERVAL_MS} ms, then the final:`);
    await compareWays(ways, clips, 'live');
  }
  await measureMemory(ours, sets['utterances of up to 5 s']);
  for (const recogniser of [published, sherpa, ours]) await recogniser.close();
}

await main();
