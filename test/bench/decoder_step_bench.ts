/** A decoder step of one token against the bare 8-bit products of its weights: what no decoder can do without. */
import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { ELEMENT, GraphBuilder } from '../../models/graph_builder.ts';
import { sessionOptions } from '../../models/device_options.ts';
import { type MoonshineFiles, MoonshineGraphs } from '../../models/moonshine_graphs.ts';
import { type MoonshineArchitecture } from '../../models/moonshine_facts.ts';
import { PublishedGraph } from '../../models/published_graph.ts';
import { transpose } from '../../models/quantised_matrix.ts';
import { fastestWeightType } from '../../models/weight_type.ts';
import { msToSamples } from '../../pipeline/audio.ts';
import { median, processorMs } from './processor_time.ts';

const AUDIO_MS = 3_000;
const ROUNDS = 400;
/** The published graph cannot forget: its cache grows, so it gets few rounds. */
const PUBLISHED_ROUNDS = 16;
/** Any text will do: "The quick …". */
const READ_TOKENS = [1, 739, 471, 278, 1900, 310, 3064, 29892];
const NEXT_TOKEN = 372;
const RUN_OPTIONS = { device: 'cpu', threads: 1 } as const;

export interface StepBenchOptions {
  readonly published: MoonshineFiles;
  readonly prepared: MoonshineFiles;
  readonly architecture: MoonshineArchitecture;
  /** At least AUDIO_MS of speech. */
  readonly speech: Int16Array;
}

/** All matrix products of one decoder step and nothing else; `rows` of each matrix (1 to see what a run costs). */
async function productsSession(
  rows: 'all' | 'one',
  { published: files, architecture }: StepBenchOptions,
): Promise<InferenceSession> {
  const published = new PublishedGraph(readFileSync(files.decoderPath));
  const graph = new GraphBuilder(await fastestWeightType());
  const matrices = [transpose(published.embedding())];
  for (let layer = 0; layer < architecture.layerCount; layer++) {
    const path = `/model/decoder/layers.${layer}`;
    // What differs between the exporters of the models is named twice.
    const names = ['q_proj', 'k_proj', 'v_proj'].map((name) => [`${path}/self_attn/${name}`]);
    names.push([`${path}/self_attn/dense`, `${path}/self_attn/o_proj`]);
    names.push([`${path}/encoder_attn/q_proj`]);
    names.push([`${path}/encoder_attn/dense`, `${path}/encoder_attn/o_proj`]);
    names.push([`${path}/mlp/up_proj`, `${path}/mlp/fc1`], [`${path}/mlp/down_proj`, `${path}/mlp/fc2`]);
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

/** Median processor time of each in ms, taken in turns. */
async function mediansMs(runs: readonly (() => Promise<unknown>)[]): Promise<number[]> {
  const times = runs.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, run] of runs.entries()) {
      const startMs = processorMs();
      await run();
      times[at]?.push(processorMs() - startMs);
    }
  }
  return times.map(median);
}

/** Prints the median time of each, and its ratio to the bare products. */
export async function benchDecoderStep(options: StepBenchOptions): Promise<void> {
  const pcm = options.speech.slice(0, msToSamples(AUDIO_MS));
  const begin = async (files: MoonshineFiles) => {
    const { architecture } = options;
    const graphs = await MoonshineGraphs.open(files, { ...RUN_OPTIONS, architecture });
    const context = await graphs.begin(pcm, 64);
    for (const token of READ_TOKENS) await context.extend([token]);
    return context;
  };
  const [published, prepared] = [await begin(options.published), await begin(options.prepared)];
  const [all, one] = [await productsSession('all', options), await productsSession('one', options)];
  const [allFeeds, oneFeeds] = [feedsOf(all), feedsOf(one)];
  const [productsMs = NaN, emptyMs = NaN, preparedMs = NaN] = await mediansMs([
    () => all.run(allFeeds),
    () => one.run(oneFeeds),
    async () => {
      await prepared.extend([NEXT_TOKEN]);
      prepared.truncate(READ_TOKENS.length);
    },
  ]);
  const publishedMs: number[] = [];
  for (let round = 0; round < PUBLISHED_ROUNDS; round++) {
    const startMs = processorMs();
    await published.extend([NEXT_TOKEN]);
    publishedMs.push(processorMs() - startMs);
  }
  const bareMs = productsMs - emptyMs;
  const row = (ms: number) => ({ ms: Number(ms.toFixed(3)), ratio: Number((ms / bareMs).toFixed(2)) });
  console.log(`\na decoder step of one token, ${AUDIO_MS} ms of audio, median:`);
  console.table({
    'bare products (a run without them taken off)': row(bareMs),
    'prepared step': row(preparedMs),
    'published step': row(median(publishedMs)),
  });
}
