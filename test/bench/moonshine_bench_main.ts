/**
 * Measures the Moonshine recogniser, everything in one run and in turns, so that a noisy machine disturbs all alike:
 * the published graphs against the prepared ones, finals and live streams with and without drafts, and a decoder step
 * against the bare 8-bit products of its weights. Reads the weights that `models pull` fetched; further speech may be
 * given as a folder of 16 kHz mono WAV files.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { findRecogniser } from '../../models/catalogue.ts';
import { prepareMoonshine } from '../../models/graph_preparation.ts';
import { ELEMENT, GraphBuilder } from '../../models/graph_builder.ts';
import { loadMoonshine } from '../../models/moonshine.ts';
import { MOONSHINE_TINY } from '../../models/moonshine_facts.ts';
import { type MoonshineFiles, MoonshineGraphs, sessionOptions } from '../../models/moonshine_graphs.ts';
import { PublishedGraph } from '../../models/published_graph.ts';
import { transpose } from '../../models/quantised_matrix.ts';
import { fastestWeightType } from '../../models/weight_type.ts';
import { preparedDir, publishedDigests } from '../../models/weights.ts';
import { msToSamples, samplesToMs } from '../../pipeline/audio.ts';
import type { Hypothesis, Recogniser } from '../../pipeline/contracts.ts';
import { synthesise, type Voice } from '../support/speech.ts';
import { testModelsDir, weightPath } from '../support/weights.ts';

const MODEL = 'moonshine-tiny-en';
const PARTIAL_INTERVAL_MS = 500;
const ROUNDS = 2;
const STEP_ROUNDS = 400;
const STEP_AUDIO_MS = 3_000;
const FLAT_RUNS = 2_000;
const ARCHITECTURE = MOONSHINE_TINY;
const RUN_OPTIONS = { device: 'cpu', threads: 1, architecture: ARCHITECTURE } as const;
const PUBLISHED: MoonshineFiles = {
  encoderPath: weightPath(MODEL, 'encoder_model.onnx'),
  decoderPath: weightPath(MODEL, 'decoder_model_merged.onnx'),
};
const WAV_HEADER_BYTES = 44;

interface Clip {
  readonly name: string;
  readonly pcm: Int16Array;
}

const SENTENCES = [
  'The quick brown fox jumps over the lazy dog.',
  'Please call me back at seven thirty tomorrow morning.',
  'It was the best of times, it was the worst of times, it was the age of wisdom.',
  'We will meet at the station near the old bridge and take the last train home.',
];
const VOICES: readonly Voice[] = ['rms', 'kal16'];

async function synthesisedClips(): Promise<Clip[]> {
  const clips: Clip[] = [];
  for (const voice of VOICES) {
    for (const [at, text] of SENTENCES.entries()) {
      clips.push({ name: `${voice} ${at}`, pcm: await synthesise(text, { voice }) });
    }
  }
  return clips;
}

function recordedClips(folder: string | undefined): Clip[] {
  if (folder === undefined) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith('.wav'));
  return names.map((name) => {
    const bytes = readFileSync(join(folder, name)).subarray(WAV_HEADER_BYTES);
    const samples = bytes.length >> 1;
    return { name, pcm: Int16Array.from({ length: samples }, (_, at) => bytes.readInt16LE(2 * at)) };
  });
}

/** Cost of one way to transcribe, summed over clips and rounds. */
class Tally {
  encodeMs = 0;
  decodeMs = 0;
  steps = 0;
  audioMs = 0;

  add(hypothesis: Hypothesis): void {
    this.encodeMs += hypothesis.encodeMs;
    this.decodeMs += hypothesis.decodeMs;
    this.steps += hypothesis.decoderSteps;
  }

  get totalMs(): number {
    return this.encodeMs + this.decodeMs;
  }
}

type Way = readonly [name: string, recogniser: Recogniser, drafts: boolean];

/** One clip as a live stream: a partial after each interval, then the final. Returns the tokens of each. */
async function stream([, recogniser, drafts]: Way, pcm: Int16Array, tally: Tally): Promise<string[]> {
  const heard: string[] = [];
  let draft: readonly number[] = [];
  const interval = msToSamples(PARTIAL_INTERVAL_MS);
  for (let end = interval; end < pcm.length + interval; end += interval) {
    const hypothesis = await recogniser.transcribe(pcm.subarray(0, end), drafts ? draft : []);
    tally.add(hypothesis);
    draft = hypothesis.tokens;
    heard.push(hypothesis.tokens.join());
  }
  return heard;
}

