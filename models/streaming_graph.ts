/** Runs the streaming encoder on the beginnings of utterances, one after the other. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { msToSamples, samplesToMs, toFloatPcm } from '../pipeline/audio.ts';
import { ENCODER_LOOKAHEAD_MS } from '../pipeline/limits.ts';
import { frameCount, frontCount } from './batch_shapes.ts';
import { EncoderCache, type KeptEncoding, KeptRows } from './encoder_cache.ts';
import { CONVOLUTIONS, type MoonshineArchitecture, SAMPLES_PER_ENCODED_FRAME } from './moonshine_facts.ts';

/** Samples, first-convolution positions and second-convolution rows by which frames are apart. */
const FRONTS_PER_SECOND_FRONT = CONVOLUTIONS.conv2.stride;
const SAMPLES_PER_SECOND_FRONT = FRONTS_PER_SECOND_FRONT * CONVOLUTIONS.conv1.stride;
const SECOND_FRONTS_PER_FRAME = CONVOLUTIONS.conv3.stride;
/** The second convolution has twice as many channels as the layers. */
const FRONT_WIDENING = 2;

/** The latest frames, which are worked out anew in the next run: they have not heard enough of what follows them. */
const UNSETTLED_FRAMES = Math.round(msToSamples(ENCODER_LOOKAHEAD_MS) / SAMPLES_PER_ENCODED_FRAME);

/** What one run works out: the frames from `start` on, of which those before `settled` are kept. */
interface Window {
  readonly start: number;
  readonly settled: number;
  readonly end: number;
}

function windowOf(pcm: Int16Array, { frames: start }: KeptEncoding): Window {
  const end = frameCount(pcm.length);
  return { start, settled: Math.max(start, end - UNSETTLED_FRAMES), end };
}

/** The beginning of an utterance. */
export interface Beginning {
  readonly pcm: Int16Array;
  /** The utterance's, in all of its beginnings. */
  readonly key: number;
}

export interface StreamedEncoding {
  /** What the prepared encoder writes. */
  readonly crossProjections: InferenceSession.ReturnType;
  /** Of the audio, how much was not encoded anew. */
  readonly reusedMs: number;
}

export class StreamingGraph {
  readonly #session: InferenceSession;
  readonly #architecture: MoonshineArchitecture;
  readonly #cache = new EncoderCache();

  constructor(session: InferenceSession, architecture: MoonshineArchitecture) {
    this.#session = session;
    this.#architecture = architecture;
  }

  async encode({ pcm, key }: Beginning): Promise<StreamedEncoding> {
    const kept = this.#cache.take(key, pcm) ?? this.#nothing();
    const window = windowOf(pcm, kept);
    const outputs = await this.#session.run(this.#feeds(pcm, kept, window));
    this.#cache.put(key, keptOf(pcm, kept, { outputs, window }));
    return { crossProjections: outputs, reusedMs: samplesToMs(window.start * SAMPLES_PER_ENCODED_FRAME) };
  }

  async close(): Promise<void> {
    this.#cache.clear();
    await this.#session.release();
  }

  #feeds(pcm: Int16Array, kept: KeptEncoding, { start, settled, end }: Window): Record<string, Tensor> {
    const width = this.#architecture.headCount * this.#architecture.headSize;
    const frontRows = kept.frontStart + rowsOf(kept.front);
    const heard = toFloatPcm(pcm.subarray(frontRows * SAMPLES_PER_SECOND_FRONT));
    const count = end - start;
    const summed = width * frontCount(pcm.length);
    const positions = BigInt64Array.from({ length: count }, (_, at) => BigInt(start + at));
    const feeds: Record<string, Tensor> = {
      pcm: new Tensor('float32', heard, [1, 1, heard.length]),
      earlier_sums: new Tensor('float32', Float32Array.from(kept.sums), [2]),
      front_share: new Tensor('float32', Float32Array.of(1 / summed), []),
      positions: new Tensor('int64', positions, [1, count]),
      settled: new Tensor('int64', BigInt64Array.of(BigInt(settled - start)), [1]),
      earlier_front: rowsFrom(kept.front, start * SECOND_FRONTS_PER_FRAME - kept.frontStart),
    };
    for (const [name, rows] of kept.rows) feeds[`earlier_${name}`] = rows.before(start, width);
    return feeds;
  }

  /** What is kept of an utterance that was not heard before. */
  #nothing(): KeptEncoding {
    const { layerCount, headCount, headSize } = this.#architecture;
    const layers = Array.from({ length: layerCount }, (_, layer) => [`key_${layer}`, `value_${layer}`]);
    const width = FRONT_WIDENING * headCount * headSize;
    return {
      pcm: new Int16Array(),
      frames: 0,
      rows: new Map(['hidden', ...layers.flat()].map((name) => [name, new KeptRows()])),
      front: new Tensor('float32', new Float32Array(), [1, 0, width]),
      frontStart: 0,
      sums: [0, 0],
    };
  }
}

function rowsOf({ dims }: Tensor): number {
  return dims[1] ?? 0;
}

function floatsOf(tensor: Tensor | undefined): Float32Array {
  assert(tensor?.data instanceof Float32Array, 'this is no streaming encoder of a Moonshine model');
  return tensor.data;
}

/** The rows of `[1, rows, width]` from `start` on. */
function rowsFrom(tensor: Tensor, start: number): Tensor {
  const width = tensor.dims[2] ?? 0;
  return new Tensor('float32', floatsOf(tensor).subarray(start * width), [1, rowsOf(tensor) - start, width]);
}

/** What is to be kept after a run. */
function keptOf(
  pcm: Int16Array,
  before: KeptEncoding,
  { outputs, window }: { readonly outputs: InferenceSession.ReturnType; readonly window: Window },
): KeptEncoding {
  for (const [name, rows] of before.rows)
    rows.put(window.start, outputs[`later_${name}`] ?? assert.fail(`no ${name} came back`));
  const laterRows = rowsOf(outputs['later_front'] ?? assert.fail('no front'));
  const fronts = floatsOf(outputs['front_sums']);
  const settled = laterRows * FRONTS_PER_SECOND_FRONT;
  const sumOf = (row: number): number =>
    fronts
      .subarray((row * fronts.length) / 2)
      .subarray(0, settled)
      .reduce((sum, value) => sum + value, 0);
  return {
    pcm,
    frames: window.settled,
    rows: before.rows,
    ...keptFront(before, floatsOf(outputs['later_front']), window.settled),
    sums: [before.sums[0] + sumOf(0), before.sums[1] + sumOf(1)],
  };
}

/** The sums of the second convolution that frames from `nextStart` on will need. */
function keptFront(
  { front, frontStart }: KeptEncoding,
  later: Float32Array,
  nextStart: number,
): Pick<KeptEncoding, 'front' | 'frontStart'> {
  const width = front.dims[2] ?? 0;
  const start = Math.max(frontStart, nextStart * SECOND_FRONTS_PER_FRAME);
  const droppedRows = start - frontStart;
  const earlier = floatsOf(front).subarray(droppedRows * width);
  const added = later.subarray(Math.max(0, droppedRows - rowsOf(front)) * width);
  const elements = new Float32Array(earlier.length + added.length);
  elements.set(earlier);
  elements.set(added, earlier.length);
  return {
    front: new Tensor('float32', elements, [1, elements.length / width, width]),
    frontStart: start,
  };
}
