/** Silero VAD v5 as a voice detector on ONNX Runtime. */
import assert from 'node:assert/strict';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FRAME_SAMPLES, VOICE_STATE_VALUES } from '../pipeline/audio.ts';
import type { VoiceDetector, VoiceState } from '../pipeline/contracts.ts';
import { InferenceError } from '../pipeline/errors.ts';
import { VOICE_BATCH_MAX_COUNT } from '../pipeline/limits.ts';

/** A graph of the detector as `readSileroGraph` makes it. `threads` is the count of threads one run may use, ≥ 1. */
export interface SileroOptions {
  readonly graph: Uint8Array;
  readonly threads: number;
}

/**
 * Session options for a worker process: no thread spins, because the worker next door needs the core. The memory
 * pattern is off because it is planned anew for every batch size.
 */
export function sessionOptions(threads: number): InferenceSession.SessionOptions {
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
export async function loadSilero({ graph, threads }: SileroOptions): Promise<VoiceDetector> {
  try {
    return new Silero(await InferenceSession.create(graph, sessionOptions(threads)));
  } catch (cause) {
    throw new InferenceError('internal', 'cannot load the voice detector', { cause });
  }
}

/** The tensors of a run of one batch size: views of the buffers that all batch sizes share. */
interface BatchTensors {
  readonly feeds: Readonly<Record<'frames' | 'states', Tensor>>;
  readonly fetches: Readonly<Record<'probabilities' | 'next_states', Tensor>>;
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
  readonly #frames = new Int16Array(VOICE_BATCH_MAX_COUNT * FRAME_SAMPLES);
  readonly #states = new Float32Array(VOICE_BATCH_MAX_COUNT * VOICE_STATE_VALUES);
  readonly #nextStates = new Float32Array(VOICE_BATCH_MAX_COUNT * VOICE_STATE_VALUES);
  readonly #probabilities = new Float32Array(VOICE_BATCH_MAX_COUNT);
  /** By batch size; made at its first use. */
  readonly #tensors = new Map<number, BatchTensors>();
  #life: 'idle' | 'running' | 'closed' = 'idle';

  constructor(session: InferenceSession) {
    this.#session = session;
  }

  createState(): VoiceState {
    return new Float32Array(VOICE_STATE_VALUES);
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
      assert(state?.length === VOICE_STATE_VALUES, 'a state is one of createState');
      this.#frames.set(frame, i * FRAME_SAMPLES);
      this.#states.set(state, i * VOICE_STATE_VALUES);
    }
  }

  #scatter({ states, first, count }: Batch): void {
    for (let i = 0; i < count; i++) {
      const from = i * VOICE_STATE_VALUES;
      states[first + i]?.set(this.#nextStates.subarray(from, from + VOICE_STATE_VALUES));
    }
  }

  #tensorsFor(count: number): BatchTensors {
    const known = this.#tensors.get(count);
    if (known !== undefined) return known;
    const floats = (values: Float32Array, width: number): Tensor =>
      new Tensor('float32', values.subarray(0, count * width), [count, width]);
    const made: BatchTensors = {
      feeds: {
        frames: new Tensor('int16', this.#frames.subarray(0, count * FRAME_SAMPLES), [count, FRAME_SAMPLES]),
        states: floats(this.#states, VOICE_STATE_VALUES),
      },
      fetches: {
        probabilities: floats(this.#probabilities, 1),
        next_states: floats(this.#nextStates, VOICE_STATE_VALUES),
      },
    };
    this.#tensors.set(count, made);
    return made;
  }
}
