/**
 * One simulated world: the real pipeline between simulated clients and simulated worker processes, drawn from one seed. The
 * same seed gives the same world, event for event.
 */
import { WorkerAudioPool, type AudioReply } from '../../pipeline/audio_pool.ts';
import { WorkerInferencePool } from '../../pipeline/inference_pool.ts';
import { DRAIN_MAX_MS, JOB_DEATH_EXCUSED_MAX_COUNT, WORKER_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { WorkerListener } from '../../pipeline/worker_process.ts';
import { judgeHealth } from '../../server/health.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import { CheckedTelemetry } from './checked_telemetry.ts';
import { writeCrowd } from './crowd.ts';
import { Dice } from './dice.ts';
import { Faults } from './faults.ts';
import { ObservedAudioPool, ObservedScheduler, type ObservedTrack } from './observed_parts.ts';
import type { Outcome, Violation } from './outcome.ts';
import { ProcessLedger, type Role } from './process_ledger.ts';
import { judgeSession } from './session_verdict.ts';
import { SimClient } from './sim_client.ts';
import { SimClock } from './sim_clock.ts';
import type { ProcessContext } from './sim_process.ts';
import { AudioProcess, InferenceProcess } from './sim_workers.ts';
import { Trace } from './trace.ts';

/** Everything settles in this time once faults stop. */
const SETTLE_MAX_MS = 30_000;
/** A world with more events goes round in circles. */
const EVENT_MAX_COUNT = 400_000;
const VIOLATION_MAX_COUNT = 20;

/** Runs the world of a seed to its end. */
export async function simulate(
  seed: number,
  options: { readonly keepsTrace?: boolean } = {},
): Promise<Outcome> {
  const world = new World(seed, options.keepsTrace ?? false);
  return await world.run();
}

class World {
  readonly #seed: number;
  readonly #dice: Dice;
  readonly #clock = new SimClock();
  readonly #trace: Trace;
  readonly #faults: Faults;
  readonly #ledger: ProcessLedger;
  readonly #processes: (AudioProcess | InferenceProcess)[] = [];
  readonly #violations: Violation[] = [];
  readonly #workerCounts: Readonly<Record<Role, { readonly work: number; readonly spare: number }>>;
  readonly #inferencePool: WorkerInferencePool;
  readonly #audioPool: WorkerAudioPool;
  readonly #observedAudio: ObservedAudioPool;
  readonly #scheduler: ObservedScheduler;
  readonly #registry: SessionRegistry;
  readonly #clients: SimClient[] = [];
  readonly #talkMs: number;
  readonly #copiesMessages: boolean;
  #current: SimClient | undefined;
  readonly #clientOfTrack = new Map<ObservedTrack, SimClient>();
  readonly #jobDeathCounts = new Map<string, number>();
  #isClosed = false;

  constructor(seed: number, keepsTrace: boolean) {
    this.#seed = seed;
    this.#dice = new Dice(seed);
    this.#trace = new Trace({ nowMs: () => this.#clock.elapsedMs, keepsAll: keepsTrace });
    this.#faults = new Faults(this.#dice.stream('faults'));
    this.#ledger = new ProcessLedger(this.#accuse);
    const plan = this.#dice.stream('plan');
    this.#talkMs = plan.magnitude(2_000, 8_000);
    this.#copiesMessages = plan.chance(0.1);
    this.#workerCounts = {
      audio: { work: plan.whole(1, 3), spare: plan.whole(0, 1) },
      inference: { work: plan.whole(1, 3), spare: plan.whole(0, 1) },
    };
    const telemetry = new CheckedTelemetry(this.#accuse);
    const clock = this.#clock;
    this.#inferencePool = this.#createInferencePool();
    this.#audioPool = new WorkerAudioPool({
      ...this.#poolOptions('audio'),
      telemetry,
      launch: (listener) => this.#launchAudio(listener),
      workerCount: this.#workerCounts.audio.work,
      onDeath: (death) => {
        this.#onDeath('audio', death);
      },
    });
    this.#observedAudio = new ObservedAudioPool(this.#audioPool, {
      accuse: this.#accuse,
      onOpen: (track) => {
        this.#onTrackOpened(track);
      },
      onInput: (track, input) => {
        if (input.type === 'audioStopped') this.#checkStopped(track);
      },
    });
    this.#scheduler = new ObservedScheduler(
      {
        pool: this.#inferencePool,
        clock,
        telemetry,
        partialIntervalMs: Math.round(plan.between(300, 900)),
        onPartialsSuspended: (suspended) => {
          this.#trace.note(`partials suspended: ${suspended}`);
          this.#registry.tellPartialsSuspended(suspended);
        },
      },
      { accuse: this.#accuse, slotCount: this.#workerCounts.inference.work },
    );
    this.#registry = new SessionRegistry({
      audioPool: this.#observedAudio,
      scheduler: this.#scheduler,
      clock,
      telemetry,
      maxSessions: plan.whole(20, 200),
      isReady: () => this.#isReady,
      // The server contains what is thrown in a session; here it is a bug all the same.
      onFault: ({ cause }) => {
        this.#accuse('threw', cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
      },
    });
    this.#createClients(plan, telemetry);
  }

  async run(): Promise<Outcome> {
    this.#audioPool.start();
    this.#inferencePool.start();
    this.#registry.start();
    const world = this.#dice.stream('world');
    this.#scheduleClients(world);
    this.#scheduleSecond(world);
    const talkEndMs = this.#talkMs + 2_000;
    if (this.#faults.fires('drain'))
      this.#clock.outside(world.between(100, talkEndMs), () => {
        this.#drain();
      });
    if (this.#faults.fires('abruptClose')) {
      this.#clock.at(this.#clock.nowMs() + world.between(1_000, talkEndMs), 'read', () => {
        this.#close();
      });
    }
    // Read by the gateway, so that the time to settle does not begin while it stands still.
    this.#clock.at(this.#clock.nowMs() + talkEndMs, 'read', () => {
      this.#calm();
    });
    await this.#clock.run({
      isOver: () => this.#clock.eventCount > EVENT_MAX_COUNT,
      threw: (error) => {
        this.#accuse('threw', error instanceof Error ? (error.stack ?? error.message) : String(error));
      },
    });
    this.#judge();
    return {
      seed: this.#seed,
      violations: this.#violations,
      digest: this.#trace.digest(),
      trace: this.#trace.text(),
      eventCount: this.#clock.eventCount,
      virtualMs: this.#clock.elapsedMs,
      finalCount: this.#clients.reduce((sum, client) => sum + client.record.finals.length, 0),
      processCount: this.#ledger.processCount,
      activeFaults: this.#faults.active,
    };
  }

  readonly #accuse = (rule: string, detail: string): void => {
    this.#trace.note(`VIOLATION ${rule} ${detail}`);
    if (this.#violations.length >= VIOLATION_MAX_COUNT) return;
    this.#violations.push({ rule, detail, atMs: this.#clock.elapsedMs });
  };

  get #isReady(): boolean {
    const { audio, inference } = this.#workerCounts;
    const health = judgeHealth({
      workers: [],
      slotCount: this.#inferencePool.slotCount,
      wantedSlotCount: inference.work,
      audioCount: Math.min(this.#audioPool.readyCount, audio.work),
      wantedAudioCount: audio.work,
      isDraining: this.#registry.isDraining,
    });
    return health.status === 'ready' || health.status === 'degraded';
  }

  #createInferencePool(): WorkerInferencePool {
    return new WorkerInferencePool({
      ...this.#poolOptions('inference'),
      launch: (listener) => this.#launched(new InferenceProcess(this.#contextOf('inference'), listener)),
      slotCount: this.#workerCounts.inference.work,
      onDeath: (death) => {
        this.#onDeath('inference', death);
      },
    });
  }

  #launchAudio(listener: WorkerListener<AudioReply>): AudioProcess {
    const process: AudioProcess = new AudioProcess(this.#contextOf('audio'), {
      message: (message) => {
        if (message.type === 'outputs') this.#observedAudio.noteReply(message);
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
    readonly spareCount: number;
    readonly rssMaxBytes: number;
    readonly onChange: () => void;
  } {
    const jitter = this.#dice.stream(`jitter ${role}`);
    return {
      clock: this.#clock,
      random: () => jitter.unit(),
      spareCount: this.#workerCounts[role].spare,
      rssMaxBytes: WORKER_RSS_MAX_BYTES,
      onChange: () => {
        this.#scheduler.pump();
      },
    };
  }

  #contextOf(role: Role): ProcessContext {
    return {
      clock: this.#clock,
      faults: this.#faults,
      ledger: this.#ledger,
      trace: this.#trace,
      dice: this.#dice.stream(`${role} process ${this.#ledger.processCount}`),
      accuse: this.#accuse,
      copiesMessages: this.#copiesMessages,
      noteJobDeath: (utterance) => {
        this.#noteJobDeath(utterance);
      },
    };
  }

  #launched<P extends AudioProcess | InferenceProcess>(process: P): P {
    this.#processes.push(process);
    return process;
  }

  /** An utterance costs no more workers than are allowed, its partials and its final together. */
  #noteJobDeath(utterance: string): void {
    const deathCount = (this.#jobDeathCounts.get(utterance) ?? 0) + 1;
    this.#jobDeathCounts.set(utterance, deathCount);
    if (deathCount > JOB_DEATH_EXCUSED_MAX_COUNT)
      this.#accuse('I4', `${deathCount} workers ended on ${utterance}`);
  }

  #onDeath(role: Role, death: Parameters<ProcessLedger['noteReport']>[1]): void {
    this.#trace.note(`the death of ${death.pid} is reported: ${death.cause}`);
    this.#ledger.noteReport(role, death);
  }

  #onTrackOpened(track: ObservedTrack): void {
    const client = this.#current;
    if (client === undefined) {
      this.#accuse('I1', 'a track was opened for nobody');
      return;
    }
    client.track = track;
    this.#clientOfTrack.set(track, client);
  }

  /** Nobody's audio has stopped who has some waiting to be read. */
  #checkStopped(track: ObservedTrack): void {
    const client = this.#clientOfTrack.get(track);
    if (client?.hasUnread === true) {
      this.#accuse(
        'I3',
        `client ${client.number}: its audio was taken to have stopped while some waits to be read`,
      );
    }
  }

  #createClients(plan: Dice, telemetry: CheckedTelemetry): void {
    const crowd = { dice: this.#dice, plan, faults: this.#faults, talkMs: this.#talkMs };
    for (const script of writeCrowd(crowd)) {
      this.#clients.push(
        new SimClient({
          script,
          clock: this.#clock,
          dice: this.#dice.stream(`network ${script.number}`),
          trace: this.#trace,
          accuse: this.#accuse,
          dialect: {
            registry: this.#registry,
            clock: this.#clock,
            telemetry,
            defaults: { silenceMs: 500, maxUtteranceMs: 15_000, model: 'watermarks' },
          },
          refusal: () => this.#registry.refusal()?.reason,
          onBehalf: (client, act) => {
            this.#current = client;
            act();
            this.#current = undefined;
          },
        }),
      );
    }
  }

  #scheduleClients(world: Dice): void {
    const together = world.chance(0.3);
    for (const client of this.#clients) {
      const isFlooder = client.script.kind === 'flooder';
      const atMs = together || isFlooder ? world.between(700, 900) : world.between(0, this.#talkMs / 2);
      this.#clock.outside(atMs, () => {
        client.connect();
      });
    }
  }

  /** Once a second, until faults stop: what may happen at any time. */
  #scheduleSecond(world: Dice): void {
    this.#clock.outside(world.between(500, 1_500), () => {
      if (this.#clock.elapsedMs > this.#talkMs + 2_000) return;
      if (this.#faults.fires('randomKill')) {
        const alive = this.#processes.filter((process) => process.isAlive);
        alive[world.whole(0, alive.length - 1)]?.die({ signal: 'SIGKILL', losesPipe: world.chance(0.5) });
      }
      if (this.#faults.fires('stall')) {
        const ms = world.magnitude(500, 60_000);
        this.#trace.note(`the gateway stands still for ${ms.toFixed(0)} ms`);
        this.#clock.stall(ms);
      }
      this.#scheduleSecond(world);
    });
  }

  #drain(): void {
    this.#clock.at(this.#clock.nowMs(), 'read', () => {
      const startedAtMs = this.#clock.nowMs();
      this.#trace.note('drain');
      void this.#registry.drain().then(() => {
        this.#trace.note('drained');
        const tookMs = this.#clock.nowMs() - startedAtMs;
        if (tookMs > DRAIN_MAX_MS + 60_000) this.#accuse('I9', `the drain took ${tookMs} ms`);
      });
    });
  }

  /** No fault happens any more; in a while everything has settled. */
  #calm(): void {
    this.#trace.note('faults stop');
    this.#faults.stop();
    for (const process of this.#processes) if (process.isWaitingToStart) process.die({ signal: 'SIGKILL' });
    const lastActMs = Math.max(0, ...this.#clients.map((client) => client.script.actions.at(-1)?.atMs ?? 0));
    this.#awaitQuiet(this.#clock.elapsedMs + lastActMs + SETTLE_MAX_MS);
  }

  #awaitQuiet(deadlineMs: number): void {
    this.#clock.outside(500, () => {
      const isQuiet = this.#clients.every((client) => client.isSettled) && this.#registry.count === 0;
      if (!isQuiet && this.#clock.elapsedMs < deadlineMs) {
        this.#awaitQuiet(deadlineMs);
        return;
      }
      // What closed sessions left behind has its time too: workers come back, and finish or find nothing.
      this.#clock.outside(SETTLE_MAX_MS, () => {
        this.#clock.at(this.#clock.nowMs(), 'read', () => {
          if (!this.#isClosed) this.#checkQuiet();
          this.#close();
        });
      });
    });
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#trace.note('close');
    this.#isClosed = true;
    this.#ledger.close();
    this.#registry.close();
    this.#scheduler.close();
    for (const client of this.#clients) client.cutOff();
    this.#closePools();
  }

  /** When the last connection has gone, as the gateway does it. */
  #closePools(): void {
    if (!this.#clients.every((client) => client.isDisconnected)) {
      this.#clock.outside(10, () => {
        this.#closePools();
      });
      return;
    }
    void Promise.all([this.#audioPool.close(), this.#inferencePool.close()]).then(() => {
      this.#trace.note('closed');
      if (this.#clock.timerCount > 0)
        this.#accuse('I6', `${this.#clock.timerCount} timers outlive the server`);
      const { unsettledCount } = this.#scheduler;
      if (unsettledCount !== 0) this.#accuse('I8', `${unsettledCount} finals were never settled`);
    });
  }

  /** Rules I8 and I9 while everything still runs. */
  #checkQuiet(): void {
    const accuseIf = (isWrong: boolean, rule: string, detail: string): void => {
      if (isWrong) this.#accuse(rule, detail);
    };
    accuseIf(this.#registry.count > 0, 'I9', `${this.#registry.count} sessions are left`);
    accuseIf(this.#observedAudio.openCount > 0, 'I9', `${this.#observedAudio.openCount} tracks are open`);
    accuseIf(this.#scheduler.finalCount > 0, 'I9', `${this.#scheduler.finalCount} finals wait`);
    accuseIf(this.#scheduler.partialCount > 0, 'I9', `${this.#scheduler.partialCount} partials are due`);
    accuseIf(this.#inferencePool.busyCount > 0, 'I9', `${this.#inferencePool.busyCount} jobs run`);
    accuseIf(
      this.#scheduler.unsettledCount !== 0,
      'I8',
      `${this.#scheduler.unsettledCount} finals are unsettled`,
    );
    const { audio, inference } = this.#workerCounts;
    accuseIf(this.#inferencePool.slotCount < inference.work, 'I9', 'not all inference workers came back');
    accuseIf(this.#audioPool.readyCount < audio.work, 'I9', 'not all audio workers came back');
    for (const process of this.#processes) {
      if (!(process instanceof AudioProcess) || !process.isHealthy) continue;
      const { openCount } = process.decoders;
      accuseIf(openCount > 0, 'I9', `audio process ${process.pid} holds ${openCount} decoders`);
    }
    this.#ledger.checkSettled();
  }

  #judge(): void {
    if (this.#clock.eventCount > EVENT_MAX_COUNT) this.#accuse('I9', 'the world never came to an end');
    else if (!this.#isClosed) this.#accuse('I9', 'the world ended before the server was closed');
    else this.#ledger.checkEnded();
    for (const client of this.#clients) judgeSession(client, this.#accuse);
    for (const client of this.#clients) {
      this.#trace.note(`client ${client.number} heard ${client.record.sequence.length} answers`);
    }
  }
}
