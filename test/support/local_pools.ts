/** The real audio path and the real recogniser in the test's own process, for runs at the speed of the machine. */
import { loadRecogniser } from '../../models/recogniser.ts';
import { readSileroGraph } from '../../models/silero_graph.ts';
import type { TrackSettings } from '../../pipeline/audio_messages.ts';
import type { AudioPool, AudioTrack } from '../../pipeline/audio_pool.ts';
import { AudioWorker } from '../../pipeline/audio_worker.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { Hypothesis, Recogniser, TrackEvent } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import type { InferenceJob, InferencePool } from '../../pipeline/inference_pool.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';
import { loadSilero } from '../../vad/silero.ts';
import { testModelsDir, weightPath } from './weights.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

/** One audio worker without its process. `settled` resolves when all that was pushed has been worked off. */
export class LocalAudioPool implements AudioPool {
  readonly #worker: AudioWorker;
  readonly #listeners = new Map<number, (event: TrackEvent) => void>();
  #working: Promise<void> = Promise.resolve();
  #nextTrack = 1;

  private constructor(parts: ConstructorParameters<typeof AudioWorker>[0]['parts']) {
    this.#worker = new AudioWorker({
      parts,
      clock: systemClock,
      cpuMs: () => 0,
      reply: ({ events }) => {
        for (const { track, event } of events) this.#listeners.get(track)?.(event);
      },
      onTrackFailed: (error) => {
        throw error;
      },
    });
  }

  static async load(): Promise<LocalAudioPool> {
    const modelPath = weightPath('silero-vad-v5', 'silero_vad_v5.onnx');
    const [decoders, detector] = await Promise.all([
      loadDecoderFactory(),
      readSileroGraph(modelPath).then((graph) => loadSilero({ graph, threads: 1 })),
    ]);
    return new LocalAudioPool({ decoders, detector, segmenters: SILERO_SEGMENTERS });
  }

  get settled(): Promise<void> {
    return this.#working;
  }

  open(settings: TrackSettings, onEvent: (event: TrackEvent) => void): AudioTrack {
    const track = this.#nextTrack++;
    let seq = 1;
    this.#listeners.set(track, onEvent);
    const apply = (entry: Parameters<AudioWorker['receive']>[0]['entries'][number]): void => {
      this.#working = Promise.all([
        this.#working,
        this.#worker.receive({ type: 'entries', entries: [entry] }),
      ]).then(() => undefined);
    };
    apply({ type: 'open', track, settings });
    return {
      isBehind: false,
      decodedSamples: settings.originSamples,
      push: (input) => {
        apply({ type: 'input', track, seq: seq++, input });
        return 'accepted';
      },
      close: () => {
        this.#listeners.delete(track);
        apply({ type: 'close', track });
      },
    };
  }
}

/** One recogniser without its process, one job at a time. */
export class LocalInferencePool implements InferencePool {
  readonly slotCount = 1;
  readonly isDisturbed = false;
  /** Jobs run so far. */
  jobCount = 0;
  readonly #recogniser: Recogniser;
  #isBusy = false;

  private constructor(recogniser: Recogniser) {
    this.#recogniser = recogniser;
  }

  static async load(): Promise<LocalInferencePool> {
    const { recogniser } = await loadRecogniser({
      model: 'moonshine-tiny-en',
      modelsDir: testModelsDir(),
      device: 'cpu',
      threads: 1,
    });
    return new LocalInferencePool(recogniser);
  }

  get freeCount(): number {
    return this.#isBusy ? 0 : 1;
  }

  get idleCount(): number {
    return this.freeCount;
  }

  async run(job: InferenceJob): Promise<Hypothesis> {
    this.#isBusy = true;
    this.jobCount++;
    try {
      return await transcribeOne(this.#recogniser, { pcm: job.pcm, draft: job.draft });
    } finally {
      this.#isBusy = false;
    }
  }

  close(): Promise<void> {
    return this.#recogniser.close();
  }
}
