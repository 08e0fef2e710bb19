/** Moonshine's encoder in float numbers, for a batch of utterances of different lengths. */
import { ELEMENT, type FloatType, GraphBuilder, type Value } from './graph_builder.ts';
import { attend, floatProduct, type Rotation, rotations, selfProjection } from './float_layers.ts';
import { CONVOLUTIONS, GROUP_NORM_EPSILON, type MoonshineArchitecture } from './moonshine_facts.ts';
import { ResidualStream } from './moonshine_layers.ts';
import { kernelMatrix, type PublishedGraph } from './published_graph.ts';

/** What float graphs are built for. */
export interface FloatTarget {
  readonly architecture: MoonshineArchitecture;
  readonly floatType: FloatType;
}

/**
 * A convolution of `[rows, length, channels]` as one product: positions are taken in blocks of a stride, and each
 * window is a few blocks side by side, with weights of 0 behind the kernel's end. `length` must be a multiple of the
 * stride. Convolutions proper would have CUDA look for the fastest program anew for each length and each batch size.
 */
function convolution(
  graph: GraphBuilder,
  published: PublishedGraph,
  { name, input }: { readonly name: keyof typeof CONVOLUTIONS; readonly input: Value },
): Value {
  const kernel = published.kernel(name);
  const [outputs = 0, channels = 0, size = 0] = kernel.dims;
  const { stride } = CONVOLUTIONS[name];
  const blockCount = Math.ceil(size / stride);
  const weights = new Float32Array(blockCount * stride * channels * outputs);
  weights.set(kernelMatrix(kernel));
  const blocks = graph.node('Reshape', [input, graph.integers([0, -1, stride * channels])]);
  const shifted = Array.from({ length: blockCount }, (_, shift) => {
    const end = shift === blockCount - 1 ? Number.MAX_SAFE_INTEGER : shift + 1 - blockCount;
    return graph.node('Slice', [blocks, ...[[shift], [end], [1]].map((each) => graph.integers(each))]);
  });
  const windows = graph.node('Concat', shifted, { axis: 2 });
  const matrix = graph.constant(ELEMENT.float, [weights.length / outputs, outputs], weights);
  const product = graph.node('MatMul', [windows, matrix]);
  if (name === 'conv1') return product;
  const bias = graph.constant(ELEMENT.float, [outputs], published.floats(`${name}.bias`));
  return graph.node('Add', [product, bias]);
}

/**
 * The norm over all channels and all time, of which padding must not be a part: sums over what `mask` leaves, times
 * `share`, one over their count. In 32 bits whatever the graph's type: these sums are long.
 */
function groupNorm(graph: GraphBuilder, published: PublishedGraph, value: Value): Value {
  const mask = graph.input('front_mask', ELEMENT.float, ['rows', 'fronts', 1]);
  const share = graph.input('front_share', ELEMENT.float, ['rows', 1, 1]);
  const axes = graph.integers([1, 2]);
  const scalar = (number: number): Value => graph.constant(ELEMENT.float, [], Float32Array.of(number));
  const meanOf = (summed: Value): Value =>
    graph.node('Mul', [graph.node('ReduceSum', [summed, axes], { keepdims: 1 }), share]);
  const mean = meanOf(graph.node('Mul', [value, mask]));
  const centred = graph.node('Mul', [graph.node('Sub', [value, mean]), mask]);
  const variance = meanOf(graph.node('Mul', [centred, centred]));
  const deviation = graph.node('Sqrt', [graph.node('Add', [variance, scalar(GROUP_NORM_EPSILON)])]);
  const [gain, offset] = ['/groupnorm/Mul', '/groupnorm/Add'].map((node) => {
    const weights = published.weightsOf(node);
    return graph.constant(ELEMENT.float, [weights.length], weights);
  });
  const scaled = graph.node('Mul', [graph.node('Div', [centred, deviation]), gain ?? '']);
  return graph.node('Add', [scaled, offset ?? '']);
}

