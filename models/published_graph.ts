/** Reads weights out of the ONNX graphs that models are published as. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ELEMENT, type WeightType } from './graph_builder.ts';
import { onnx, type Onnx } from './onnx_messages.ts';

/**
 * A weight matrix in 8 bits, as the published graphs hold it: `weight[k][n] = (bytes[k × columns + n] − zeroPoint) ×
 * scale`. After concatenation each column has its own scale and zero point.
 */
export interface QuantisedMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: Uint8Array;
  /** One for each column. */
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
}

/** Weights in float numbers. Of the kernel of a convolution `dims` are `[outputs, channels, size]`. */
export interface FloatWeights {
  readonly dims: readonly number[];
  readonly elements: Float32Array;
}

/** A kernel `[outputs, channels, size]` as the matrix `[size × channels, outputs]`. */
export function kernelMatrix({ dims, elements }: FloatWeights): Float32Array {
  const [outputs = 0, channels = 0, size = 0] = dims;
  const matrix = new Float32Array(elements.length);
  let at = 0;
  for (let output = 0; output < outputs; output++)
    for (let channel = 0; channel < channels; channel++)
      for (let tap = 0; tap < size; tap++)
        matrix[(tap * channels + channel) * outputs + output] = elements[at++] ?? NaN;
  return matrix;
}

function bytesOf(tensor: Onnx.ITensorProto): Uint8Array {
  return tensor.rawData?.length ? tensor.rawData : Uint8Array.from(tensor.int32Data ?? []);
}

function floatsOf(tensor: Onnx.ITensorProto): Float32Array {
  // A copy, because the message's own bytes need not be aligned.
  if (tensor.rawData?.length) return new Float32Array(new Uint8Array(tensor.rawData).buffer);
  return Float32Array.from(tensor.floatData ?? []);
}

/** Bytes of int8 with the same differences between each other as these of uint8. */
export function toSigned(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => byte ^ 0x80);
}

/** The constants, with the 8-bit weights among them (not the activations' own) in this type: the same products. */
export function withWeightType(
  nodes: readonly Onnx.INodeProto[],
  constants: readonly Onnx.ITensorProto[],
  weightType: WeightType,
): Onnx.ITensorProto[] {
  if (weightType === 'uint8') return [...constants];
  const products = nodes.filter(({ opType }) => opType === 'MatMulInteger');
  const weights = new Set(products.flatMap(({ input }) => [input?.[1] ?? '', input?.[3] ?? '']));
  return constants.map((tensor) => {
    if (!weights.has(tensor.name ?? '')) return tensor;
    const rawData = toSigned(bytesOf(tensor));
    return { name: tensor.name ?? '', dims: tensor.dims ?? [], dataType: ELEMENT.int8, rawData };
  });
}

/** All nodes of a graph and of the branches inside it. */
function allNodes(graph: Onnx.IGraphProto): Onnx.INodeProto[] {
  return (graph.node ?? []).flatMap((node) => [
    node,
    ...(node.attribute ?? []).flatMap(({ g }) => (g ? allNodes(g) : [])),
  ]);
}

/** A published graph, read once. The names of its matrix products are those of the PyTorch modules. */
export class PublishedGraph {
  readonly #constants: ReadonlyMap<string, Onnx.ITensorProto>;
  readonly #nodes: readonly Onnx.INodeProto[];
  readonly #products = new Map<string, Onnx.INodeProto>();

  constructor(model: Uint8Array) {
    const { graph } = onnx.ModelProto.decode(model);
    assert(graph, 'not an ONNX model');
    this.#constants = new Map((graph.initializer ?? []).map((tensor) => [tensor.name ?? '', tensor]));
    this.#nodes = allNodes(graph);
    for (const node of this.#nodes) {
      if (node.opType === 'MatMulInteger') this.#products.set(node.name ?? '', node);
    }
  }

