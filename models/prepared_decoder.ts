/**
 * Moonshine's decoder, rebuilt from the published weights: about 90 nodes for a step of one token instead of 1,100,
 * the output layer in 8 bits like all others, and the choice of the token inside.
 *
 * There are three of it. The step reads one token. The verifier reads several, in such a way that what it computes for
 * each is bit for bit what a step computes, so that a draft never changes a transcript: activations are quantised row
 * by row, and every float product is made of the same one-row products (cross-attention) or at least two-row products
 * (self-attention), because ONNX Runtime rounds products of one row differently from those of more. The reader reads
 * several as well, all quantised together: in two thirds of the time, but now and then it chooses otherwise where
 * choices are close. It is for partials.
 */
import { CONTRIB_DOMAIN, ELEMENT, GraphBuilder, type Value } from './graph_builder.ts';
import { type GraphTarget, type MoonshineArchitecture, paddedHeadSize } from './moonshine_facts.ts';
import { ResidualStream, type RotaryTables, rotaryTables } from './moonshine_layers.ts';
import type { PublishedGraph } from './published_graph.ts';
import { joinColumns, padHeadColumns, padHeadRows, transpose } from './quantised_matrix.ts';
import {
  choiceOfRows,
  choiceOfTensor,
  type Choice,
  type Product,
  productOfRows,
  productOfTensor,
} from './quantised_product.ts';

/** Reads one token, or several; the reader several in less time and with less care. */
export type DecoderKind = 'step' | 'verifier' | 'reader';

interface DecoderParts {
  readonly kind: DecoderKind;
  readonly graph: GraphBuilder;
  readonly published: PublishedGraph;
  readonly architecture: MoonshineArchitecture;
  readonly product: Product;
  readonly choice: Choice;
  readonly rotary: RotaryTables;
  readonly lastPosition: Value;
  readonly sequenceLength: Value;
}

/**
 * Self-attention over the tokens read so far: rotation, causal mask, attention and the append to the cache are one
 * node. The cache is written in place where the caller passes the same memory as input and output.
 */
function selfAttention(parts: DecoderParts, normed: Value, layer: number): Value {
  const { graph, published, architecture, product, kind } = parts;
  const { headCount, headSize } = architecture;
  const path = `/model/decoder/layers.${layer}/self_attn`;
  const padded = paddedHeadSize(architecture);
  const projections = ['q', 'k', 'v'].map((name) =>
    padHeadColumns(published.matrix(`${path}/${name}_proj`), headSize, padded),
  );
  const projected = product(graph, normed, { matrix: joinColumns(projections) });
  // One row twice: the second is overwritten by the next step. See the head of this file.
  const rows = kind === 'step' ? graph.node('Concat', [projected, projected], { axis: 1 }) : projected;
  const cache = ['key', 'value'].map((part) =>
    graph.input(`self_${part}_${layer}`, ELEMENT.float, [1, headCount, 'capacity', padded]),
  );
  const written = ['key', 'value'].map((part) =>
    graph.output(`written_${part}_${layer}`, ELEMENT.float, [1, headCount, 'capacity', padded]),
  );
  const { lastPosition, sequenceLength, rotary } = parts;
  const attended = graph.fresh();
  graph.add({
    operator: 'GroupQueryAttention',
    domain: CONTRIB_DOMAIN,
    inputs: [rows, '', '', ...cache, lastPosition, sequenceLength, rotary.cosines, rotary.sines],
    outputs: [attended, ...written],
    attributes: {
      num_heads: headCount,
      kv_num_heads: headCount,
      do_rotary: 1,
      rotary_interleaved: 1,
      scale: { float: 1 / Math.sqrt(headSize) },
    },
  });
  const first = [graph.integers([0]), graph.integers([1]), graph.integers([1])];
  const kept = kind === 'step' ? graph.node('Slice', [attended, ...first]) : attended;
  const output = published.matrix(`${path}/dense`, `${path}/o_proj`);
  return product(graph, kept, { matrix: padHeadRows(output, headSize, padded) });
}

/**
 * Attention to the audio. In step and verifier each token is an entry of a batch of one-row products: no transposition,
 * any count. In the reader each head's tokens are one product.
 */
