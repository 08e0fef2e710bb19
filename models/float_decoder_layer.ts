/** One layer of Moonshine's decoder in float numbers: its weights once, and the nodes as often as it is read. */
import type { GraphBuilder, Value } from './graph_builder.ts';
import {
  attend,
  floatProduct,
  headsOf,
  type Projected,
  type Rotation,
  selfProjection,
} from './float_layers.ts';
import type { MoonshineArchitecture } from './moonshine_facts.ts';
import type { ResidualStream } from './moonshine_layers.ts';
import type { PublishedGraph } from './published_graph.ts';
import { joinColumns, scaled } from './quantised_matrix.ts';

/** Keys and values of tokens or of audio, as attention takes them. */
export type Memory = Pick<Projected, 'keys' | 'values'>;

/** Where a layer's weights are, and what it listens to. */
export interface LayerSource {
  readonly published: PublishedGraph;
  readonly architecture: MoonshineArchitecture;
  /** The encoder's output, `[rows, frames, width]`. */
  readonly hidden: Value;
  readonly layer: number;
}

/** How tokens are read: at which positions, and what they may see. */
export interface LayerReading {
  readonly rotation: Rotation;
  /** Of the tokens read before and now. */
  readonly tokenMask: Value;
  readonly audioMask: Value;
  /** What this layer keeps of the tokens read before; undefined if these are the first. */
  readonly before: Memory | undefined;
}

/** Adds a layer's branches to the stream; returns what is to be kept of all tokens read so far. */
export type DecoderLayer = (graph: GraphBuilder, stream: ResidualStream, reading: LayerReading) => Memory;

/** Writes the weights of a layer, and what it makes of the audio, into the graph. */
export function decoderLayer(root: GraphBuilder, source: LayerSource): DecoderLayer {
  const { published, architecture, layer } = source;
  const gain = (name: string) => published.floats(`model.decoder.layers.${layer}.${name}.weight_merged_0`);
  const self = selfAttention(root, source);
  const cross = crossAttention(root, source);
  const widths = feedForward(root, source);
  const gains = ['input_layernorm', 'post_attention_layernorm', 'final_layernorm'].map(gain);
  const [selfGain = new Float32Array(), crossGain = selfGain, widthGain = selfGain] = gains;
  return (graph, stream, reading) => {
    const projected = self.project(graph, stream.norm(selfGain), reading.rotation);
    const kept = joined(graph, reading.before, projected);
    const attended = attend(graph, { ...kept, queries: projected.queries }, reading.tokenMask);
    stream.add(self.output(graph, attended));
    const crossNormed = stream.norm(crossGain);
    const queries = headsOf(graph, cross.query(graph, crossNormed), { architecture, as: 'queries' });
    const heard = attend(graph, { ...cross.audio, queries }, reading.audioMask);
    stream.add(cross.output(graph, heard));
    stream.add(widths(graph, stream.norm(widthGain)));
    return kept;
  };
}

function joined(graph: GraphBuilder, before: Memory | undefined, { keys, values }: Memory): Memory {
  if (before === undefined) return { keys, values };
  return {
    keys: graph.node('Concat', [before.keys, keys], { axis: 3 }),
    values: graph.node('Concat', [before.values, values], { axis: 2 }),
  };
}

function pathOf({ layer }: LayerSource, part: string): string {
  return `/model/decoder/layers.${layer}/${part}`;
}

function selfAttention(root: GraphBuilder, source: LayerSource) {
  const { published, architecture } = source;
  const path = pathOf(source, 'self_attn');
  const matrix = (name: string) => published.matrix(`${path}/${name}_proj`);
  return {
    project: selfProjection(root, [matrix('q'), matrix('k'), matrix('v')], architecture),
    output: floatProduct(root, published.matrix(`${path}/dense`, `${path}/o_proj`)),
  };
}

function crossAttention(root: GraphBuilder, source: LayerSource) {
  const { published, architecture, hidden } = source;
  const path = pathOf(source, 'encoder_attn');
  const matrix = (name: string) => published.matrix(`${path}/${name}_proj`);
  const projected = floatProduct(root, joinColumns([matrix('k'), matrix('v')]))(root, hidden);
  const [keys, values] = [root.fresh(), root.fresh()];
  root.add({ operator: 'Split', inputs: [projected], outputs: [keys, values], attributes: { axis: -1 } });
  return {
    audio: {
      keys: headsOf(root, keys, { architecture, as: 'keys' }),
      values: headsOf(root, values, { architecture, as: 'values' }),
    },
    query: floatProduct(root, scaled(matrix('q'), 1 / Math.sqrt(architecture.headSize))),
    output: floatProduct(root, published.matrix(`${path}/dense`, `${path}/o_proj`)),
  };
}

/** Gated feed-forward layer (SwiGLU); `QuickGelu` with alpha 1 is the SiLU. */
function feedForward(root: GraphBuilder, source: LayerSource) {
  const { published, layer } = source;
  const path = pathOf(source, 'mlp');
  const product = (...names: readonly [string, string]) => {
    const bias = names.map((name) => `model.decoder.layers.${layer}.mlp.${name}.bias_merged_0`);
    return floatProduct(
      root,
      published.matrix(...names.map((name) => `${path}/${name}`)),
      published.floats(...bias),
    );
  };
  const [widen, narrow] = [product('up_proj', 'fc1'), product('down_proj', 'fc2')];
  return (graph: GraphBuilder, normed: Value): Value => {
    const [passed, gate] = [graph.fresh(), graph.fresh()];
    const inputs = [widen(graph, normed)];
    graph.add({ operator: 'Split', inputs, outputs: [passed, gate], attributes: { axis: -1 } });
    const gated = graph.node('Mul', [graph.contrib('QuickGelu', [gate], { alpha: { float: 1 } }), passed]);
    return narrow(graph, gated);
  };
}