function front(graph: GraphBuilder, published: PublishedGraph): Value {
  const pcm = graph.input('pcm', ELEMENT.float, ['rows', 'samples']);
  const input = graph.node('Unsqueeze', [pcm, graph.integers([2])]);
  const first = graph.node('Tanh', [convolution(graph, published, { name: 'conv1', input })]);
  const normed = groupNorm(graph, published, first);
  const second = graph.contrib('Gelu', [convolution(graph, published, { name: 'conv2', input: normed })]);
  return graph.contrib('Gelu', [convolution(graph, published, { name: 'conv3', input: second })]);
}

interface LayerParts {
  readonly published: PublishedGraph;
  readonly architecture: MoonshineArchitecture;
  readonly rotation: Rotation;
  readonly mask: Value;
}

function selfAttention(graph: GraphBuilder, parts: LayerParts, at: { layer: number; normed: Value }): Value {
  const { published, architecture, rotation, mask } = parts;
  const path = `/layers.${at.layer}/self_attn`;
  const matrix = (name: string) => published.matrix(`${path}/${name}_proj`);
  const project = selfProjection(graph, [matrix('q'), matrix('k'), matrix('v')], architecture);
  const attended = attend(graph, project(graph, at.normed, rotation), mask);
  return floatProduct(graph, published.matrix(`${path}/dense`, `${path}/o_proj`))(graph, attended);
}

function feedForward(
  graph: GraphBuilder,
  { published }: LayerParts,
  at: { layer: number; normed: Value },
): Value {
  const product = (name: string, input: Value): Value => {
    const bias = published.floats(`layers.${at.layer}.mlp.${name}.bias`);
    return floatProduct(graph, published.matrix(`/layers.${at.layer}/mlp/${name}`), bias)(graph, input);
  };
  return product('fc2', graph.contrib('Gelu', [product('fc1', at.normed)]));
}

/**
 * The float encoder as an ONNX model. In: `pcm` `[rows, samples]`, zero behind a row's end, of a length that
 * `paddedLength` gives; `front_mask` `[rows, fronts, 1]`, 1 for each frame of the first convolution that holds audio only, else 0; `front_share` `[rows, 1, 1]`, one
 * over the count of such frames times channels; `frame_mask` `[rows, 1, 1, frames]`, 0 or a large negative number;
 * `positions` `[1, frames]`. Out: `hidden` `[rows, frames, width]` in the graph's type.
 */
export function buildFloatEncoder(published: PublishedGraph, target: FloatTarget): Uint8Array {
  const { architecture, floatType } = target;
  const graph = new GraphBuilder('uint8', { floatType });
  const type = ELEMENT[floatType];
  const cast = (value: Value): Value =>
    floatType === 'float' ? value : graph.node('Cast', [value], { to: type });
  const frames = cast(front(graph, published));
  const mask = cast(graph.input('frame_mask', ELEMENT.float, ['rows', 1, 1, 'frames']));
  const positions = graph.input('positions', ELEMENT.int32, [1, 'frames']);
  const rotation = rotations(graph, architecture)(graph, positions);
  const parts: LayerParts = { published, architecture, rotation, mask };
  const stream = new ResidualStream(graph, frames);
  for (let layer = 0; layer < architecture.layerCount; layer++) {
    const gain = (name: string) => published.floats(`layers.${layer}.${name}.weight`);
    stream.add(selfAttention(graph, parts, { layer, normed: stream.norm(gain('input_layernorm')) }));
    stream.add(feedForward(graph, parts, { layer, normed: stream.norm(gain('post_attention_layernorm')) }));
  }
  const normed = stream.norm(published.floats('layer_norm.weight'));
  const output = graph.output('hidden', type, [
    'rows',
    'frames',
    architecture.headCount * architecture.headSize,
  ]);
  graph.add({ operator: 'Identity', inputs: [normed], outputs: [output] });
  return graph.encode();
}
