/**
 * Moonshine's decoder in float numbers, for a batch of utterances, with the greedy loop inside the graph: one run
 * decodes them all. What attention keeps of the tokens never leaves the device, and nothing crosses the bus but token
 * ids and, where the binding cannot leave it on the device, the encoder's output.
 *
 * First the drafts are read, each row its own behind the start token, all at once. A row's draft counts as far as the
 * decoder would have chosen the same; what was read beyond that is masked from then on. Then the loop adds one token
 * to each row at a time, until every row has its end token or has used up its budget.
 */
import { decoderLayer, type DecoderLayer, type Memory } from './float_decoder_layer.ts';
import type { FloatTarget } from './float_encoder.ts';
import { type Rotations, rotations } from './float_layers.ts';
import { ELEMENT, GraphBuilder, type Value } from './graph_builder.ts';
import { END_TOKEN, VOCABULARY_SIZE } from './moonshine_facts.ts';
import { ResidualStream } from './moonshine_layers.ts';
import type { PublishedGraph } from './published_graph.ts';
import { dequantised } from './quantised_matrix.ts';

/** Added to the attention weights of what must not be seen; 16 bits hold it. */
export const MASKED = -10_000;

interface Decoder {
  readonly layers: readonly DecoderLayer[];
  readonly rotation: Rotations;
  readonly audioMask: Value;
  readonly lastGain: Float32Array;
  /** `[VOCABULARY_SIZE, width]` in 32 bits: its products decide between tokens that are close. */
  readonly embedding: Value;
}

/** Tokens `[rows, n]` to be read at these positions, behind those read before. */
interface Reading {
  readonly tokens: Value;
  readonly positions: Value;
  readonly mask: Value;
  readonly before: readonly Memory[];
}

interface Read {
  /** The most likely token after each, `[rows, n]`, int32. */
  readonly chosen: Value;
  readonly kept: readonly Memory[];
}

function castTo(graph: GraphBuilder, value: Value, type: keyof typeof ELEMENT): Value {
  return graph.node('Cast', [value], { to: ELEMENT[type] });
}

function read(graph: GraphBuilder, decoder: Decoder, { tokens, positions, mask, before }: Reading): Read {
  const { layers, audioMask, embedding } = decoder;
  const is16 = graph.floatType === 'float16';
  const embedded = graph.node('Gather', [embedding, tokens]);
  const stream = new ResidualStream(graph, is16 ? castTo(graph, embedded, 'float16') : embedded);
  const rotation = decoder.rotation(graph, positions);
  const kept = layers.map((layer, at) =>
    layer(graph, stream, { rotation, tokenMask: mask, audioMask, before: before[at] }),
  );
  const last = stream.norm(decoder.lastGain);
  const flat = graph.node('Flatten', [is16 ? castTo(graph, last, 'float') : last], { axis: 2 });
  const logits = graph.node('Gemm', [flat, embedding], { transB: 1 });
  const best = graph.node('ArgMax', [logits], { axis: -1, keepdims: 0 });
  const chosen = graph.node('Reshape', [best, graph.node('Shape', [tokens])]);
  return { chosen: castTo(graph, chosen, 'int32'), kept };
}

function scalar(graph: GraphBuilder, number: number): Value {
  return graph.constant(ELEMENT.int32, [], Int32Array.of(number));
}

/** How far each row's draft was right, `[rows, 1]`: the length of the beginning that was chosen as it was offered. */
function agreement(graph: GraphBuilder, chosen: Value): Value {
  const offered = graph.input('offered', ELEMENT.int32, ['rows', 'count']);
  const differs = castTo(graph, graph.node('Not', [graph.node('Equal', [chosen, offered])]), 'int32');
  const axis = graph.constant(ELEMENT.int64, [], BigInt64Array.of(1n));
  const differences = graph.node('CumSum', [differs, axis]);
  const agrees = castTo(graph, graph.node('Equal', [differences, scalar(graph, 0)]), 'int32');
  return graph.node('ReduceSum', [agrees, graph.integers([1])], { keepdims: 1 });
}

/** A mask `[rows, 1, 1, n]` that leaves each row its start token and `accepted` tokens of its draft. */
function acceptedMask(graph: GraphBuilder, accepted: Value): Value {
  const places = graph.input('places', ELEMENT.int32, [1, 'count']);
  const beyond = castTo(graph, graph.node('Greater', [places, accepted]), 'float');
  const masked = graph.node('Mul', [beyond, graph.constant(ELEMENT.float, [], Float32Array.of(MASKED))]);
  const mask = graph.node('Unsqueeze', [masked, graph.integers([1, 2])]);
  return graph.floatType === 'float' ? mask : castTo(graph, mask, 'float16');
}

/** Rows that are over, `[rows, 1]`: the token is the end, or as many tokens are decided as there may be. */
function isOver(
  graph: GraphBuilder,
  { token, count, budgets }: Record<'token' | 'count' | 'budgets', Value>,
): Value {
  const ended = graph.node('Equal', [token, scalar(graph, END_TOKEN)]);
  return graph.node('Or', [ended, graph.node('GreaterOrEqual', [count, budgets])]);
}

/** True while a row is not over. */
function goesOn(graph: GraphBuilder, over: Value): Value {
  const open = castTo(graph, graph.node('Not', [over]), 'int32');
  const openCount = graph.node('ReduceMax', [open], { keepdims: 0 });
  return graph.node('Greater', [openCount, scalar(graph, 0)]);
}

interface LoopStart extends Read {
  readonly mask: Value;
  readonly accepted: Value;
}

