/** The float graphs of one Moonshine model on a device, a batch of utterances in each run. */
import assert from 'node:assert/strict';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { toFloatPcm } from '../pipeline/audio.ts';
import { BATCH_READ_TOKENS_MAX_COUNT } from '../pipeline/limits.ts';
import { frameCount, frontCount, groupsByLength, paddedLength } from './batch_shapes.ts';
import { deviceOptions, isAccelerator, sessionOptions } from './device_options.ts';
import { Draft } from './draft.ts';
import { MASKED } from './float_decoder.ts';
import { takeTokens } from './greedy_decoder.ts';
import { type MoonshineArchitecture, START_TOKEN } from './moonshine_facts.ts';
import type { AudioTask, DecodedBatch, MoonshineEngine, TimedDecoding } from './moonshine_engine.ts';
import type { MoonshineFiles, RunOptions } from './moonshine_graphs.ts';

/** Stands for no token: where a draft offers none, nothing that is chosen agrees with it. */
const NO_TOKEN = -1;

interface Sessions {
  readonly encoder: InferenceSession;
  readonly decoder: InferenceSession;
}

/** Rows of similar length that are run together. */
interface Group {
  readonly tasks: readonly AudioTask[];
  /** What each row is padded to. */
  readonly samples: number;
}

interface Choices {
  /** `[rows, read]`: the most likely token after each token that was read at once. */
  readonly chosen: Int32Array;
  /** `[trips, rows]`: those that followed. */
  readonly steps: Int32Array;
  /** The drafts that were read, one for each row. */
  readonly drafts: readonly (readonly number[])[];
}

export class FloatGraphs implements MoonshineEngine {
  readonly batchMaxCount: number;
  readonly #sessions: Sessions;
  readonly #architecture: MoonshineArchitecture;
  readonly #device: string;

  private constructor(sessions: Sessions, options: RunOptions & { readonly batchMaxCount: number }) {
    this.#sessions = sessions;
    this.#architecture = options.architecture;
    this.#device = options.device;
    this.batchMaxCount = options.batchMaxCount;
  }

  /** Reads the graphs from disk. Throws ONNX Runtime's error if one is missing, damaged or not for this device. */
  static async open(
    files: MoonshineFiles,
    options: RunOptions & { readonly batchMaxCount: number },
  ): Promise<FloatGraphs> {
    const common = sessionOptions(options);
    const { outputLocation } = deviceOptions(options.device);
    const location =
      outputLocation === undefined ? {} : { preferredOutputLocation: { hidden: outputLocation } };
    const encoder = await InferenceSession.create(files.encoderPath, { ...common, ...location });
    try {
      const decoder = await InferenceSession.create(files.decoderPath, common);
      return new FloatGraphs({ encoder, decoder }, options);
    } catch (error) {
      await encoder.release();
      throw error;
    }
  }

  async decode(...[tasks, decoded]: Parameters<MoonshineEngine['decode']>): Promise<DecodedBatch> {
    assert(tasks.length <= this.batchMaxCount, 'a batch is no larger than the engine takes');
    const decodings: TimedDecoding[] = [];
    let [samples, movedBytes] = [0, 0];
    for (const indices of groupsByLength(tasks.map(({ pcm }) => pcm.length))) {
      const members = indices.flatMap((index) => tasks[index] ?? []);
      const longest = Math.max(...members.map(({ pcm }) => pcm.length));
      const group = { tasks: members, samples: paddedLength(longest) };
      const run = await this.#run(group);
      for (const [at, index] of indices.entries()) {
        const decoding = run.rows[at] ?? assert.fail('a row has no result');
        decodings[index] = decoding;
        decoded?.(index, decoding);
      }
      samples += members.length * group.samples;
      movedBytes += run.movedBytes;
    }
    const spoken = tasks.reduce((sum, { pcm }) => sum + pcm.length, 0);
    return { decodings, samples, paddingSamples: samples - spoken, movedBytes };
  }

  async close(): Promise<void> {
    await this.#sessions.encoder.release();
    await this.#sessions.decoder.release();
  }

