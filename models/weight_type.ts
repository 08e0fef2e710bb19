/** Finds out how 8-bit weights are best written for this processor. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { ELEMENT, GraphBuilder, type WeightType } from './graph_builder.ts';

const ROWS = 64;
const COLUMNS = 16;
const LARGEST_ACTIVATION = 255;
const LARGEST_WEIGHT = 127;
/** One row and many rows are multiplied by different kernels. */
const ROW_COUNTS = [1, 2, 17];

/**
 * `int8` where this processor's unsigned-by-signed products are exact, else `uint8`. x86 processors with VNNI multiply
 * unsigned by signed bytes fastest; those without do it through 16-bit sums that saturate, and wrong sums show in the
 * text. Decided by multiplying the largest numbers. Other processors gain nothing from `int8`.
 */
export async function fastestWeightType(): Promise<WeightType> {
  if (process.arch !== 'x64') return 'uint8';
  const graph = new GraphBuilder('int8');
  const weights = new Int8Array(ROWS * COLUMNS).fill(LARGEST_WEIGHT);
  const activations = graph.input('activations', ELEMENT.uint8, ['count', ROWS]);
  const inputs = [activations, graph.constant(ELEMENT.int8, [ROWS, COLUMNS], weights)];
  const outputs = [graph.output('sums', ELEMENT.int32, ['count', COLUMNS])];
  graph.add({ operator: 'MatMulInteger', inputs, outputs });
  const session = await InferenceSession.create(graph.encode(), {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    for (const count of ROW_COUNTS) {
      const bytes = new Uint8Array(count * ROWS).fill(LARGEST_ACTIVATION);
      const { sums } = await session.run({ activations: new Tensor('uint8', bytes, [count, ROWS]) });
      const exact = ROWS * LARGEST_ACTIVATION * LARGEST_WEIGHT;
      if (!(sums?.data instanceof Int32Array) || sums.data.some((sum) => sum !== exact)) return 'uint8';
    }
    return 'int8';
  } finally {
    await session.release();
  }
}