  /** The weights of the module with the first of these paths that there is; exporters name modules differently. */
  matrix(...paths: readonly string[]): QuantisedMatrix {
    const node = paths.map((path) => this.#products.get(`${path}/MatMul_quant`)).find(Boolean);
    assert(node, `the graph has no matrix product ${paths.join(' or ')}`);
    return this.#quantised(node.input?.[1] ?? '');
  }

  /** The embedding of the vocabulary, `[vocabulary, width]`. */
  embedding(): QuantisedMatrix {
    return this.#quantised('model.decoder.embed_tokens.weight_merged_0_quantized');
  }

  /** The float weights with the first of these names that there is. */
  floats(...names: readonly string[]): Float32Array {
    const found = names.map((name) => this.#constants.get(name)).find(Boolean);
    assert(found, `the graph has no weights ${names.join(' or ')}`);
    return floatsOf(found);
  }

  /** The kernel of a convolution; published in 8 bits with one scale and a float offset. */
  kernel(name: string): FloatWeights {
    const tensor = this.#constants.get(`${name}.weight_quantized`);
    assert(tensor?.dataType === ELEMENT.int8, `the graph has no kernel ${name} in 8 bits`);
    const [scale = NaN] = this.floats(`${name}.weight_scale`);
    const [offset = NaN] = this.floats(`${name}.weight_zero_point`);
    const elements = Float32Array.from(new Int8Array(bytesOf(tensor)), (byte) => byte * scale + offset);
    return { dims: (tensor.dims ?? []).map(Number), elements };
  }

  /** The float weights that a constant node, also one in a branch, has for this output. */
  constantOf(output: string): FloatWeights {
    const node = this.#nodes.find((each) => each.opType === 'Constant' && each.output?.[0] === output);
    const tensor = node?.attribute?.[0]?.t;
    assert(tensor?.dataType === ELEMENT.float, `the graph has no constant ${output}`);
    return { dims: (tensor.dims ?? []).map(Number), elements: floatsOf(tensor) };
  }

  /** The float weights that the node of this name takes beside its activations. */
  weightsOf(nodeName: string): Float32Array {
    const node = this.#nodes.find(({ name }) => name === nodeName);
    assert(node, `the graph has no node ${nodeName}`);
    return this.floats(...(node.input ?? []));
  }

  /** The nodes that `output` needs, in order, and their constants: a piece to take over as it is. */
  piece(output: string): { nodes: Onnx.INodeProto[]; constants: Onnx.ITensorProto[] } {
    const needed = new Set([output]);
    const nodes: Onnx.INodeProto[] = [];
    for (const node of [...this.#nodes].reverse()) {
      if (!(node.output ?? []).some((name) => needed.has(name))) continue;
      nodes.unshift(node);
      for (const name of node.input ?? []) needed.add(name);
    }
    const constants = [...this.#constants.values()].filter(({ name }) => needed.has(name ?? ''));
    return { nodes, constants };
  }

  #quantised(name: string): QuantisedMatrix {
    const tensor = this.#constants.get(name);
    const scale = this.#constants.get(name.replace(/_quantized$/, '_scale'));
    const zeroPoint = this.#constants.get(name.replace(/_quantized$/, '_zero_point'));
    assert(tensor && scale && zeroPoint, `the graph has no weights ${name}`);
    const [rows, columns] = (tensor.dims ?? []).map(Number);
    assert(rows && columns, `${name} is no matrix`);
    return {
      rows,
      columns,
      bytes: bytesOf(tensor),
      scales: new Float32Array(columns).fill(floatsOf(scale)[0] ?? NaN),
      zeroPoints: new Uint8Array(columns).fill(bytesOf(zeroPoint)[0] ?? 0),
    };
  }
}

/** The published graphs that a model is rebuilt from. */
export interface PublishedGraphs {
  readonly encoder: PublishedGraph;
  readonly decoder: PublishedGraph;
}

/** Reads both files. Rejects unless they are the ones that were published. */
export async function readPublishedGraphs(options: {
  readonly encoderPath: string;
  readonly decoderPath: string;
  readonly published: { readonly encoder: string; readonly decoder: string };
}): Promise<PublishedGraphs> {
  const { encoderPath, decoderPath, published } = options;
  return {
    encoder: await readPublished(encoderPath, published.encoder),
    decoder: await readPublished(decoderPath, published.decoder),
  };
}

/** Reads one file. Rejects unless it is the one that was published. */
export async function readPublished(path: string, wantedSha256: string): Promise<PublishedGraph> {
  const model = await readFile(path);
  const sha256 = createHash('sha256').update(model).digest('hex');
  if (sha256 !== wantedSha256) throw new Error('the published graph is damaged');
  return new PublishedGraph(model);
}