  async #run(group: Group): Promise<{ readonly rows: TimedDecoding[]; readonly movedBytes: number }> {
    const { tasks } = group;
    const startMs = performance.now();
    const audio = this.#audioFeeds(group);
    const { hidden } = await this.#sessions.encoder.run(audio);
    assert(hidden, 'this is no float encoder of a Moonshine model');
    const encodedMs = performance.now();
    const isOnDevice = hidden.location !== 'cpu';
    const { feeds, drafts } = tokenFeeds(tasks);
    let outputs: InferenceSession.ReturnType;
    try {
      outputs = await this.#sessions.decoder.run({ hidden, frame_mask: audio.frame_mask, ...feeds });
    } finally {
      // A run that fails for want of memory must not keep what it had.
      if (isOnDevice) hidden.dispose();
    }
    const { chosen, steps } = outputs;
    assert(chosen?.data instanceof Int32Array && steps?.data instanceof Int32Array, 'no tokens came back');
    const crossed = [...Object.values({ ...audio, ...feeds }), chosen, steps];
    // What is not left on the device crosses twice: out of the encoder, into the decoder.
    if (!isOnDevice) crossed.push(hidden, hidden);
    const share = { encodeMs: encodedMs - startMs, decodeMs: performance.now() - encodedMs };
    const choices = { chosen: chosen.data, steps: steps.data, drafts };
    const rows = tasks.map((task, row) => ({
      ...decodingOf(task, row, choices),
      encodeMs: share.encodeMs / tasks.length,
      decodeMs: share.decodeMs / tasks.length,
      reusedMs: 0,
    }));
    return { rows, movedBytes: isAccelerator(this.#device) ? crossed.reduce(addBytes, 0) : 0 };
  }

  #audioFeeds({ tasks, samples }: Group) {
    const [rows, fronts, frames] = [tasks.length, frontCount(samples), frameCount(samples)];
    const pcm = new Float32Array(rows * samples);
    const frontMask = new Float32Array(rows * fronts);
    const frontShare = new Float32Array(rows);
    const frameMask = new Float32Array(rows * frames);
    const width = this.#architecture.headCount * this.#architecture.headSize;
    for (const [row, task] of tasks.entries()) {
      pcm.set(toFloatPcm(task.pcm), row * samples);
      const own = frontCount(task.pcm.length);
      frontMask.fill(1, row * fronts, row * fronts + own);
      frontShare[row] = 1 / (own * width);
      frameMask.fill(MASKED, row * frames + frameCount(task.pcm.length), (row + 1) * frames);
    }
    return {
      pcm: new Tensor('float32', pcm, [rows, samples]),
      front_mask: new Tensor('float32', frontMask, [rows, fronts, 1]),
      front_share: new Tensor('float32', frontShare, [rows, 1, 1]),
      frame_mask: new Tensor('float32', frameMask, [rows, 1, 1, frames]),
      positions: new Tensor('int32', Int32Array.from({ length: frames }, countUp), [1, frames]),
    };
  }
}

function countUp(_: unknown, at: number): number {
  return at;
}

/** What is offered of each draft: no more than the budget leaves, nor than may be read of all rows at once. */
function offeredDrafts(tasks: readonly AudioTask[]): (readonly number[])[] {
  const room = Math.floor(BATCH_READ_TOKENS_MAX_COUNT / tasks.length) - 1;
  return tasks.map(({ draft, maxTokens }) => new Draft(draft).offer(Math.min(room, maxTokens - 1)));
}

function tokenFeeds(tasks: readonly AudioTask[]): {
  readonly feeds: Record<string, Tensor>;
  readonly drafts: readonly (readonly number[])[];
} {
  const drafts = offeredDrafts(tasks);
  const [rows, count] = [tasks.length, 1 + Math.max(...drafts.map(({ length }) => length))];
  const tokens = new Int32Array(rows * count).fill(START_TOKEN);
  const offered = new Int32Array(rows * count).fill(NO_TOKEN);
  for (const [row, draft] of drafts.entries()) {
    tokens.set(draft, row * count + 1);
    offered.set(draft, row * count);
  }
  const causal = Float32Array.from({ length: count * count }, (_, at) =>
    at % count > Math.floor(at / count) ? MASKED : 0,
  );
  const budgets = tasks.map(({ maxTokens }) => maxTokens);
  const tripCount = BigInt(Math.max(...budgets) - 1);
  const feeds = {
    tokens: new Tensor('int32', tokens, [rows, count]),
    token_positions: new Tensor(
      'int32',
      Int32Array.from(tokens, (_, at) => at % count),
      [rows, count],
    ),
    offered: new Tensor('int32', offered, [rows, count]),
    places: new Tensor('int32', Int32Array.from({ length: count }, countUp), [1, count]),
    draft_mask: new Tensor('float32', causal, [1, 1, count, count]),
    budgets: new Tensor('int32', Int32Array.from(budgets), [rows, 1]),
    trip_count: new Tensor('int64', BigInt64Array.of(tripCount), []),
  };
  return { feeds, drafts };
}

/** What one row became: its draft as far as it was chosen, the token after that, and those of the loop. */
function decodingOf({ maxTokens }: AudioTask, row: number, { chosen, steps, drafts }: Choices) {
  const draft = drafts[row] ?? [];
  const count = chosen.length / drafts.length;
  const own = chosen.subarray(row * count, (row + 1) * count);
  const differsAt = draft.findIndex((token, at) => token !== own[at]);
  const accepted = differsAt === -1 ? draft.length : differsAt;
  const followed = steps.filter((_, at) => at % drafts.length === row);
  const { tokens, stop } = takeTokens([...own.subarray(0, accepted + 1), ...followed], maxTokens);
  const draftAcceptedTokens = Math.min(accepted, tokens.length);
  return { tokens, stop, draftAcceptedTokens, decoderSteps: 1 + steps.length / drafts.length };
}

function addBytes(sum: number, { type, size }: Tensor): number {
  const bytes = type === 'float16' ? 2 : type === 'int64' ? 8 : 4;
  return sum + size * bytes;
}
