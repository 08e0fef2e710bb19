/** The worker processes: the real audio worker behind a simulated pipe, and a recogniser that reads watermarks. */
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { AudioWorker } from '../../pipeline/audio_worker.ts';
import type { Hypothesis, RecognitionTask, Recogniser } from '../../pipeline/contracts.ts';
import { EXIT_CONCURRENCY, InferenceError } from '../../pipeline/errors.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { InferenceWorker } from '../../pipeline/inference_worker.ts';
import type { WorkerListener } from '../../pipeline/worker_process.ts';
import { judgeFrame, ScriptedDecoders, scriptedParts } from './scripted_audio.ts';
import { SimProcess, type ProcessContext } from './sim_process.ts';
import { type MarkedSpan, readSpan, roughText, spanText } from './watermark.ts';

/** A promise that never settles: of a process that has ended. */
function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

export class AudioProcess extends SimProcess<AudioRequest, AudioReply> {
  readonly decoders: ScriptedDecoders;
  readonly #worker: AudioWorker;

  constructor(context: ProcessContext, listener: WorkerListener<AudioReply>) {
    super('audio', context, listener);
    const { accuse, clock } = context;
    this.decoders = new ScriptedDecoders(accuse);
    this.#worker = new AudioWorker({
      parts: scriptedParts(this.decoders, (frames, states) => {
        const probabilities = frames.map((frame, i) =>
          judgeFrame(frame, states[i] ?? new Float32Array(2), accuse),
        );
        return this.#detected(Float32Array.from(probabilities));
      }),
      clock: { nowMs: () => clock.nowMs(), after: () => () => undefined },
      cpuMs: () => 0,
      reply: (message) => {
        this.say(message);
      },
      onTrackFailed: (error) => {
        accuse('threw', `a track failed: ${String(error)}`);
      },
    });
  }

  protected override work(request: AudioRequest): void {
    const { faults, accuse, mayHangOnAudio } = this.context;
    // From outside: what ends two workers by itself is poison, and not for everybody to hear.
    if (faults.fires('audioKillBefore')) this.die({ signal: 'SIGKILL' });
    else if (faults.fires('audioHang') && mayHangOnAudio()) this.hang();
    if (!this.isHealthy) return;
    this.#worker.receive(request).catch((error: unknown) => {
      accuse('threw', `an audio worker failed: ${String(error)}`);
      this.die({ code: 1 });
    });
    if (faults.fires('audioKillAfter')) this.die({ signal: 'SIGKILL' });
    else if (faults.fires('audioLoseOutputs')) this.die({ signal: 'SIGKILL', losesPipe: true });
  }

  /** What the detector found, when it has found it: at once, or after a while in which anything can happen. */
  #detected(probabilities: Float32Array): Promise<Float32Array> {
    const { faults, clock, dice } = this.context;
    if (!this.isAlive) return never();
    if (faults.fires('audioKillMid')) {
      this.die({ signal: 'SIGKILL' });
      return never();
    }
    if (!faults.fires('audioBusy')) return Promise.resolve(probabilities);
    return new Promise((resolve) => {
      clock.outside(dice.magnitude(0.5, 20), () => {
        if (this.isAlive) resolve(probabilities);
      });
    });
  }
}

/** Time of a batch in ms: fixed, for each row, and per second of its longest audio. */
const BATCH_BASE_MS = 10;
const BATCH_PER_ROW_MS = 5;
const BATCH_PER_SECOND_MS = 25;

export class InferenceProcess extends SimProcess<InferenceRequest, InferenceReply> {
  readonly #worker: InferenceWorker;
  /** The utterances whose jobs run. */
  #running: readonly string[] = [];
  /** Whose the numbers are that partials come with: what is kept of them is used again. */
  readonly #utterances = new Map<number, string>();

