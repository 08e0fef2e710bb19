/** Moonshine (Jeffries et al. 2024, arXiv:2410.15608) as a recogniser on ONNX Runtime. */
import assert from 'node:assert/strict';
import { SAMPLE_RATE_HZ, samplesToMs } from '../pipeline/audio.ts';
import type {
  BatchWork,
  Hypothesis,
  RecognitionTask,
  Recogniser,
  Transcription,
} from '../pipeline/contracts.ts';
import { AudioError, DeviceError, InferenceError } from '../pipeline/errors.ts';
import {
  BATCH_REGROW_COUNT,
  RECOGNISER_PCM_MAX_MS,
  RECOGNISER_PCM_MIN_MS,
  TOKENS_PER_AUDIO_SECOND_COUNT,
  TOKENS_SPARE_COUNT,
} from '../pipeline/limits.ts';
import { type DeviceFault, deviceFaultOf } from './device_fault.ts';
import { FloatGraphs } from './float_graphs.ts';
import type { MoonshineEngine, TimedDecoding } from './moonshine_engine.ts';
import { type MoonshineFiles, MoonshineGraphs, type RunOptions } from './moonshine_graphs.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

/** What is needed to load one Moonshine model: its id, its files and how to run it. */
export interface MoonshineOptions extends MoonshineFiles, RunOptions {
  readonly model: string;
  /** Of float graphs: most utterances in a run. Absent: the files are the graphs for processors. */
  readonly batchMaxCount?: number | undefined;
}

/** Most tokens a hypothesis for `samples` samples may have. */
export function tokenBudget(samples: number): number {
  return Math.ceil((TOKENS_PER_AUDIO_SECOND_COUNT * samples) / SAMPLE_RATE_HZ) + TOKENS_SPARE_COUNT;
}

type Heard = (task: RecognitionTask, hypothesis: Hypothesis) => void;

interface Run {
  readonly transcriptions: readonly Transcription[];
  readonly work: BatchWork;
}

const NO_WORK: BatchWork = { samples: 0, paddingSamples: 0, movedBytes: 0, halvings: 0 };

/** Why the model must not be run on this; undefined if it may. */
function checkPcm({ pcm }: RecognitionTask): AudioError | undefined {
  const durationMs = samplesToMs(pcm.length);
  if (durationMs >= RECOGNISER_PCM_MIN_MS && durationMs <= RECOGNISER_PCM_MAX_MS) return undefined;
  return new AudioError(
    'invalid_pcm',
    `cannot transcribe ${durationMs} ms of audio: ` +
      `the model takes ${RECOGNISER_PCM_MIN_MS} to ${RECOGNISER_PCM_MAX_MS} ms`,
  );
}

/**
 * Loads a Moonshine model: the float graphs if the files are theirs, else those for processors. Reads from disk and
 * takes a second or so; the recogniser then holds native memory until `close`. Throws `InferenceError` (`internal`) if
 * the graphs cannot be loaded.
 */
export async function loadMoonshine(options: MoonshineOptions): Promise<Recogniser> {
  try {
    const tokenizer = await loadTokenizer();
    const { batchMaxCount } = options;
    const engine =
      batchMaxCount === undefined
        ? await MoonshineGraphs.open(options, options)
        : await FloatGraphs.open(options, { ...options, batchMaxCount });
    return new Moonshine(options, { engine, tokenizer });
  } catch (cause) {
    throw new InferenceError('internal', `cannot load the model ${options.model}`, { cause });
  }
}

interface Parts {
  readonly engine: MoonshineEngine;
  readonly tokenizer: Tokenizer;
}

/**
 * A Moonshine model on any engine. A batch that the device has no memory for is run in halves from then on, until many
 * of those have been run: who took the memory may have gone.
 */
export class Moonshine implements Recogniser {
  readonly model: string;
  readonly device: string;
  readonly #parts: Parts;
  #batchMaxCount: number;
  /** Batches as large as may be that were run since the last that was too large. */
  #fullCount = 0;
  #state: 'idle' | 'running' | 'closed' = 'idle';

