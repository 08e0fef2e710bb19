/**
 * Moonshine's encoder for an utterance that grows. It reads what is new, works out the latest frames anew, and lets
 * them attend to what an earlier run left of those before: the convolutions' sums and each layer's keys and values.
 *
 * What it makes of the earlier frames is not what the whole encoder would, which lets them attend to what was said
 * after them too. That is good enough for partials and saves most of their cost; finals never come from here.
 */
import { convolution } from './convolution.ts';
import { ELEMENT, GraphBuilder, type Value } from './graph_builder.ts';
import {
  CONVOLUTIONS,
  GROUP_NORM_EPSILON,
  type GraphTarget,
  type MoonshineArchitecture,
  ROTARY_SIZE,
} from './moonshine_facts.ts';
import { ResidualStream, rotaryTables } from './moonshine_layers.ts';
import { crossProjections } from './prepared_encoder.ts';
import { type PublishedGraph, type PublishedGraphs } from './published_graph.ts';
import { joinColumns } from './quantised_matrix.ts';
import { productOfTensor } from './quantised_product.ts';

/** Input: how many of the first frames that are worked out are kept. */
const SETTLED = 'settled';

/** The norm over all channels and all time, as a slope and an offset of each channel. */
interface Norm {
  readonly mean: Value;
  readonly deviation: Value;
}

/** Mean and deviation of what `value` and the earlier audio hold; the sums at each position are kept. */
function groupNorm(graph: GraphBuilder, value: Value): Norm {
  const [channels, time] = [graph.integers([2]), graph.integers([1])];
  const sums = graph.node('ReduceSum', [value, channels], { keepdims: 0 });
  const squares = graph.node('ReduceSum', [graph.node('Mul', [value, value]), channels], { keepdims: 0 });
  const both = graph.node('Concat', [sums, squares], { axis: 0 });
  const outputs = [graph.output('front_sums', ELEMENT.float, [2, 'fronts'])];
  graph.add({ operator: 'Identity', inputs: [both], outputs });
  const earlier = graph.input('earlier_sums', ELEMENT.float, [2]);
  const all = graph.node('Add', [graph.node('ReduceSum', [both, time], { keepdims: 0 }), earlier]);
  const means = graph.node('Mul', [all, graph.input('front_share', ELEMENT.float, [])]);
  const [mean, meanSquare] = [graph.fresh(), graph.fresh()];
  graph.add({ operator: 'Split', inputs: [means], outputs: [mean, meanSquare], attributes: { axis: 0 } });
  const variance = graph.node('Sub', [meanSquare, graph.node('Mul', [mean, mean])]);
  const epsilon = graph.floats([], [GROUP_NORM_EPSILON]);
  return { mean, deviation: graph.node('Sqrt', [graph.node('Add', [variance, epsilon])]) };
}

/**
 * The second convolution with the norm before it. Its sums do not change when audio follows; the norm does. So the sums
 * are made of what is not normed yet and kept, and the norm is applied to them:
 * conv(gain × (x − mean) / deviation + offset) = conv(gain × x) / deviation − conv(gain) × mean / deviation + conv(offset).
 */
function normedConvolution(graph: GraphBuilder, published: PublishedGraph, first: Value): Value {
  const kernel = published.kernel('conv2');
  const [outputs = 0, channels = 0, size = 0] = kernel.dims;
  const [gain, offset] = ['/groupnorm/Mul', '/groupnorm/Add'].map((node) => published.weightsOf(node));
  const bias = published.floats('conv2.bias');
  const channelOf = (at: number) => Math.floor(at / size) % channels;
  const scaled = kernel.elements.map((weight, at) => weight * (gain?.[channelOf(at)] ?? NaN));
  const [gains, offsets] = [new Float32Array(outputs), Float32Array.from(bias)];
  for (const [at, weight] of kernel.elements.entries()) {
    const output = Math.floor(at / (channels * size));
    gains[output] = (gains[output] ?? NaN) + (scaled[at] ?? NaN);
    offsets[output] = (offsets[output] ?? NaN) + weight * (offset?.[channelOf(at)] ?? NaN);
  }

  const { mean, deviation } = groupNorm(graph, first);
  const { stride } = CONVOLUTIONS.conv2;
  const later = convolution(graph, first, { kernel: { dims: kernel.dims, elements: scaled }, stride });
  const sums = grown(graph, 'front', { later, width: outputs });
  graph.add({ operator: 'Identity', inputs: [later], outputs: [laterOutput(graph, 'front', outputs)] });
  const shift = graph.node('Mul', [graph.floats([outputs], gains), graph.node('Div', [mean, deviation])]);
  const intercept = graph.node('Sub', [graph.floats([outputs], offsets), shift]);
  return graph.node('Add', [graph.node('Div', [sums, deviation]), intercept]);
}

interface LaterRows {
  readonly later: Value;
  readonly width: number;
}

/** Rows that an earlier run kept, and those of this one behind them. */
function grown(graph: GraphBuilder, name: string, { later, width }: LaterRows): Value {
  const earlier = graph.input(`earlier_${name}`, ELEMENT.float, [1, `earlier ${name}`, width]);
  return graph.node('Concat', [earlier, later], { axis: 1 });
}

function laterOutput(graph: GraphBuilder, name: string, width: number): Value {
  return graph.output(`later_${name}`, ELEMENT.float, [1, `later ${name}`, width]);
}

