/**
 * Moonshine's encoder with the decoder's cross-attention projections at its end: the decoder needs nothing else of
 * the audio. The encoder itself is taken over node by node. It could be written with a third of the nodes, but then its
 * float sums round differently in the last bit, 8-bit quantisation makes large differences of that within a few layers,
 * and now and then a token is another than the published graph's. Measured: 2 of 26 clips, and no time won.
 */
import { ELEMENT, GraphBuilder, type Value } from './graph_builder.ts';
import { type GraphTarget, type MoonshineArchitecture } from './moonshine_facts.ts';
import { type PublishedGraphs, withWeightType } from './published_graph.ts';
import { joinColumns, scaled } from './quantised_matrix.ts';
import { productOfTensor } from './quantised_product.ts';

interface CrossParts {
  readonly published: PublishedGraphs;
  readonly architecture: MoonshineArchitecture;
  readonly hidden: Value;
}

/** The output of the published encoder, `[1, frames, width]`. */
const ENCODER_OUTPUT = 'last_hidden_state';

/** Splits the last axis of `[1, frames, …]` in the middle. */
function splitColumns(graph: GraphBuilder, value: Value): readonly [Value, Value] {
  const outputs = [graph.fresh(), graph.fresh()] as const;
  graph.add({ operator: 'Split', inputs: [value], outputs, attributes: { axis: -1 } });
  return outputs;
}

/**
 * Writes `cross_keys` `[layers × heads, headSize, frames]` and `cross_values` `[layers × heads, frames, headSize]`, what
 * the decoder's layers need of `hidden` `[1, frames, width]`. Keys leave it transposed and scaled, which the published
 * decoder does anew in every step.
 */
export function crossProjections(graph: GraphBuilder, { published, architecture, hidden }: CrossParts): void {
  const { layerCount, headCount, headSize } = architecture;
  const layers = Array.from({ length: layerCount }, (_, layer) => layer);
  const matrixOf = (layer: number, name: string) =>
    published.decoder.matrix(`/model/decoder/layers.${layer}/encoder_attn/${name}_proj`);
  const keyMatrices = layers.map((layer) => scaled(matrixOf(layer, 'k'), 1 / Math.sqrt(headSize)));
  const valueMatrices = layers.map((layer) => matrixOf(layer, 'v'));
  const matrix = joinColumns([...keyMatrices, ...valueMatrices]);
  const [keys, values] = splitColumns(graph, productOfTensor(graph, hidden, { matrix }));
  const heads = graph.integers([-1, layerCount * headCount, headSize]);
  const write = (value: Value, perm: readonly number[], output: Value): void => {
    const inputs = [graph.node('Reshape', [value, heads])];
    graph.add({ operator: 'Transpose', inputs, outputs: [output], attributes: { perm } });
  };
  const headsOfAll = layerCount * headCount;
  write(keys, [1, 2, 0], graph.output('cross_keys', ELEMENT.float, [headsOfAll, headSize, 'all frames']));
  write(values, [1, 0, 2], graph.output('cross_values', ELEMENT.float, [headsOfAll, 'all frames', headSize]));
}

/** The prepared encoder as an ONNX model: `input_values` `[1, samples]` in, the cross projections out. */
export function buildEncoder(published: PublishedGraphs, target: GraphTarget): Uint8Array {
  const graph = new GraphBuilder(target.weightType);
  graph.input('input_values', ELEMENT.float, [1, 'samples']);
  const { nodes, constants } = published.encoder.piece(ENCODER_OUTPUT);
  graph.adopt(nodes, withWeightType(nodes, constants, target.weightType));
  crossProjections(graph, { published, architecture: target.architecture, hidden: ENCODER_OUTPUT });
  return graph.encode();
}