  constructor(options: Pick<MoonshineOptions, 'model' | 'device'>, parts: Parts) {
    this.model = options.model;
    this.device = options.device;
    this.#parts = parts;
    this.#batchMaxCount = parts.engine.batchMaxCount;
  }

  get batchMaxCount(): number {
    return this.#batchMaxCount;
  }

  async transcribe(
    tasks: readonly RecognitionTask[],
    heard?: (at: number, hypothesis: Hypothesis) => void,
  ): ReturnType<Recogniser['transcribe']> {
    assert.equal(this.#state, 'idle', 'a recogniser takes one call at a time, and none after close');
    const checked = tasks.map(checkPcm);
    const valid = tasks.filter((_, at) => checked[at] === undefined);
    this.#state = 'running';
    try {
      const run =
        valid.length === 0
          ? { transcriptions: [], work: NO_WORK }
          : await this.#run(valid, (task, hypothesis) => heard?.(tasks.indexOf(task), hypothesis));
      if (run.work.halvings === 0 && valid.length >= this.#batchMaxCount) this.#noteFull();
      const results = run.transcriptions.values();
      const transcriptions = checked.map((error) =>
        error === undefined ? (results.next().value ?? assert.fail('a row has no result')) : { error },
      );
      return { transcriptions, work: run.work };
    } finally {
      this.#state = 'idle';
    }
  }

  /** Runs the tasks together; what cannot be run together is run in halves, down to the one that fails alone. */
  async #run(tasks: readonly RecognitionTask[], heard: Heard): Promise<Run> {
    const rows = tasks.map((task) => ({ ...task, maxTokens: tokenBudget(task.pcm.length) }));
    try {
      const { engine, tokenizer } = this.#parts;
      const written = (decoding: TimedDecoding): Hypothesis => ({
        ...decoding,
        text: tokenizer.decode(decoding.tokens),
      });
      const { decodings, ...work } = await engine.decode(rows, (at, decoding) => {
        heard(tasks[at] ?? assert.fail('no task has this result'), written(decoding));
      });
      const transcriptions = decodings.map((decoding) => ({ hypothesis: written(decoding) }));
      return { transcriptions, work: { ...work, halvings: 0 } };
    } catch (cause) {
      const fault = deviceFaultOf(cause);
      if (fault === 'lost') throw new DeviceError('the device is lost', cause);
      if (tasks.length > 1) return this.#runHalves(tasks, fault, heard);
      if (fault === 'memory') throw new DeviceError('the device has no memory for one utterance', cause);
      const error = new InferenceError('internal', 'the model failed on this audio', { cause });
      return { transcriptions: [{ error }], work: NO_WORK };
    }
  }

  async #runHalves(
    tasks: readonly RecognitionTask[],
    fault: DeviceFault | undefined,
    heard: Heard,
  ): Promise<Run> {
    const half = Math.ceil(tasks.length / 2);
    if (fault === 'memory') {
      this.#batchMaxCount = Math.min(this.#batchMaxCount, half);
      this.#fullCount = 0;
    }
    const halves = [await this.#run(tasks.slice(0, half), heard), await this.#run(tasks.slice(half), heard)];
    const sum = (of: (work: BatchWork) => number) => halves.reduce((total, { work }) => total + of(work), 0);
    return {
      transcriptions: halves.flatMap(({ transcriptions }) => transcriptions),
      work: {
        samples: sum(({ samples }) => samples),
        paddingSamples: sum(({ paddingSamples }) => paddingSamples),
        movedBytes: sum(({ movedBytes }) => movedBytes),
        halvings: sum(({ halvings }) => halvings) + (fault === 'memory' ? 1 : 0),
      },
    };
  }

  #noteFull(): void {
    if (++this.#fullCount < BATCH_REGROW_COUNT) return;
    this.#fullCount = 0;
    this.#batchMaxCount = Math.min(this.#parts.engine.batchMaxCount, this.#batchMaxCount * 2);
  }

  /** Frees the native memory. Idempotent; never during a call. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    assert.equal(this.#state, 'idle', 'a recogniser is not closed while it runs');
    this.#state = 'closed';
    await this.#parts.engine.close();
  }
}