function crossAttention(parts: DecoderParts, normed: Value, layer: number): Value {
  const { graph, published, architecture, product, kind } = parts;
  const { headCount, headSize } = architecture;
  const path = `/model/decoder/layers.${layer}/encoder_attn`;
  const keys = graph.input(`cross_key_${layer}`, ELEMENT.float, [headCount, headSize, 'frames']);
  const values = graph.input(`cross_value_${layer}`, ELEMENT.float, [headCount, 'frames', headSize]);
  const projected = product(graph, normed, { matrix: published.matrix(`${path}/q_proj`) });
  const heads = kind === 'reader' ? [-1, headCount, headSize] : [-1, headCount, 1, headSize];
  const turned = (value: Value): Value =>
    kind === 'reader' ? graph.node('Transpose', [value], { perm: [1, 0, 2] }) : value;
  const queries = turned(graph.node('Reshape', [projected, graph.integers(heads)]));
  const weights = graph.node('Softmax', [graph.node('MatMul', [queries, keys])], { axis: -1 });
  const attended = turned(graph.node('MatMul', [weights, values]));
  const rows = graph.node('Reshape', [attended, graph.integers([1, -1, headCount * headSize])]);
  return product(graph, rows, { matrix: published.matrix(`${path}/dense`, `${path}/o_proj`) });
}

/** Gated feed-forward layer (SwiGLU). `QuickGelu` with alpha 1 is the SiLU in one node instead of two. */
function feedForward(parts: DecoderParts, normed: Value, layer: number): Value {
  const { graph, published, product } = parts;
  const path = `/model/decoder/layers.${layer}/mlp`;
  const name = `model.decoder.layers.${layer}.mlp`;
  const widened = product(graph, normed, {
    matrix: published.matrix(`${path}/up_proj`, `${path}/fc1`),
    bias: published.floats(`${name}.up_proj.bias_merged_0`, `${name}.fc1.bias_merged_0`),
  });
  const [passed, gate] = [graph.fresh(), graph.fresh()];
  graph.add({ operator: 'Split', inputs: [widened], outputs: [passed, gate], attributes: { axis: -1 } });
  const gated = graph.node('Mul', [graph.contrib('QuickGelu', [gate], { alpha: { float: 1 } }), passed]);
  return product(graph, gated, {
    matrix: published.matrix(`${path}/down_proj`, `${path}/fc2`),
    bias: published.floats(`${name}.down_proj.bias_merged_0`, `${name}.fc2.bias_merged_0`),
  });
}

/** Looks tokens up in the 8-bit embedding. */
function embed(graph: GraphBuilder, published: PublishedGraph, tokens: Value): Value {
  const { rows, columns, bytes, scales, zeroPoints } = published.embedding();
  const rowsOfTokens = graph.node('Gather', [graph.constant(ELEMENT.uint8, [rows, columns], bytes), tokens]);
  const scale = graph.floats([], scales.slice(0, 1));
  const zeroPoint = graph.constant(ELEMENT.uint8, [], zeroPoints.slice(0, 1));
  return graph.node('DequantizeLinear', [rowsOfTokens, scale, zeroPoint]);
}

/**
 * The prepared decoder as an ONNX model. In: `tokens` `[1, n]`, `last_position` `[1]` and `sequence_length` of the
 * tokens read after the run (the step's own row counts twice), the cross projections, and the cache of each layer.
 * Out: `next` `[1, n]`, the most likely token after each, and the caches.
 */
export function buildDecoder(kind: DecoderKind, published: PublishedGraph, target: GraphTarget): Uint8Array {
  const { architecture } = target;
  const graph = new GraphBuilder(target.weightType);
  const tokens = graph.input('tokens', ELEMENT.int64, [1, kind === 'step' ? 1 : 'count']);
  const parts: DecoderParts = {
    kind,
    graph,
    published,
    architecture,
    product: kind === 'verifier' ? productOfRows : productOfTensor,
    choice: kind === 'verifier' ? choiceOfRows : choiceOfTensor,
    rotary: rotaryTables(graph),
    lastPosition: graph.input('last_position', ELEMENT.int32, [1]),
    sequenceLength: graph.input('sequence_length', ELEMENT.int32, []),
  };
  const stream = new ResidualStream(
    graph,
    embed(graph, published, tokens),
    kind === 'reader' ? 'apart' : 'fused',
  );
  for (let layer = 0; layer < architecture.layerCount; layer++) {
    const gain = (name: string) => published.floats(`model.decoder.layers.${layer}.${name}.weight_merged_0`);
    stream.add(selfAttention(parts, stream.norm(gain('input_layernorm')), layer));
    stream.add(crossAttention(parts, stream.norm(gain('post_attention_layernorm')), layer));
    stream.add(feedForward(parts, stream.norm(gain('final_layernorm')), layer));
  }
  const last = stream.norm(published.floats('model.decoder.norm.weight_merged_0'));
  const next = parts.choice(graph, last, transpose(published.embedding()));
  graph.add({
    operator: 'Identity',
    inputs: [next],
    outputs: [graph.output('next', ELEMENT.int64, [1, 'count'])],
  });
  return graph.encode();
}