async function finalOf([, recogniser]: Way, pcm: Int16Array, tally: Tally): Promise<string[]> {
  const hypothesis = await recogniser.transcribe(pcm, []);
  tally.add(hypothesis);
  return [hypothesis.tokens.join()];
}

function report(ways: readonly Way[], tallies: readonly Tally[], same: readonly string[]): void {
  const baseMs = tallies[0]?.totalMs ?? NaN;
  console.table(
    Object.fromEntries(
      ways.map(([name], at) => {
        const tally = tallies[at] ?? new Tally();
        return [
          name,
          {
            'encoder ms': Math.round(tally.encodeMs),
            'decoder ms': Math.round(tally.decodeMs),
            'decoder steps': tally.steps,
            'real-time factor': Number((tally.totalMs / tally.audioMs).toFixed(4)),
            'cost, published = 1': Number((tally.totalMs / baseMs).toFixed(3)),
            'same tokens': same[at],
          },
        ];
      }),
    ),
  );
}

async function compareWays(
  ways: readonly Way[],
  clips: readonly Clip[],
  run: (way: Way, pcm: Int16Array, tally: Tally) => Promise<string[]>,
): Promise<void> {
  const tallies = ways.map(() => new Tally());
  const same = ways.map(() => ({ yes: 0, all: 0 }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { pcm } of clips) {
      let expected: string[] | undefined;
      for (const [at, way] of ways.entries()) {
        const [tally, count] = [tallies[at] ?? new Tally(), same[at] ?? { yes: 0, all: 0 }];
        const heard = await run(way, pcm, tally);
        tally.audioMs += samplesToMs(pcm.length);
        expected ??= heard;
        count.all += heard.length;
        count.yes += heard.filter((tokens, i) => tokens === expected?.[i]).length;
      }
    }
  }
  report(
    ways,
    tallies,
    same.map(({ yes, all }) => `${yes} of ${all}`),
  );
}

/** All matrix products of one decoder step and nothing else; `rows` of each matrix (1 to see what a run costs). */
async function productsSession(rows: 'all' | 'one'): Promise<InferenceSession> {
  const published = new PublishedGraph(readFileSync(PUBLISHED.decoderPath));
  const graph = new GraphBuilder(await fastestWeightType());
  const matrices = [transpose(published.embedding())];
  for (let layer = 0; layer < ARCHITECTURE.layerCount; layer++) {
    const path = `/model/decoder/layers.${layer}`;
    const names = ['q_proj', 'k_proj', 'v_proj', 'dense'].map((name) => [`${path}/self_attn/${name}`]);
    names.push([`${path}/encoder_attn/q_proj`], [`${path}/encoder_attn/dense`]);
    names.push([`${path}/mlp/up_proj`], [`${path}/mlp/down_proj`]);
    for (const paths of names) matrices.push(published.matrix(...paths));
  }
  const activations = new Map<number, string>();
  const sums = matrices.map((matrix) => {
    const used = rows === 'all' ? matrix.rows : 1;
    const input = activations.get(used) ?? graph.input(`input_${used}`, ELEMENT.uint8, [1, used]);
    activations.set(used, input);
    const bytes = matrix.bytes.subarray(0, used * matrix.columns);
    const weights =
      graph.weightType === 'int8'
        ? graph.constant(
            ELEMENT.int8,
            [used, matrix.columns],
            Int8Array.from(bytes, (byte) => byte - 128),
          )
        : graph.constant(ELEMENT.uint8, [used, matrix.columns], bytes);
    const product = graph.node('MatMulInteger', [input, weights]);
    return graph.node('Slice', [product, graph.integers([0]), graph.integers([1]), graph.integers([1])]);
  });
  graph.add({
    operator: 'Concat',
    inputs: sums,
    outputs: [graph.output('sums', ELEMENT.int32, [1, 'products'])],
    attributes: { axis: 1 },
  });
  return InferenceSession.create(graph.encode(), sessionOptions(RUN_OPTIONS));
}

