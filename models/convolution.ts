/** A convolution as one matrix product. */
import type { GraphBuilder, Value } from './graph_builder.ts';
import { type FloatWeights, kernelMatrix } from './published_graph.ts';

/** A convolution of `[rows, length, channels]`: each row of the product is what one window sees, tap by tap. */
export function convolution(
  graph: GraphBuilder,
  input: Value,
  { kernel, stride }: { readonly kernel: FloatWeights; readonly stride: number },
): Value {
  const [outputs = 0, channels = 0, size = 0] = kernel.dims;
  const taps = Array.from({ length: size }, (_, tap) => {
    const end = tap === size - 1 ? Number.MAX_SAFE_INTEGER : tap + 1 - size;
    return graph.node('Slice', [input, ...[[tap], [end], [1], [stride]].map((each) => graph.integers(each))]);
  });
  const windows = graph.node('Concat', taps, { axis: 2 });
  return graph.node('MatMul', [windows, graph.floats([size * channels, outputs], kernelMatrix(kernel))]);
}
