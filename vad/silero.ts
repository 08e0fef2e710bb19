/** Silero VAD v5 (github.com/snakers4/silero-vad, MIT) as a voice detector on ONNX Runtime. */
import assert from 'node:assert/strict';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../pipeline/audio.ts';
import type { VoiceDetector, VoiceState } from '../pipeline/contracts.ts';
import { InferenceError } from '../pipeline/errors.ts';
import { VOICE_BATCH_MAX_COUNT } from '../pipeline/limits.ts';

/** Samples of the frame before that the model reads ahead of each frame. */
const CONTEXT_SAMPLES = 64;
/** What the model reads of one stream: context, then frame. */
const ROW_SAMPLES = CONTEXT_SAMPLES + FRAME_SAMPLES;
/** The model's recurrent state is `[2, batch, 128]`: hidden, then cell values of an LSTM. */
const LAYER_VALUES = 128;
const RECURRENT_VALUES = 2 * LAYER_VALUES;

/** What is needed to load the detector. `threads` is the count of threads one run may use, ≥ 1. */
export interface SileroOptions {
  readonly modelPath: string;
  readonly threads: number;
}

/**
 * Session options for a worker process: no thread spins, because the worker next door needs the core. The memory
 * pattern is off because it is planned anew for every batch size. `all` is not only the fastest level: below it
 * (`disabled`) a stream's probabilities differ in their last bits between batch sizes, and replays need them equal.
 */
function sessionOptions(threads: number): InferenceSession.SessionOptions {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  };
}

/**
 * Loads the detector, which then holds the model in native memory until `close`.
 * Throws `InferenceError` (`internal`) if the model cannot be loaded.
 */
export async function loadSilero({ modelPath, threads }: SileroOptions): Promise<VoiceDetector> {
  try {
    return new Silero(await InferenceSession.create(modelPath, sessionOptions(threads)));
  } catch (cause) {
    throw new InferenceError('internal', 'cannot load the voice detector', { cause });
  }
}

/** The tensors of a run of one batch size: views of the buffers that all batch sizes share. */
interface BatchTensors {
  readonly feeds: Readonly<Record<'input' | 'state' | 'sr', Tensor>>;
  readonly fetches: Readonly<Record<'output' | 'stateN', Tensor>>;
}

/** The streams of one call, and where in it the run at hand begins. */
interface Batch {
  readonly frames: readonly Int16Array[];
  readonly states: readonly VoiceState[];
  readonly first: number;
  readonly count: number;
}

class Silero implements VoiceDetector {
  readonly #session: InferenceSession;
  readonly #rows = new Float32Array(VOICE_BATCH_MAX_COUNT * ROW_SAMPLES);
  readonly #recurrent = new Float32Array(VOICE_BATCH_MAX_COUNT * RECURRENT_VALUES);
  readonly #nextRecurrent = new Float32Array(VOICE_BATCH_MAX_COUNT * RECURRENT_VALUES);
  readonly #probabilities = new Float32Array(VOICE_BATCH_MAX_COUNT);
  readonly #sampleRate = new Tensor('int64', BigInt64Array.of(BigInt(SAMPLE_RATE_HZ)), []);
  /** By batch size; made at its first use. */
  readonly #tensors = new Map<number, BatchTensors>();
  #life: 'idle' | 'running' | 'closed' = 'idle';

  constructor(session: InferenceSession) {
    this.#session = session;
  }

  createState(): VoiceState {
    return new Float32Array(RECURRENT_VALUES + CONTEXT_SAMPLES);
  }

  /** A call is run in parts of at most `VOICE_BATCH_MAX_COUNT`; if one fails, the states of those before it have advanced. */
  async detect(frames: readonly Int16Array[], states: readonly VoiceState[]): Promise<Float32Array> {
    assert.equal(this.#life, 'idle', 'a voice detector takes one call at a time, and none after close');
    assert.equal(frames.length, states.length, 'every frame has its state');
    this.#life = 'running';
    try {
      const probabilities = new Float32Array(frames.length);
      for (let first = 0; first < frames.length; first += VOICE_BATCH_MAX_COUNT) {
        const count = Math.min(frames.length - first, VOICE_BATCH_MAX_COUNT);
        probabilities.set(await this.#run({ frames, states, first, count }), first);
      }
      return probabilities;
    } finally {
      this.#life = 'idle';
    }
  }

  /** Frees the native memory. Idempotent. */
  async close(): Promise<void> {
    if (this.#life === 'closed') return;
    assert.equal(this.#life, 'idle', 'a voice detector is not closed while it runs');
    this.#life = 'closed';
    await this.#session.release();
  }

  /** The probabilities of one batch; they are valid until the next run. */
  async #run(batch: Batch): Promise<Float32Array> {
    this.#gather(batch);
    const { feeds, fetches } = this.#tensorsFor(batch.count);
    try {
      await this.#session.run(feeds, fetches);
    } catch (cause) {
      throw new InferenceError('internal', 'the voice detector failed', { cause });
    }
    this.#scatter(batch);
    return this.#probabilities.subarray(0, batch.count);
  }

  #gather({ frames, states, first, count }: Batch): void {
    for (let i = 0; i < count; i++) {
      const [frame, state] = [frames[first + i], states[first + i]];
      assert(frame?.length === FRAME_SAMPLES, 'a frame is 512 samples');
      assert(state?.length === RECURRENT_VALUES + CONTEXT_SAMPLES, 'a state is one of createState');
      const row = i * ROW_SAMPLES;
      this.#rows.set(state.subarray(RECURRENT_VALUES), row);
      for (let j = 0; j < FRAME_SAMPLES; j++) {
        this.#rows[row + CONTEXT_SAMPLES + j] = (frame[j] ?? 0) / 32_768;
      }
      this.#recurrent.set(state.subarray(0, LAYER_VALUES), i * LAYER_VALUES);
      this.#recurrent.set(state.subarray(LAYER_VALUES, RECURRENT_VALUES), (count + i) * LAYER_VALUES);
    }
  }

  #scatter({ states, first, count }: Batch): void {
    for (let i = 0; i < count; i++) {
      const state = states[first + i];
      assert(state);
      const [hidden, cell] = [i * LAYER_VALUES, (count + i) * LAYER_VALUES];
      const rowEnd = (i + 1) * ROW_SAMPLES;
      state.set(this.#nextRecurrent.subarray(hidden, hidden + LAYER_VALUES));
      state.set(this.#nextRecurrent.subarray(cell, cell + LAYER_VALUES), LAYER_VALUES);
      state.set(this.#rows.subarray(rowEnd - CONTEXT_SAMPLES, rowEnd), RECURRENT_VALUES);
    }
  }

  #tensorsFor(count: number): BatchTensors {
    const known = this.#tensors.get(count);
    if (known !== undefined) return known;
    const view = (values: Float32Array, dims: readonly number[]): Tensor =>
      new Tensor(
        'float32',
        values.subarray(
          0,
          dims.reduce((product, dim) => product * dim, 1),
        ),
        dims,
      );
    const made: BatchTensors = {
      feeds: {
        input: view(this.#rows, [count, ROW_SAMPLES]),
        state: view(this.#recurrent, [2, count, LAYER_VALUES]),
        sr: this.#sampleRate,
      },
      fetches: {
        output: view(this.#probabilities, [count, 1]),
        stateN: view(this.#nextRecurrent, [2, count, LAYER_VALUES]),
      },
    };
    this.#tensors.set(count, made);
    return made;
  }
}
