/**
 * Silero VAD v5 (github.com/snakers4/silero-vad, MIT) for many streams at once: the arithmetic of the published graph,
 * as a few matrix products over all of them. Rows do not mix, and ONNX Runtime adds each row's products in the same
 * order whatever their number (seen on x64 and ARM; VAD4): replays need that. Measured on one thread: a frame takes
 * 0.35 of the published graph’s time among 32, and 0.6 alone. The start of a worker takes 15 ms more.
 */
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { FRAME_SAMPLES, VOICE_STATE_VALUES } from '../pipeline/audio.ts';
import { InferenceError } from '../pipeline/errors.ts';
import { pullCommand, SILERO_VAD_V5 } from './catalogue.ts';
import { convolution } from './convolution.ts';
import { ELEMENT, GraphBuilder, type Value } from './graph_builder.ts';
import { kernelMatrix, type PublishedGraph, readPublished } from './published_graph.ts';

/** Units of the recurrent layer, an LSTM. A state begins with its hidden, then its cell values. */
const UNIT_COUNT = 128;
const RECURRENT_VALUES = 2 * UNIT_COUNT;
/** Samples of the frame before that are read ahead of each frame; the rest of a state. */
const CONTEXT_SAMPLES = VOICE_STATE_VALUES - RECURRENT_VALUES;
/** Reflect padding behind a frame. */
const PADDING_SAMPLES = 64;
/** Windows of the short-time Fourier transform are two hops long. */
const HOP_SAMPLES = 128;
const WINDOW_COUNT = (CONTEXT_SAMPLES + FRAME_SAMPLES + PADDING_SAMPLES) / HOP_SAMPLES - 1;
const BIN_COUNT = HOP_SAMPLES + 1;
/** Of the convolutions along the windows, each with three taps and a zero on both sides; one position is left. */
const STRIDES = [1, 2, 2, 1];
/** Of the published graph's two branches the one for 16 kHz. */
const BRANCH = 'If_0_then_branch__Inline_0__';

interface SliceOptions {
  readonly axis: number;
  readonly from: number;
  /** Not included. */
  readonly to: number;
  readonly step?: number;
}

/** A graph under construction, and what it is built from. */
class SileroBuilder {
  /** Of weights in 8 bits it has none. */
  readonly #graph = new GraphBuilder('uint8');
  readonly #published: PublishedGraph;

  constructor(published: PublishedGraph) {
    this.#published = published;
  }