/** The same for frames, of which the first few of this run, those that no later run works out anew, are kept in turn. */
function grownFrames(graph: GraphBuilder, name: string, { later, width }: LaterRows): Value {
  const [from, axis] = [graph.integers([0]), graph.integers([1])];
  const outputs = [laterOutput(graph, name, width)];
  graph.add({ operator: 'Slice', inputs: [later, from, SETTLED, axis], outputs });
  return grown(graph, name, { later, width });
}

function front(graph: GraphBuilder, published: PublishedGraph): Value {
  const pcm = graph.input('pcm', ELEMENT.float, [1, 1, 'samples']);
  const { dims, elements } = published.kernel('conv1');
  const weights = graph.floats(dims, elements);
  const heard = graph.node('Conv', [pcm, weights], { strides: [CONVOLUTIONS.conv1.stride] });
  const first = graph.node('Transpose', [graph.node('Tanh', [heard])], { perm: [0, 2, 1] });
  const second = graph.contrib('Gelu', [normedConvolution(graph, published, first)]);
  const third = convolution(graph, second, {
    kernel: published.kernel('conv3'),
    stride: CONVOLUTIONS.conv3.stride,
  });
  const bias = published.floats('conv3.bias');
  return graph.contrib('Gelu', [graph.node('Add', [third, graph.floats([bias.length], bias)])]);
}

interface LayerParts {
  readonly graph: GraphBuilder;
  readonly published: PublishedGraph;
  readonly architecture: MoonshineArchitecture;
  readonly rotate: (value: Value) => Value;
}

/** Attention of the latest frames to all. */
function selfAttention(parts: LayerParts, normed: Value, layer: number): Value {
  const { graph, published, rotate } = parts;
  const { headCount, headSize } = parts.architecture;
  const path = `/layers.${layer}/self_attn`;
  const matrices = ['q', 'k', 'v'].map((name) => published.matrix(`${path}/${name}_proj`));
  const projected = productOfTensor(graph, normed, { matrix: joinColumns(matrices) });
  const [queries, keys, values] = [graph.fresh(), graph.fresh(), graph.fresh()];
  const outputs = [queries, keys, values];
  graph.add({ operator: 'Split', inputs: [projected], outputs, attributes: { axis: -1 } });
  const width = headCount * headSize;
  const inputs = [
    rotate(queries),
    grownFrames(graph, `key_${layer}`, { later: rotate(keys), width }),
    grownFrames(graph, `value_${layer}`, { later: values, width }),
  ];
  const scale = { float: 1 / Math.sqrt(headSize) };
  const attended = graph.contrib('MultiHeadAttention', inputs, { num_heads: headCount, scale });
  return productOfTensor(graph, attended, { matrix: published.matrix(`${path}/dense`, `${path}/o_proj`) });
}

function feedForward({ graph, published }: LayerParts, normed: Value, layer: number): Value {
  const product = (name: string, input: Value): Value =>
    productOfTensor(graph, input, {
      matrix: published.matrix(`/layers.${layer}/mlp/${name}`),
      bias: published.floats(`layers.${layer}.mlp.${name}.bias`),
    });
  return product('fc2', graph.contrib('Gelu', [product('fc1', normed)]));
}

/**
 * The streaming encoder as an ONNX model. In: `pcm` `[1, 1, samples]` from the first sample that the next row of the
 * second convolution sees; `earlier_sums` `[2]`, sum and sum of squares of what the first convolution made of the
 * samples before, and `front_share`, one over the count of what is summed in all; `positions` `[1, frames]` of the frames
 * that are worked out, and `settled` `[1]`; and of the rows before `earlier_front`, `earlier_key_N`, `earlier_value_N` and `earlier_hidden`,
 * each `[1, rows, width]`. Out: the same of this run's rows (`later_…`), `front_sums` `[2, fronts]`, and what the
 * prepared encoder writes for the decoder.
 */
export function buildStreamingEncoder(published: PublishedGraphs, target: GraphTarget): Uint8Array {
  const { architecture, weightType } = target;
  const { layerCount, headCount, headSize } = architecture;
  const graph = new GraphBuilder(weightType);
  const { encoder } = published;
  const frames = front(graph, encoder);
  const positions = graph.input('positions', ELEMENT.int64, [1, 'frames']);
  graph.input(SETTLED, ELEMENT.int64, [1]);
  const { cosines, sines } = rotaryTables(graph);
  const rotary = { interleaved: 1, num_heads: headCount, rotary_embedding_dim: ROTARY_SIZE };
  const rotate = (value: Value) =>
    graph.contrib('RotaryEmbedding', [value, positions, cosines, sines], rotary);
  const parts: LayerParts = { graph, published: encoder, architecture, rotate };
  const stream = new ResidualStream(graph, frames, 'apart');
  for (let layer = 0; layer < layerCount; layer++) {
    const gain = (name: string) => encoder.floats(`layers.${layer}.${name}.weight`);
    stream.add(selfAttention(parts, stream.norm(gain('input_layernorm')), layer));
    stream.add(feedForward(parts, stream.norm(gain('post_attention_layernorm')), layer));
  }
  const later = stream.norm(encoder.floats('layer_norm.weight'));
  const hidden = grownFrames(graph, 'hidden', { later, width: headCount * headSize });
  crossProjections(graph, { published, architecture, hidden });
  return graph.encode();
}