  constructor(context: ProcessContext, listener: WorkerListener<InferenceReply>, batchMaxCount: number) {
    super('inference', context, listener);
    const recogniser: Recogniser = {
      model: 'watermarks',
      device: 'simulated',
      batchMaxCount,
      transcribe: (tasks) => this.#transcribe(tasks),
      close: () => Promise.resolve(),
    };
    this.#worker = new InferenceWorker({
      recogniser,
      reply: (message) => {
        this.#running = [];
        this.say(message);
        if (message.type === 'batchDone') return;
        if (context.faults.fires('inferenceKillAfter')) this.die({ signal: 'SIGSEGV' });
        else if (context.faults.fires('inferenceLoseResult'))
          this.die({ signal: 'SIGSEGV', losesPipe: true });
      },
      exit: (code) => {
        if (code === EXIT_CONCURRENCY)
          context.accuse('I4', `inference process ${this.pid} got a batch while one was running`);
        else this.die({ code });
      },
    });
  }

  override die(end: Parameters<SimProcess<InferenceRequest, InferenceReply>['die']>[0]): void {
    if (this.isAlive) this.context.noteJobDeath(this.#running);
    super.die(end);
  }

  protected override work(request: InferenceRequest): void {
    const { faults, accuse } = this.context;
    if (faults.fires('inferenceKillBefore')) {
      this.die({ signal: 'SIGSEGV' });
      return;
    }
    this.#worker.run(request).catch((error: unknown) => {
      accuse('threw', `an inference worker failed: ${String(error)}`);
    });
  }

  async #transcribe(tasks: readonly RecognitionTask[]): ReturnType<Recogniser['transcribe']> {
    const { faults, dice } = this.context;
    const spans = tasks.map((task) => this.#spanOf(task));
    this.#running = spans.map((span) =>
      span === undefined ? 'nothing' : `client${span.client} from ${span.startSamples}`,
    );
    if (faults.fires('inferenceHang')) {
      this.hang();
      return never();
    }
    const longest = Math.max(...tasks.map(({ pcm }) => pcm.length));
    let batchMs = BATCH_BASE_MS + BATCH_PER_ROW_MS * tasks.length;
    batchMs = (batchMs + (BATCH_PER_SECOND_MS * longest) / SAMPLE_RATE_HZ) * dice.between(0.7, 1.3);
    if (faults.fires('inferenceSlow')) {
      batchMs *= dice.magnitude(5, 100);
      this.confess();
    }
    if (faults.fires('inferenceKillMid')) {
      await this.#pass(batchMs * dice.unit());
      this.die({ signal: 'SIGSEGV' });
      return never();
    }
    await this.#pass(batchMs);
    const transcriptions = tasks.map((task, at) =>
      faults.fires('inferenceRefuse')
        ? { error: new InferenceError('internal', 'the model failed on this audio') }
        : { hypothesis: hypothesisOf(spans[at], task) },
    );
    return { transcriptions, work: { samples: 0, paddingSamples: 0, movedBytes: 0, halvings: 0 } };
  }

  /** What a task is of; its draft and all beginnings of one number must be of the same. */
  #spanOf({ pcm, draft, partialOf }: RecognitionTask): MarkedSpan | undefined {
    const { accuse } = this.context;
    const span = readSpan(pcm);
    if (span === undefined) accuse('I3', 'a job is not one unbroken span of one client');
    const [client, startSamples] = draft;
    if (draft.length > 0 && (client !== span?.client || startSamples !== span?.startSamples)) {
      accuse(
        'I3',
        `the draft of client ${String(client)} from ${String(startSamples)} for another utterance`,
      );
    }
    if (partialOf !== undefined && span !== undefined) {
      const utterance = `client${span.client} from ${span.startSamples}`;
      const before = this.#utterances.get(partialOf) ?? utterance;
      if (before !== utterance) accuse('I3', `what was made of ${before} is used for ${utterance}`);
      this.#utterances.set(partialOf, utterance);
    }
    return span;
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.context.clock.outside(ms, () => {
        if (this.isHealthy) resolve();
      });
    });
  }
}

function hypothesisOf(span: MarkedSpan | undefined, { partialOf }: RecognitionTask): Hypothesis {
  const written = partialOf === undefined ? spanText : roughText;
  const text = span === undefined ? '' : written(span);
  const tokens = [span?.client ?? 0, span?.startSamples ?? 0];
  return {
    text,
    tokens,
    stop: 'end',
    encodeMs: 1,
    decodeMs: 1,
    reusedMs: 0,
    decoderSteps: 1,
    draftAcceptedTokens: 0,
  };
}
