/**
 * Products of activations with 8-bit weights. All of them quantise the activations as the published graphs do
 * (ONNX DynamicQuantizeLinear: 8 bits, asymmetric), multiply in integers and scale the sums.
 */
import { ELEMENT, type GraphBuilder, type Value } from './graph_builder.ts';
import { type QuantisedMatrix, toSigned } from './published_graph.ts';
import { columnSums } from './quantised_matrix.ts';

/** Multiplies activations of shape `[…, rows]` by a weight matrix. */
export type Product = (graph: GraphBuilder, activations: Value, weights: ProductWeights) => Value;

export interface ProductWeights {
  readonly matrix: QuantisedMatrix;
  readonly bias?: Float32Array;
}

/** The weights in the type that this graph's device multiplies exactly and fastest. */
function weightValues(graph: GraphBuilder, { rows, columns, bytes, zeroPoints }: QuantisedMatrix) {
  const type = ELEMENT[graph.weightType];
  const elements = (from: Uint8Array) => (graph.weightType === 'int8' ? toSigned(from) : from);
  return {
    weights: graph.constant(type, [rows, columns], elements(bytes)),
    zeroPoints: graph.constant(type, [columns], elements(zeroPoints)),
  };
}

/** All rows of the activations quantised together, in one fused node. For one row or where rows belong together. */
export const productOfTensor: Product = (graph, activations, { matrix, bias }) => {
  const { weights, zeroPoints } = weightValues(graph, matrix);
  const scales = graph.floats([matrix.columns], matrix.scales);
  const inputs = [activations, weights, scales, zeroPoints];
  if (bias) inputs.push(graph.floats([matrix.columns], bias));
  return graph.contrib('DynamicQuantizeMatMul', inputs);
};

interface QuantisedRows {
  readonly bytes: Value;
  /** `[1, n, 1]`, float and int32. */
  readonly scales: Value;
  readonly zeroPoints: Value;
}

/** What DynamicQuantizeLinear would do with each row of `[1, n, k]` alone, in its own order of rounding. */
function quantiseRows(graph: GraphBuilder, rows: Value): QuantisedRows {
  const zero = graph.floats([], [0]);
  const reduce = (operator: string): Value => graph.node(operator, [rows], { axes: [-1], keepdims: 1 });
  const lowest = graph.node('Min', [reduce('ReduceMin'), zero]);
  const highest = graph.node('Max', [reduce('ReduceMax'), zero]);
  const range = graph.node('Sub', [highest, lowest]);
  const steps = graph.node('Div', [range, graph.floats([], [255])]);
  // A row of zeros has no range; any scale will do but 0.
  const scales = graph.node('Max', [steps, graph.floats([], [1e-37])]);
  const lowestSteps = graph.node('Neg', [graph.node('Div', [lowest, scales])]);
  const zeroPoints = graph.node('Cast', [graph.node('Round', [lowestSteps])], { to: ELEMENT.uint8 });
  const flat = graph.integers([-1]);
  const bytes = graph.node(
    'QuantizeLinear',
    [rows, graph.node('Reshape', [scales, flat]), graph.node('Reshape', [zeroPoints, flat])],
    { axis: 1 },
  );
  return { bytes, scales, zeroPoints: graph.node('Cast', [zeroPoints], { to: ELEMENT.int32 }) };
}

/** The integer sums of the product, `[1, n, columns]`, with each row's own zero point taken off afterwards. */
function rowSums(graph: GraphBuilder, { bytes, zeroPoints }: QuantisedRows, matrix: QuantisedMatrix): Value {
  const weights = weightValues(graph, matrix);
  const raw = graph.node('MatMulInteger', [bytes, weights.weights, '', weights.zeroPoints]);
  const sums = graph.constant(ELEMENT.int32, [matrix.columns], columnSums(matrix));
  return graph.node('Sub', [raw, graph.node('Mul', [zeroPoints, sums])]);
}

/** Each row of `[1, n, k]` quantised by itself: bit for bit what `productOfTensor` makes of that row alone. */
export const productOfRows: Product = (graph, activations, { matrix, bias }) => {
  const rows = quantiseRows(graph, activations);
  const sums = graph.node('Cast', [rowSums(graph, rows, matrix)], { to: ELEMENT.float });
  const scales = graph.node('Mul', [rows.scales, graph.floats([matrix.columns], matrix.scales)]);
  const product = graph.node('Mul', [sums, scales]);
  return bias ? graph.node('Add', [product, graph.floats([matrix.columns], bias)]) : product;
};

/** Index of the greatest product of each row; takes what the other kinds of product take. */
export type Choice = (graph: GraphBuilder, activations: Value, matrix: QuantisedMatrix) => Value;

/**
 * The greatest of one row's products. All columns have one positive scale, so the integer sums decide: scaling
 * 32,768 of them to float is left out.
 */
export const choiceOfTensor: Choice = (graph, activations, matrix) => {
  const [bytes, scale, zeroPoint] = [graph.fresh(), graph.fresh(), graph.fresh()];
  const outputs = [bytes, scale, zeroPoint];
  graph.add({ operator: 'DynamicQuantizeLinear', inputs: [activations], outputs });
  const { weights, zeroPoints } = weightValues(graph, matrix);
  const sums = graph.node('MatMulInteger', [bytes, weights, zeroPoint, zeroPoints]);
  return graph.node('ArgMax', [sums], { axis: -1, keepdims: 0 });
};

/** The greatest of each row's products, the rows quantised by themselves. */
export const choiceOfRows: Choice = (graph, activations, matrix) => {
  const sums = rowSums(graph, quantiseRows(graph, activations), matrix);
  return graph.node('ArgMax', [sums], { axis: -1, keepdims: 0 });
};
