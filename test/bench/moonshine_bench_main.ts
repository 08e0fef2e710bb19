/**
 * Measures a Moonshine recogniser in one run: the published graphs run plainly, `sherpa-onnx-node` and, where it is
 * installed, transformers.js with the same two files, and the prepared graphs with and without drafts. Finals and live
 * streams; a decoder step against the bare 8-bit products of its weights; memory. Reads the weights that `models pull`
 * fetched. `node dist/test/bench/moonshine_bench_main.js [--model moonshine-base-es] [folder of 16 kHz WAV files]`
 *
 * The synthesised speech is English. That is good enough for the cost of other languages' models, and for tokens equal
 * to the published graph's; but the Spanish one hears no word in whole sentences of it, only in some that are cut, so
 * that of its decoder little more than the first step is measured. Recordings in its language say more.
 */
import { parseArgs } from 'node:util';
import { DEFAULT_RECOGNISER, findRecogniser } from '../../models/catalogue.ts';
import { prepareMoonshine } from '../../models/graph_preparation.ts';
import { loadMoonshine } from '../../models/moonshine.ts';
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
import { loadTransformers } from './transformers_recogniser.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

const { values, positionals } = parseArgs({
  options: { model: { type: 'string', default: DEFAULT_RECOGNISER.id } },
  allowPositionals: true,
});
const entry = findRecogniser(values.model);
const { id: model, architecture } = entry;
const published: MoonshineFiles = {
  encoderPath: weightPath(model, 'encoder_model.onnx'),
  decoderPath: weightPath(model, 'decoder_model_merged.onnx'),
};
const FLAT_RUNS = 2_000;

function load(files: MoonshineFiles): Promise<Recogniser> {
  return loadMoonshine({ model, ...files, device: 'cpu', threads: 1, architecture });
}

/** A peer, or one line that says why it is not measured. */
async function loadPeer<T>(name: string, open: () => Promise<T>): Promise<T | undefined> {
  try {
    return await open();
  } catch (error) {
    console.log(`${name} is left out: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** The others that can run the published weights here. */
async function loadPeers(): Promise<Way[]> {
  const sherpa = await loadPeer('sherpa-onnx-node', () => loadSherpa({ model, ...published }));
  const transformers = await loadPeer('transformers.js', () =>
    loadTransformers({ model, architecture, ...published }),
  );
  const ways: Way[] = [];
  if (sherpa !== undefined) {
    ways.push({ name: 'sherpa-onnx-node', recogniser: sherpa, drafts: false, yardstick: 'sherpa' });
  }
  if (transformers !== undefined) {
    const { recogniser, version } = transformers;
    const name = `transformers.js ${version}`;
    ways.push({ name, recogniser, drafts: false, yardstick: 'transformers.js' });
  }
  return ways;
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
    encoderPath: published.encoderPath,
    decoderPath: published.decoderPath,
    published: publishedDigests(entry),
    outputDir: preparedDir(model, testModelsDir()),
    architecture,
  });
  if (warning !== undefined) console.log(`warning: ${warning}`);
  return files;
}

async function main(): Promise<void> {
  const prepared = await preparedFiles();
  const sets = {
    'utterances of up to 5 s': await shortUtterances(),
    'utterances of 10 to 15 s': await longUtterances(),
    recordings: await recordings(positionals[0]),
  };
  console.log(machineLine('onnxruntime-node', 'sherpa-onnx-node'));
  console.log(
    `${model} on one thread, 8-bit weights as ${await fastestWeightType()}; costs are processor time`,
  );
  const plain = await load(published);
  const peers = await loadPeers();
  const ours = await load(prepared);
  const ways: readonly Way[] = [
    { name: 'published graph', recogniser: plain, drafts: false, yardstick: 'published' },
    ...peers,
    { name: 'prepared', recogniser: ours, drafts: false },
    { name: 'prepared, drafts', recogniser: ours, drafts: true },
    { name: 'prepared, drafts, streaming', recogniser: ours, drafts: true, isStreaming: true },
    { name: 'as served', recogniser: ours, drafts: true, isStreaming: true, isPaced: true },
  ];
  const speech = sets['utterances of 10 to 15 s'][0]?.pcm ?? new Int16Array();
  await benchDecoderStep({ published, prepared, architecture, speech });
  for (const [name, clips] of Object.entries(sets)) {
    if (clips.length === 0) continue;
    console.log(`\n${name}: ${clips.length}, ${(durationMs(clips) / 1_000).toFixed(1)} s; finals:`);
    const withoutDrafts = ways.filter(({ drafts }) => !drafts);
    await compareWays(withoutDrafts, clips, 'final');
    console.log(`${name}, live: a partial every ${PARTIAL_INTERVAL_MS} ms, then the final:`);
    await compareWays(ways, clips, 'live');
  }
  await measureMemory(ours, sets['utterances of up to 5 s']);
  for (const recogniser of new Set(ways.map((way) => way.recogniser))) await recogniser.close();
}

await main();