  build(): Uint8Array {
    const graph = this.#graph;
    const frames = graph.input('frames', ELEMENT.int16, ['streams', FRAME_SAMPLES]);
    const states = graph.input('states', ELEMENT.float, ['streams', VOICE_STATE_VALUES]);
    const floats = graph.node('Cast', [frames], { to: ELEMENT.float });
    const samples = graph.node('Mul', [floats, graph.floats([], [1 / 32_768])]);
    const context = this.#slice(states, { axis: 1, from: RECURRENT_VALUES, to: VOICE_STATE_VALUES });
    const features = this.#convolved(this.#spectra(context, samples));
    const { hidden, cell } = this.#recurrent(features, states);
    const logits = this.#linear(
      graph.node('Relu', [hidden]),
      'decoder.decoder.2.weight',
      'decoder.decoder.2.bias',
    );
    const probabilities = graph.output('probabilities', ELEMENT.float, ['streams', 1]);
    graph.add({ operator: 'Sigmoid', inputs: [logits], outputs: [probabilities] });
    const kept = this.#slice(samples, { axis: 1, from: FRAME_SAMPLES - CONTEXT_SAMPLES, to: FRAME_SAMPLES });
    const nextStates = graph.output('next_states', ELEMENT.float, ['streams', VOICE_STATE_VALUES]);
    const inputs = [hidden, cell, kept];
    graph.add({ operator: 'Concat', inputs, outputs: [nextStates], attributes: { axis: 1 } });
    return graph.encode();
  }

  /** Magnitudes `[streams, WINDOW_COUNT, BIN_COUNT]`. */
  #spectra(context: Value, samples: Value): Value {
    const graph = this.#graph;
    // The last sample itself is not repeated.
    const last = FRAME_SAMPLES - 2;
    const padding = this.#slice(samples, { axis: 1, from: last, to: last - PADDING_SAMPLES, step: -1 });
    const audio = graph.node('Concat', [context, samples, padding], { axis: 1 });
    const hops = graph.node('Reshape', [audio, graph.integers([-1, WINDOW_COUNT + 1, HOP_SAMPLES])]);
    const halves = [0, 1].map((from) => this.#slice(hops, { axis: 1, from, to: from + WINDOW_COUNT }));
    const windows = graph.node('Concat', halves, { axis: 2 });
    const spectra = graph.node('MatMul', [windows, this.#matrix('stft.forward_basis_buffer')]);
    const squares = graph.node('Mul', [spectra, spectra]);
    // Real parts, then imaginary ones.
    const part = (from: number): Value => this.#slice(squares, { axis: 2, from, to: from + BIN_COUNT });
    return graph.node('Sqrt', [graph.node('Add', [part(0), part(BIN_COUNT)])]);
  }

  /** What the convolutions leave of the spectra: `[streams, UNIT_COUNT]`. */
  #convolved(spectra: Value): Value {
    const graph = this.#graph;
    const positionCount = STRIDES.reduce((count, stride) => count / stride, WINDOW_COUNT);
    assert.equal(positionCount, 1, 'the strides leave one position');
    let value = spectra;
    for (const [layer, stride] of STRIDES.entries()) {
      const padded = graph.node('Pad', [value, graph.integers([0, 1, 0, 0, 1, 0])]);
      const name = `encoder.${layer}.reparam_conv`;
      const kernel = this.#published.constantOf(`${BRANCH}${name}.weight`);
      const product = convolution(graph, padded, { kernel, stride });
      value = graph.node('Relu', [graph.node('Add', [product, this.#vector(`${name}.bias`)])]);
    }
    return graph.node('Reshape', [value, graph.integers([-1, UNIT_COUNT])]);
  }

  /** One step of the LSTM. */
  #recurrent(features: Value, states: Value): { readonly hidden: Value; readonly cell: Value } {
    const graph = this.#graph;
    const part = (from: number): Value => this.#slice(states, { axis: 1, from, to: from + UNIT_COUNT });
    const sums = graph.node('Add', [
      this.#linear(features, 'decoder.rnn.weight_ih', 'decoder.rnn.bias_ih'),
      this.#linear(part(0), 'decoder.rnn.weight_hh', 'decoder.rnn.bias_hh'),
    ]);
    // In PyTorch's order.
    const [input, forget, candidate, output] = [graph.fresh(), graph.fresh(), graph.fresh(), graph.fresh()];
    const outputs = [input, forget, candidate, output];
    graph.add({ operator: 'Split', inputs: [sums], outputs, attributes: { axis: 1 } });
    const kept = graph.node('Mul', [graph.node('Sigmoid', [forget]), part(UNIT_COUNT)]);
    const added = graph.node('Mul', [graph.node('Sigmoid', [input]), graph.node('Tanh', [candidate])]);
    const cell = graph.node('Add', [kept, added]);
    const hidden = graph.node('Mul', [graph.node('Sigmoid', [output]), graph.node('Tanh', [cell])]);
    return { hidden, cell };
  }

  #slice(value: Value, { axis, from, to, step = 1 }: SliceOptions): Value {
    const numbers = [from, to, axis, step].map((number) => this.#graph.integers([number]));
    return this.#graph.node('Slice', [value, ...numbers]);
  }

  #linear(value: Value, weight: string, bias: string): Value {
    return this.#graph.node('Gemm', [value, this.#matrix(weight), this.#vector(bias)]);
  }

  /** Weights `[outputs, …]` as they are multiplied with from the right. */
  #matrix(name: string): Value {
    const { dims, elements } = this.#published.constantOf(`${BRANCH}${name}`);
    const [outputs = 1, channels = 1, size = 1] = dims;
    const matrix = kernelMatrix({ dims: [outputs, channels, size], elements });
    return this.#graph.floats([channels * size, outputs], matrix);
  }

  #vector(name: string): Value {
    const { dims, elements } = this.#published.constantOf(`${BRANCH}${name}`);
    return this.#graph.floats(dims, elements);
  }
}

/**
 * The graph to load for a detector, from the file that was published: `frames` int16 `[streams, 512]` and `states` float
 * `[streams, VOICE_STATE_VALUES]` in, `probabilities` float `[streams, 1]` and `next_states` like `states` out. Throws
 * `InferenceError` (`internal`), which names the file and says what to do, if it cannot be read or is not the one in the
 * catalogue.
 */
export async function readSileroGraph(path: string): Promise<Uint8Array> {
  try {
    const [file] = SILERO_VAD_V5.files;
    assert(file, 'the catalogue has the file');
    return new SileroBuilder(await readPublished(path, file.sha256)).build();
  } catch (cause) {
    const command = pullCommand(SILERO_VAD_V5, dirname(dirname(path)));
    throw new InferenceError('internal', `cannot read the voice detector ${path} (run "${command}")`, {
      cause,
    });
  }
}
