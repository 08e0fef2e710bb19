/** The worker pools of a simulated world: the real ones over simulated processes, and a witness of what they do. */
import type { AudioReply } from '../../pipeline/audio_messages.ts';
import { WorkerAudioPool } from '../../pipeline/audio_pool.ts';
import { WorkerInferencePool, type SlotDevice } from '../../pipeline/inference_pool.ts';
import { JOB_DEATH_EXCUSED_MAX_COUNT, WORKER_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import type { WorkerListener } from '../../pipeline/worker_process.ts';
import type { CheckedTelemetry } from './checked_telemetry.ts';
import type { Dice } from './dice.ts';
import type { Faults } from './faults.ts';
import { ProcessLedger, type Role } from './process_ledger.ts';
import type { Accuse } from './scripted_audio.ts';
import type { SimClock } from './sim_clock.ts';
import type { ProcessContext } from './sim_process.ts';
import { AudioProcess, InferenceProcess } from './sim_workers.ts';
import type { Trace } from './trace.ts';

/** A partial and the final of an utterance may be running at the same time. */
const SHARED_DEATH_MAX_COUNT = 2;

export interface SimPoolsOptions {
  readonly clock: SimClock;
  readonly dice: Dice;
  /** What the world is made of is drawn from it. */
  readonly plan: Dice;
  readonly faults: Faults;
  readonly trace: Trace;
  readonly telemetry: CheckedTelemetry;
  readonly accuse: Accuse;
  /** The audio pool is about to be given this. */
  readonly onAudioReply: (reply: AudioReply) => void;
  readonly onDeath: (role: Role, death: WorkerDeath) => void;
  /** A slot became free, or a worker came or went. */
  readonly onChange: () => void;
}

export class SimPools {
  readonly inference: WorkerInferencePool;
  readonly audio: WorkerAudioPool;
  readonly ledger: ProcessLedger;
  readonly processes: (AudioProcess | InferenceProcess)[] = [];
  readonly workerCounts: Readonly<Record<Role, { readonly work: number; readonly spare: number }>>;
  readonly #options: SimPoolsOptions;
  readonly #copiesMessages: boolean;
  readonly #jobDeathCounts = new Map<string, number>();
  #hasHungOnAudio = false;

  constructor(options: SimPoolsOptions) {
    const { plan, accuse, telemetry } = options;
    this.#options = options;
    this.ledger = new ProcessLedger(accuse);
    this.#copiesMessages = plan.chance(0.1);
    this.workerCounts = {
      audio: { work: plan.whole(1, 3), spare: plan.whole(0, 1) },
      inference: { work: plan.whole(1, 3), spare: plan.whole(0, 1) },
    };
    this.inference = new WorkerInferencePool({
      ...this.#poolOptions('inference'),
      workers: this.#inferenceWorkers(),
      slotCount: this.workerCounts.inference.work,
    });
    this.audio = new WorkerAudioPool({
      ...this.#poolOptions('audio'),
      telemetry,
      launch: (listener) => this.#launchAudio(listener),
      workerCount: this.workerCounts.audio.work,
      spareCount: this.workerCounts.audio.spare,
    });
  }

  /** Slots of a world take one to four jobs at once; most worlds have slots as processors do, which take one. */
  #inferenceWorkers(): SlotDevice[] {
    const { plan } = this.#options;
    const { work, spare } = this.workerCounts.inference;
    const isBatched = plan.chance(0.6);
    return Array.from({ length: work + spare }, () => {
      const batchMaxCount = isBatched ? plan.whole(1, 4) : 1;
      const launch: SlotDevice['launch'] = (listener) =>
        this.#launched(new InferenceProcess(this.#contextOf('inference'), listener, batchMaxCount));
      return { launch, batchMaxCount };
    });
  }

  start(): void {
    this.audio.start();
    this.inference.start();
  }

  async close(): Promise<void> {
    await Promise.all([this.audio.close(), this.inference.close()]);
  }

  /** Rules I7 and I9 when nothing has happened for a while: all are back, none holds anything, each death was told. */
  checkQuiet(): void {
    const accuseIf = (isWrong: boolean, detail: string): void => {
      if (isWrong) this.#options.accuse('I9', detail);
    };
    const { audio, inference } = this.workerCounts;
    accuseIf(this.inference.busyCount > 0, `${this.inference.busyCount} jobs run`);
    accuseIf(this.inference.slotCount < inference.work, 'not all inference workers came back');
    accuseIf(this.audio.readyCount < audio.work, 'not all audio workers came back');
    for (const process of this.processes) {
      if (!(process instanceof AudioProcess) || !process.isHealthy) continue;
      const { openCount } = process.decoders;
      accuseIf(openCount > 0, `audio process ${process.pid} holds ${openCount} decoders`);
    }
    this.ledger.checkSettled();
  }

  #launchAudio(listener: WorkerListener<AudioReply>): AudioProcess {
    const process: AudioProcess = new AudioProcess(this.#contextOf('audio'), {
      message: (message) => {
        if (message.type === 'outputs') this.#options.onAudioReply(message);
        listener.message(message);
      },
      ended: () => {
        listener.ended();
      },
      exited: (exit) => {
        listener.exited(exit);
      },
    });
    return this.#launched(process);
  }

  #poolOptions(role: Role): {
    readonly clock: SimClock;
    readonly random: () => number;
    readonly rssMaxBytes: number;
    readonly onChange: () => void;
    readonly onDeath: (death: WorkerDeath) => void;
  } {
    const { clock, dice, trace, onChange, onDeath } = this.#options;
    const jitter = dice.stream(`jitter ${role}`);
    return {
      ...{ clock, onChange, rssMaxBytes: WORKER_RSS_MAX_BYTES, random: () => jitter.unit() },
      onDeath: (death) => {
        trace.note(`the death of ${death.pid} is reported: ${death.cause}`);
        this.ledger.noteReport(role, death);
        onDeath(role, death);
      },
    };
  }

  #contextOf(role: Role): ProcessContext {
    const { clock, faults, trace, dice, accuse } = this.#options;
    return {
      ...{ clock, faults, trace, accuse, ledger: this.ledger, copiesMessages: this.#copiesMessages },
      dice: dice.stream(`${role} process ${this.ledger.processCount}`),
      mayHangOnAudio: () => {
        const mayHang = !this.#hasHungOnAudio;
        this.#hasHungOnAudio = true;
        return mayHang;
      },
      noteJobDeath: (utterances) => {
        for (const utterance of utterances) this.#noteJobDeath(utterance, utterances.length > 1);
      },
    };
  }

  #launched<P extends AudioProcess | InferenceProcess>(process: P): P {
    this.processes.push(process);
    return process;
  }

  /**
   * An utterance costs no more workers than are allowed, its partials and its final together. In company it loses one
   * only once, or twice where a partial and the final were running; from then on its jobs are alone.
   */
  #noteJobDeath(utterance: string, isShared: boolean): void {
    const key = `${utterance}${isShared ? ' in company' : ''}`;
    const deathCount = (this.#jobDeathCounts.get(key) ?? 0) + 1;
    this.#jobDeathCounts.set(key, deathCount);
    if (deathCount > (isShared ? SHARED_DEATH_MAX_COUNT : JOB_DEATH_EXCUSED_MAX_COUNT))
      this.#options.accuse('I4', `${deathCount} workers ended on ${key}`);
  }
}
