/** The graphs of one Moonshine model, published or prepared, loaded into ONNX Runtime. */
import assert from 'node:assert/strict';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { toFloatPcm } from '../pipeline/audio.ts';
import { sessionOptions } from './device_options.ts';
import { decodeGreedily, type TokenContext } from './greedy_decoder.ts';
import type { AudioTask, DecodedBatch, MoonshineEngine, TimedDecoding } from './moonshine_engine.ts';
import type { MoonshineArchitecture } from './moonshine_facts.ts';
import { PreparedContext } from './prepared_context.ts';
import { PublishedContext } from './published_decoder.ts';
import { type Beginning, StreamingGraph } from './streaming_graph.ts';

/** Files of a model: the published pair, or what `prepareMoonshine` made of it. */
export interface MoonshineFiles {
  readonly encoderPath: string;
  readonly decoderPath: string;
  /** The prepared decoder's second form, without which drafts are not used. */
  readonly verifierPath?: string | undefined;
  /** What partials are made with; absent: they are made as finals are. */
  readonly streaming?: { readonly encoderPath: string; readonly readerPath: string } | undefined;
}

/** How a model is run. `threads` is the count of threads one run may use, ≥ 1. */
export interface RunOptions {
  readonly device: string;
  readonly threads: number;
  readonly architecture: MoonshineArchitecture;
}

interface Sessions {
  readonly encoder: InferenceSession;
  readonly decoder: InferenceSession;
  readonly verifier: InferenceSession | undefined;
  readonly streaming: { readonly encoder: StreamingGraph; readonly reader: InferenceSession } | undefined;
}

/** A decoder at the start of an utterance, and how much of the audio did not have to be encoded for it. */
interface Begun {
  readonly context: TokenContext;
  readonly reusedMs: number;
}

/**
 * The graphs for processors, one utterance at a time. Measured: a batch of them on one thread takes as long as its
 * rows one after the other.
 */
export class MoonshineGraphs implements MoonshineEngine {
  readonly batchMaxCount = 1;
  readonly #sessions: Sessions;
  readonly #architecture: MoonshineArchitecture;

  private constructor(sessions: Sessions, architecture: MoonshineArchitecture) {
    this.#sessions = sessions;
    this.#architecture = architecture;
  }

  /** Reads the graphs from disk. Throws ONNX Runtime's error if one is missing or damaged. */
  static async open(files: MoonshineFiles, options: RunOptions): Promise<MoonshineGraphs> {
    const opened: InferenceSession[] = [];
    const open = async (path: string): Promise<InferenceSession> => {
      const session = await InferenceSession.create(path, sessionOptions(options));
      opened.push(session);
      return session;
    };
    try {
      const encoder = await open(files.encoderPath);
      const decoder = await open(files.decoderPath);
      const verifier = files.verifierPath === undefined ? undefined : await open(files.verifierPath);
      const streaming = files.streaming && {
        encoder: new StreamingGraph(await open(files.streaming.encoderPath), options.architecture),
        reader: await open(files.streaming.readerPath),
      };
      return new MoonshineGraphs({ encoder, decoder, verifier, streaming }, options.architecture);
    } catch (error) {
      await Promise.all(opened.map((session) => session.release()));
      throw error;
    }
  }

  async decode(tasks: readonly AudioTask[]): Promise<DecodedBatch> {
    const decodings: TimedDecoding[] = [];
    for (const task of tasks) {
      const startMs = performance.now();
      const { context, reusedMs } = await this.#begin(task);
      const encodedMs = performance.now();
      const decoding = await decodeGreedily(context, task);
      const decodeMs = performance.now() - encodedMs;
      decodings.push({ ...decoding, encodeMs: encodedMs - startMs, decodeMs, reusedMs });
    }
    const samples = tasks.reduce((sum, { pcm }) => sum + pcm.length, 0);
    return { decodings, samples, paddingSamples: 0, movedBytes: 0 };
  }

  /** Encodes the audio. The context that comes back is good for `maxTokens` tokens and until the next call. */
  async begin(pcm: Int16Array, maxTokens: number): Promise<TokenContext> {
    const { encoder, decoder, verifier } = this.#sessions;
    const architecture = this.#architecture;
    const samples = new Tensor('float32', toFloatPcm(pcm), [1, pcm.length]);
    const encoded = await encoder.run({ input_values: samples });
    const { last_hidden_state: hiddenState } = encoded;
    // Which graphs these are is told by what the encoder returns.
    if (hiddenState) return new PublishedContext(decoder, architecture, hiddenState);
    const utterance = { architecture, crossProjections: encoded, maxTokens };
    return new PreparedContext({ step: decoder, together: verifier }, utterance);
  }

  /** True if partials are made with what is kept of their utterance. */
  get isStreaming(): boolean {
    return this.#sessions.streaming !== undefined;
  }

  /** The same for the beginning of an utterance that grows, with what is kept of it. Only where `isStreaming`. */
  async beginPartial(beginning: Beginning, maxTokens: number): Promise<Begun> {
    const { decoder, streaming } = this.#sessions;
    assert(streaming, 'these graphs have no streaming encoder');
    const { crossProjections, reusedMs } = await streaming.encoder.encode(beginning);
    const utterance = { architecture: this.#architecture, crossProjections, maxTokens };
    return {
      context: new PreparedContext({ step: decoder, together: streaming.reader }, utterance),
      reusedMs,
    };
  }

  async close(): Promise<void> {
    const { encoder, decoder, verifier, streaming } = this.#sessions;
    await encoder.release();
    await decoder.release();
    await verifier?.release();
    await streaming?.encoder.close();
    await streaming?.reader.release();
  }

  async #begin({ pcm, maxTokens, partialOf }: AudioTask): Promise<Begun> {
    if (partialOf !== undefined && this.isStreaming)
      return this.beginPartial({ pcm, key: partialOf }, maxTokens);
    return { context: await this.begin(pcm, maxTokens), reusedMs: 0 };
  }
}