function feedsOf(session: InferenceSession): Record<string, Tensor> {
  const sizes = session.inputNames.map((name) => [name, Number(name.replace('input_', ''))] as const);
  return Object.fromEntries(
    sizes.map(([name, size]) => [name, new Tensor('uint8', new Uint8Array(size).fill(7), [1, size])]),
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((some, other) => some - other)[values.length >> 1] ?? NaN;
}

/** Median ms of each, taken in turns. */
async function mediansMs(runs: readonly (() => Promise<unknown>)[]): Promise<number[]> {
  const times = runs.map((): number[] => []);
  for (let round = 0; round < STEP_ROUNDS; round++) {
    for (const [at, run] of runs.entries()) {
      const startMs = performance.now();
      await run();
      times[at]?.push(performance.now() - startMs);
    }
  }
  return times.map(median);
}

async function measureStep(preparedFiles: MoonshineFiles): Promise<void> {
  const speech = await synthesise(SENTENCES[2] ?? '', { voice: 'rms' });
  const pcm = speech.slice(0, msToSamples(STEP_AUDIO_MS));
  const contexts = [];
  for (const files of [PUBLISHED, preparedFiles]) {
    const graphs = await MoonshineGraphs.open(files, RUN_OPTIONS);
    const context = await graphs.begin(pcm, 64);
    for (const token of [1, 739, 471, 278, 1900, 310, 3064, 29892]) await context.extend([token]);
    contexts.push(context);
  }
  const [published, prepared] = contexts;
  if (!published || !prepared) return;
  const [all, one] = [await productsSession('all'), await productsSession('one')];
  const [allFeeds, oneFeeds] = [feedsOf(all), feedsOf(one)];
  const [productsMs = NaN, emptyMs = NaN, preparedMs = NaN] = await mediansMs([
    () => all.run(allFeeds),
    () => one.run(oneFeeds),
    async () => {
      await prepared.extend([372]);
      prepared.truncate(8);
    },
  ]);
  const publishedMs: number[] = [];
  // The published graph cannot forget: its cache grows, so it gets few rounds.
  for (let round = 0; round < 16; round++) {
    const startMs = performance.now();
    await published.extend([372]);
    publishedMs.push(performance.now() - startMs);
  }
  const bareMs = productsMs - emptyMs;
  console.log(`decoder step of one token, ${STEP_AUDIO_MS} ms of audio, median ms:`);
  console.table({
    'bare products (a run without them taken off)': { ms: bareMs.toFixed(3), ratio: '1' },
    'prepared step': { ms: preparedMs.toFixed(3), ratio: (preparedMs / bareMs).toFixed(2) },
    'published step': {
      ms: median(publishedMs).toFixed(3),
      ratio: (median(publishedMs) / bareMs).toFixed(2),
    },
  });
}

/** Memory before and after many runs of the same two clips, when all has been used once. */
async function measureMemory(recogniser: Recogniser, clips: readonly Clip[]): Promise<void> {
  const short = clips.map(({ pcm }) => pcm.subarray(0, msToSamples(1_500))).slice(0, 2);
  const runAll = async (count: number) => {
    for (let run = 0; run < count; run++) {
      await recogniser.transcribe(short[run % short.length] ?? new Int16Array(16_000), []);
    }
  };
  await runAll(FLAT_RUNS / 10);
  const beforeMib = process.memoryUsage.rss() / 2 ** 20;
  await runAll(FLAT_RUNS);
  const afterMib = process.memoryUsage.rss() / 2 ** 20;
  console.log(
    `resident memory: ${beforeMib.toFixed(0)} MiB, after ${FLAT_RUNS} runs ${afterMib.toFixed(0)} MiB`,
  );
}

async function main(): Promise<void> {
  const { warning, ...preparedFiles } = await prepareMoonshine({
    encoderPath: PUBLISHED.encoderPath,
    decoderPath: PUBLISHED.decoderPath,
    published: publishedDigests(findRecogniser(MODEL)),
    outputDir: preparedDir(MODEL, testModelsDir()),
    architecture: ARCHITECTURE,
  });
  if (warning !== undefined) console.log(`warning: ${warning}`);
  const clips = [...(await synthesisedClips()), ...recordedClips(process.argv[2])];
  const audioSeconds = clips.reduce((sum, { pcm }) => sum + samplesToMs(pcm.length), 0) / 1_000;
  console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}`);
  console.log(`8-bit weights as ${await fastestWeightType()}; ${MODEL}, one thread, ${ROUNDS} rounds`);
  console.log(`${clips.length} clips, ${audioSeconds.toFixed(1)} s of speech`);
  const load = (files: MoonshineFiles) => loadMoonshine({ model: MODEL, ...files, ...RUN_OPTIONS });
  const [published, prepared] = [await load(PUBLISHED), await load(preparedFiles)];
  const ways: readonly Way[] = [
    ['published', published, false],
    ['prepared', prepared, false],
    ['prepared, drafts', prepared, true],
  ];
  await measureStep(preparedFiles);
  console.log('finals:');
  await compareWays(ways.slice(0, 2), clips, finalOf);
  console.log(`live streams, a partial every ${PARTIAL_INTERVAL_MS} ms:`);
  await compareWays(ways, clips, stream);
  await measureMemory(prepared, clips);
  await published.close();
  await prepared.close();
}

await main();
