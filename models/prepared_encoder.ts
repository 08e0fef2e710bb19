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

/** The output of the published encoder, `[1, frames, width]`. */
const ENCODER_OUTPUT = 'last_hidden_state';

/** Splits the last axis of `[1, frames, …]` into parts of these sizes. */
function splitColumns(graph: GraphBuilder, value: Value, sizes: readonly number[]): Value[] {
  const outputs = sizes.map(() => graph.fresh());
  graph.add({ operator: 'Split', inputs: [value, graph.integers(sizes)], outputs, attributes: { axis: -1 } });
  return outputs;
}

/**
 * Writes `cross_key_N` `[heads, headSize, frames]` and `cross_value_N` `[heads, frames, headSize]` for each decoder
 * layer. Keys leave it transposed and scaled, which the published decoder does anew in every step.
 */
function crossProjections(
  graph: GraphBuilder,
  published: PublishedGraphs,
  architecture: MoonshineArchitecture,
): void {
  const { layerCount, headCount, headSize } = architecture;
  const layers = Array.from({ length: layerCount }, (_, layer) => layer);
  const matrixOf = (layer: number, name: string) =>
    published.decoder.matrix(`/model/decoder/layers.${layer}/encoder_attn/${name}_proj`);
  const keyMatrices = layers.map((layer) => scaled(matrixOf(layer, 'k'), 1 / Math.sqrt(headSize)));
  const valueMatrices = layers.map((layer) => matrixOf(layer, 'v'));
  const matrix = joinColumns([...keyMatrices, ...valueMatrices]);
  const projected = productOfTensor(graph, ENCODER_OUTPUT, { matrix });
  const [keys = '', values = ''] = splitColumns(graph, projected, [matrix.columns / 2, matrix.columns / 2]);
  const heads = graph.integers([-1, layerCount * headCount, headSize]);
  const writeLayers = (value: Value, perm: readonly number[], outputs: readonly Value[]): void => {
    const turned = graph.node('Transpose', [graph.node('Reshape', [value, heads])], { perm });
    const sizes = graph.integers(outputs.map(() => headCount));
    graph.add({ operator: 'Split', inputs: [turned, sizes], outputs, attributes: { axis: 0 } });
  };
  const keyShape = [headCount, headSize, 'frames'];
  const valueShape = [headCount, 'frames', headSize];
  const keyOutputs = layers.map((layer) => graph.output(`cross_key_${layer}`, ELEMENT.float, keyShape));
  const valueOutputs = layers.map((layer) => graph.output(`cross_value_${layer}`, ELEMENT.float, valueShape));
  writeLayers(keys, [1, 2, 0], keyOutputs);
  writeLayers(values, [1, 0, 2], valueOutputs);
}

/** The prepared encoder as an ONNX model: `input_values` `[1, samples]` in, the cross projections out. */
export function buildEncoder(published: PublishedGraphs, target: GraphTarget): Uint8Array {
  const graph = new GraphBuilder(target.weightType);
  graph.input('input_values', ELEMENT.float, [1, 'samples']);
  const { nodes, constants } = published.encoder.piece(ENCODER_OUTPUT);
  graph.adopt(nodes, withWeightType(nodes, constants, target.weightType));
  crossProjections(graph, published, target.architecture);
  return graph.encode();
}