/** Writes the loop. Its body reads the token decided last at the position after those before it, and decides the next. */
function loop(graph: GraphBuilder, decoder: Decoder, start: LoopStart): void {
  const budgets = graph.input('budgets', ELEMENT.int32, ['rows', 1]);
  const tripCount = graph.input('trip_count', ELEMENT.int64, []);
  const one = scalar(graph, 1);
  const first = graph.node('GatherElements', [start.chosen, start.accepted], { axis: 1 });
  const position = graph.node('Add', [start.accepted, one]);
  const over = isOver(graph, { token: first, count: position, budgets });

  const body = graph.body();
  const float = ELEMENT[graph.floatType];
  body.input('trip', ELEMENT.int64, []);
  body.input('goes_on', ELEMENT.bool, []);
  const token = body.input('token', ELEMENT.int32, ['rows', 1]);
  const at = body.input('position', ELEMENT.int32, ['rows', 1]);
  const wasOver = body.input('over', ELEMENT.bool, ['rows', 1]);
  const maskBefore = body.input('mask', float, ['rows', 1, 1, 'length']);
  const before = start.kept.map((_, layer) => ({
    keys: body.input(`keys_${layer}`, float, ['rows', 'heads', 'size', 'length']),
    values: body.input(`values_${layer}`, float, ['rows', 'heads', 'length', 'size']),
  }));
  const open = body.node('Mul', [
    body.node('Slice', [maskBefore, ...lastOfAxis3(body)]),
    body.floats([], [0]),
  ]);
  const mask = body.node('Concat', [maskBefore, open], { axis: 3 });
  const next = read(body, decoder, { tokens: token, positions: at, mask, before });
  const nextPosition = body.node('Add', [at, one]);
  const isNowOver = isOver(body, { token: next.chosen, count: nextPosition, budgets });
  const nextOver = body.node('Or', [wasOver, isNowOver]);
  const states = [
    next.chosen,
    nextPosition,
    nextOver,
    mask,
    ...next.kept.flatMap(({ keys, values }) => [keys, values]),
  ];
  const types = [
    ELEMENT.int32,
    ELEMENT.int32,
    ELEMENT.bool,
    float,
    ...next.kept.flatMap(() => [float, float]),
  ];
  const results = [goesOn(body, nextOver), ...states, next.chosen];
  const resultTypes = [ELEMENT.bool, ...types, ELEMENT.int32];
  for (const [index, value] of results.entries()) {
    const output = body.output(`next_${index}`, resultTypes[index] ?? float);
    body.add({ operator: 'Identity', inputs: [value], outputs: [output] });
  }

  const kept = start.kept.flatMap(({ keys, values }) => [keys, values]);
  const inputs = [tripCount, goesOn(graph, over), first, position, over, start.mask, ...kept];
  const outputs = [
    ...states.map(() => graph.fresh()),
    graph.output('steps', ELEMENT.int32, ['trips', 'rows', 1]),
  ];
  graph.add({ operator: 'Loop', inputs, outputs, attributes: { body } });
}

function lastOfAxis3(graph: GraphBuilder): Value[] {
  return [graph.integers([-1]), graph.integers([2 ** 31]), graph.integers([3])];
}

/**
 * The float decoder as an ONNX model. In: `hidden` and `frame_mask` of the encoder; `tokens` `[rows, n]`, the start
 * token and the draft, padded, at `token_positions`; `offered` the same one place to the left, padded with −1; `places` `[1, n]`, 0 … n − 1;
 * `draft_mask` `[1, 1, n, n]`, causal; `budgets` `[rows, 1]`; `trip_count`, the most steps of the loop. Out: `chosen`
 * `[rows, n]`, the most likely token after each of `tokens`, and `steps` `[trips, rows, 1]`, those that followed.
 */
export function buildFloatDecoder(published: PublishedGraph, target: FloatTarget): Uint8Array {
  const { architecture, floatType } = target;
  const { layerCount, headCount, headSize } = architecture;
  const graph = new GraphBuilder('uint8', { floatType });
  const typed = (value: Value): Value => (floatType === 'float' ? value : castTo(graph, value, 'float16'));
  const hidden = graph.input('hidden', ELEMENT[floatType], ['rows', 'frames', headCount * headSize]);
  const layers = Array.from({ length: layerCount }, (_, layer) =>
    decoderLayer(graph, { published, architecture, hidden, layer }),
  );
  const decoder: Decoder = {
    layers,
    rotation: rotations(graph, architecture),
    audioMask: typed(graph.input('frame_mask', ELEMENT.float, ['rows', 1, 1, 'frames'])),
    lastGain: published.floats('model.decoder.norm.weight_merged_0'),
    embedding: graph.constant(
      ELEMENT.float,
      [VOCABULARY_SIZE, headCount * headSize],
      dequantised(published.embedding()),
    ),
  };
  const tokens = graph.input('tokens', ELEMENT.int32, ['rows', 'count']);
  const positions = graph.input('token_positions', ELEMENT.int32, ['rows', 'count']);
  const mask = typed(graph.input('draft_mask', ELEMENT.float, [1, 1, 'count', 'count']));
  const drafts = read(graph, decoder, { tokens, positions, mask, before: [] });
  const accepted = agreement(graph, drafts.chosen);
  loop(graph, decoder, { ...drafts, accepted, mask: acceptedMask(graph, accepted) });
  const chosen = graph.output('chosen', ELEMENT.int32, ['rows', 'count']);
  graph.add({ operator: 'Identity', inputs: [drafts.chosen], outputs: [chosen] });
  return graph.encode();
}
