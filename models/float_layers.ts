/**
 * The pieces of the float graphs, for devices that are poor at 8-bit products. All take a batch of rows at once, and
 * leave it to additive masks what of a row is padding. Plain operators only, which every device has.
 */
import type { GraphBuilder, Value } from './graph_builder.ts';
import { LONGEST_SEQUENCE, type MoonshineArchitecture, ROTARY_SIZE } from './moonshine_facts.ts';
import type { QuantisedMatrix } from './published_graph.ts';
import { dequantised, joinColumns, quarterTurned, scaled } from './quantised_matrix.ts';

/** A node that is written as often as it is called, into any graph that sees the weights; they are kept once. */
export type FloatPiece = (graph: GraphBuilder, activations: Value) => Value;

/** Activations `[…, rows]` times a weight matrix, plus a bias if there is one. */
export function floatProduct(root: GraphBuilder, matrix: QuantisedMatrix, bias?: Float32Array): FloatPiece {
  const weights = root.floats([matrix.rows, matrix.columns], dequantised(matrix));
  const added = bias && root.floats([matrix.columns], bias);
  return (graph, activations) => {
    const product = graph.node('MatMul', [activations, weights]);
    return added === undefined ? product : graph.node('Add', [product, added]);
  };
}

/** Cosines and sines `[…, n, 1, headSize]` of positions; beyond the rotary part of a head 1 and 0. */
export interface Rotation {
  readonly cosines: Value;
  readonly sines: Value;
}

/** Looks rotations up for int32 positions `[…, n]`. Rotary position embedding: Su et al. 2021, arXiv:2104.09864. */
export function rotations(root: GraphBuilder, { headSize }: MoonshineArchitecture): Rotations {
  const table = (of: (angle: number) => number): Value => {
    const elements = Array.from({ length: LONGEST_SEQUENCE * headSize }, (_, at) => {
      const [position, dimension] = [Math.floor(at / headSize), at % headSize];
      if (dimension >= ROTARY_SIZE) return of(0);
      return of(position / 10_000 ** ((2 * Math.floor(dimension / 2)) / ROTARY_SIZE));
    });
    return root.floats([LONGEST_SEQUENCE, 1, headSize], elements);
  };
  const [cosines, sines] = [table(Math.cos), table(Math.sin)];
  return (graph, positions) => ({
    cosines: graph.node('Gather', [cosines, positions]),
    sines: graph.node('Gather', [sines, positions]),
  });
}

export type Rotations = (graph: GraphBuilder, positions: Value) => Rotation;

/** What attention works on: queries `[rows, heads, n, size]`, keys `[…, size, m]`, values `[…, m, size]`. */
export interface Projected {
  readonly queries: Value;
  readonly keys: Value;
  readonly values: Value;
}

const QUERY_ORDER = [0, 2, 1, 3];
const KEY_ORDER = [0, 2, 3, 1];

/**
 * Queries, keys and values of `[rows, n, width]`, queries and keys rotated to their positions. One product makes all of
 * them, and the rotation's other half with them: that costs a wider product and saves four nodes.
 */
export function selfProjection(
  root: GraphBuilder,
  [q, k, v]: readonly [QuantisedMatrix, QuantisedMatrix, QuantisedMatrix],
  { headCount, headSize }: MoonshineArchitecture,
): (graph: GraphBuilder, normed: Value, rotation: Rotation) => Projected {
  const turn = { headSize, rotarySize: ROTARY_SIZE };
  const query = scaled(q, 1 / Math.sqrt(headSize));
  const parts = [query, quarterTurned(query, turn), k, quarterTurned(k, turn), v];
  const product = floatProduct(root, joinColumns(parts));
  const shape = root.integers([0, 0, parts.length * headCount, headSize]);
  const sizes = root.integers(parts.map(() => headCount));
  return (graph, normed, { cosines, sines }) => {
    const heads = graph.node('Reshape', [product(graph, normed), shape]);
    const outputs = parts.map(() => graph.fresh());
    graph.add({ operator: 'Split', inputs: [heads, sizes], outputs, attributes: { axis: 2 } });
    const [queries = '', turnedQueries = '', keys = '', turnedKeys = '', values = ''] = outputs;
    const rotate = (plain: Value, turned: Value): Value =>
      graph.node('Add', [graph.node('Mul', [plain, cosines]), graph.node('Mul', [turned, sines])]);
    return {
      queries: graph.node('Transpose', [rotate(queries, turnedQueries)], { perm: QUERY_ORDER }),
      keys: graph.node('Transpose', [rotate(keys, turnedKeys)], { perm: KEY_ORDER }),
      values: graph.node('Transpose', [values], { perm: QUERY_ORDER }),
    };
  };
}

/** Splits `[rows, n, width]` into heads and turns them for attention. */
export function headsOf(graph: GraphBuilder, value: Value, options: HeadOptions): Value {
  const { headCount, headSize } = options.architecture;
  const heads = graph.node('Reshape', [value, graph.integers([0, 0, headCount, headSize])]);
  return graph.node('Transpose', [heads], { perm: options.as === 'keys' ? KEY_ORDER : QUERY_ORDER });
}

export interface HeadOptions {
  readonly architecture: MoonshineArchitecture;
  readonly as: 'queries' | 'keys' | 'values';
}

/** Attention; `mask` is added to the weights and broadcast to `[rows, heads, n, m]`. Returns `[rows, n, width]`. */
export function attend(graph: GraphBuilder, { queries, keys, values }: Projected, mask: Value): Value {
  const masked = graph.node('Add', [graph.node('MatMul', [queries, keys]), mask]);
  const weights = graph.node('Softmax', [masked], { axis: -1 });
  const attended = graph.node('Transpose', [graph.node('MatMul', [weights, values])], { perm: QUERY_ORDER });
  return graph.node('Reshape', [attended, graph.integers([0, 0, -1])]);
}
