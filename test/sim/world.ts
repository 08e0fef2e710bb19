/**
 * One simulated world: the real pipeline between simulated clients and simulated worker processes, drawn from one seed. The
 * same seed gives the same world, event for event.
 */
import { PoisonMemory } from '../../pipeline/poison_memory.ts';
import { DRAIN_MAX_MS } from '../../pipeline/limits.ts';
import { judgeHealth } from '../../server/health.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import { CheckedTelemetry } from './checked_telemetry.ts';
import { writeCrowd, writeLibraryScripts } from './crowd.ts';
import { Dice } from './dice.ts';
import { Faults } from './faults.ts';
import { LibraryClient } from './library_client.ts';
import {
  ObservedAudioPool,
  ObservedScheduler,
  type ObservedTrack,
  type TrackOwner,
} from './observed_parts.ts';
import type { Outcome, Violation } from './outcome.ts';
import { judgeSession } from './session_verdict.ts';
import { SimClient } from './sim_client.ts';
import { SimClock } from './sim_clock.ts';
import { SimDisk } from './sim_disk.ts';
import { SimLoad } from './sim_load.ts';
import { SimPools } from './sim_pools.ts';
import { Trace } from './trace.ts';

/** Everything settles in this time once faults stop. */
const SETTLE_MAX_MS = 30_000;
/** A world with more events goes round in circles. */
const EVENT_MAX_COUNT = 400_000;
const VIOLATION_MAX_COUNT = 20;

/** Runs the world of a seed to its end. */
export async function simulate(
  seed: number,
  options: {
    readonly keepsTrace?: boolean;
    /** Whether the wall clock is set now and then; default: it is. */
    readonly jumps?: boolean;
  } = {},
): Promise<Outcome> {
  const world = new World(seed, { keepsTrace: false, jumps: true, ...options });
  return await world.run();
}

class World {
  readonly #seed: number;
  readonly #dice: Dice;
  readonly #clock = new SimClock();
  readonly #trace: Trace;
  readonly #faults: Faults;
  readonly #violations: Violation[] = [];
  readonly #pools: SimPools;
  readonly #observedAudio: ObservedAudioPool;
  readonly #disk: SimDisk;
  readonly #scheduler: ObservedScheduler;
  readonly #registry: SessionRegistry;
  readonly #load: SimLoad;
  readonly #clients: SimClient[] = [];
  readonly #talkMs: number;
  readonly #libraryClients: LibraryClient[] = [];
  #current: TrackOwner | undefined;
  readonly #ownerOfTrack = new Map<ObservedTrack, TrackOwner>();
  #isClosed = false;

  constructor(
    seed: number,
    { keepsTrace, jumps }: { readonly keepsTrace: boolean; readonly jumps: boolean },
  ) {
    this.#seed = seed;
    this.#dice = new Dice(seed);
    this.#trace = new Trace({ nowMs: () => this.#clock.elapsedMs, keepsAll: keepsTrace });
    this.#faults = new Faults(this.#dice.stream('faults'));
    const plan = this.#dice.stream('plan');
    this.#talkMs = plan.magnitude(2_000, 8_000);
    const telemetry = new CheckedTelemetry(this.#accuse);
    const clock = this.#clock;
    this.#disk = new SimDisk({
      ...{
        clock,
        telemetry,
        jumps,
        faults: this.#faults,
        accuse: this.#accuse,
        dice: this.#dice.stream('disk'),
      },
      onKnown: (poison, ageMs) => {
        poisonMemory.remember(poison, ageMs);
      },
      onForgotten: (hash) => {
        poisonMemory.forget(hash);
      },
    });
    const poisonMemory = new PoisonMemory({ clock, quarantine: this.#disk.quarantine });
    this.#pools = new SimPools({
      ...{ clock, plan, telemetry, dice: this.#dice, faults: this.#faults, trace: this.#trace },
      accuse: this.#accuse,
      onAudioReply: (reply) => {
        this.#observedAudio.noteReply(reply);
      },
      onDeath: (role, death) => {
        this.#disk.record(role, death);
      },
      onChange: () => {
        this.#scheduler.pump();
      },
    });
    this.#observedAudio = new ObservedAudioPool(this.#pools.audio, {
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
        pool: this.#pools.inference,
        clock,
        telemetry,
        poisonMemory,
        partialIntervalMs: Math.round(plan.between(300, 900)),
        onPartialsSuspended: (suspended) => {
          this.#trace.note(`partials suspended: ${suspended}`);
          this.#registry.tellPartialsSuspended(suspended);
        },
      },
      { accuse: this.#accuse, slotCount: this.#pools.workerCounts.inference.work },
    );
    this.#registry = new SessionRegistry({
      audioPool: this.#observedAudio,
      scheduler: this.#scheduler,
      clock,
      telemetry,
      maxSessions: plan.whole(20, 200),
      isReady: () => this.#isReady,
      isRefusing: () => this.#load.isRefusing,
      // The server contains what is thrown in a session; here it is a bug all the same.
      onFault: ({ cause }) => {
        this.#accuse('threw', cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
      },
    });
    this.#load = new SimLoad({
      ...{ clock, faults: this.#faults, trace: this.#trace, dice: this.#dice.stream('load') },
      ...{ scheduler: this.#scheduler, registry: this.#registry },
      ...{ inferencePool: this.#pools.inference, audioPool: this.#pools.audio },
    });
    this.#createClients(plan, telemetry);
  }

  async run(): Promise<Outcome> {
    this.#pools.start();
    this.#registry.start();
    this.#disk.open();
    this.#load.monitor.start();
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
      processCount: this.#pools.ledger.processCount,
      activeFaults: this.#faults.active,
    };
  }

  readonly #accuse = (rule: string, detail: string): void => {
    this.#trace.note(`VIOLATION ${rule} ${detail}`);
    if (this.#violations.length >= VIOLATION_MAX_COUNT) return;
    this.#violations.push({ rule, detail, atMs: this.#clock.elapsedMs });
  };

  get #isReady(): boolean {
    const { audio, inference } = this.#pools.workerCounts;
    const health = judgeHealth({
      workers: [],
      slotCount: this.#pools.inference.slotCount,
      wantedSlotCount: inference.work,
      audioCount: Math.min(this.#pools.audio.readyCount, audio.work),
      wantedAudioCount: audio.work,
      isDraining: this.#registry.isDraining,
    });
    return health.status === 'ready' || health.status === 'degraded';
  }

  #onTrackOpened(track: ObservedTrack): void {
    const client = this.#current;
    if (client === undefined) {
      this.#accuse('I1', 'a track was opened for nobody');
      return;
    }
    client.track = track;
    this.#ownerOfTrack.set(track, client);
  }

  /** Nobody's audio has stopped who has some waiting to be read. */
  #checkStopped(track: ObservedTrack): void {
    const client = this.#ownerOfTrack.get(track);
    if (client?.hasUnread === true) {
      this.#accuse(
        'I3',
        `client ${client.number}: its audio was taken to have stopped while some waits to be read`,
      );
    }
  }

  #createClients(plan: Dice, telemetry: CheckedTelemetry): void {
    const crowd = { dice: this.#dice, plan, faults: this.#faults, talkMs: this.#talkMs };
    const common = {
      ...{ clock: this.#clock, trace: this.#trace, accuse: this.#accuse },
      dialect: {
        ...{ registry: this.#registry, clock: this.#clock, telemetry },
        defaults: { silenceMs: 500, maxUtteranceMs: 15_000, model: 'watermarks' },
      },
      refusal: () => this.#registry.refusal()?.reason,
      onBehalf: (client: TrackOwner, act: () => void): void => {
        this.#current = client;
        act();
        this.#current = undefined;
      },
    };
    for (const script of writeCrowd(crowd)) {
      const dice = this.#dice.stream(`network ${script.number}`);
      this.#clients.push(new SimClient({ ...common, script, dice }));
    }
    const library = this.#dice.stream('library');
    for (const script of writeLibraryScripts(library, {
      others: this.#clients.length,
      talkMs: this.#talkMs,
    })) {
      this.#libraryClients.push(new LibraryClient({ ...common, script, dice: library }));
    }
  }

  get #everybody(): readonly (SimClient | LibraryClient)[] {
    return [...this.#clients, ...this.#libraryClients];
  }

  #scheduleClients(world: Dice): void {
    const together = world.chance(0.3);
    for (const client of this.#libraryClients) {
      this.#clock.outside(world.between(0, this.#talkMs / 2), () => {
        client.connect();
      });
    }
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
        const alive = this.#pools.processes.filter((process) => process.isAlive);
        alive[world.whole(0, alive.length - 1)]?.die({ signal: 'SIGKILL', losesPipe: world.chance(0.5) });
      }
      if (this.#faults.fires('stall')) {
        const ms = world.magnitude(500, 60_000);
        this.#trace.note(`the gateway stands still for ${ms.toFixed(0)} ms`);
        this.#clock.stall(ms);
      }
      this.#disk.disturb();
      this.#load.disturb();
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
    this.#disk.calm();
    for (const process of this.#pools.processes)
      if (process.isWaitingToStart) process.die({ signal: 'SIGKILL' });
    const lastActMs = Math.max(0, ...this.#clients.map((client) => client.script.actions.at(-1)?.atMs ?? 0));
    this.#awaitQuiet(this.#clock.elapsedMs + lastActMs + SETTLE_MAX_MS);
  }

  #awaitQuiet(deadlineMs: number): void {
    this.#clock.outside(500, () => {
      const isQuiet = this.#everybody.every((client) => client.isSettled) && this.#registry.count === 0;
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
    this.#pools.ledger.close();
    this.#load.monitor.close();
    this.#registry.close();
    this.#scheduler.close();
    for (const client of this.#everybody) client.cutOff();
    this.#closePools();
  }

  /** When the last connection has gone, as the gateway does it. */
  #closePools(): void {
    if (!this.#everybody.every((client) => client.isDisconnected)) {
      this.#clock.outside(10, () => {
        this.#closePools();
      });
      return;
    }
    void this.#closeParts().then(() => {
      this.#trace.note('closed');
      if (this.#clock.timerCount > 0)
        this.#accuse('I6', `${this.#clock.timerCount} timers outlive the server`);
      const { unsettledCount } = this.#scheduler;
      if (unsettledCount !== 0) this.#accuse('I8', `${unsettledCount} finals were never settled`);
    });
  }

  async #closeParts(): Promise<void> {
    await this.#pools.close();
    await this.#disk.close();
  }

  /** Rules I8 and I9 while everything still runs. */
  #checkQuiet(): void {
    const accuseIf = (isWrong: boolean, rule: string, detail: string): void => {
      if (isWrong) this.#accuse(rule, detail);
    };
    accuseIf(this.#registry.count > 0, 'I9', `${this.#registry.count} sessions are left`);
    accuseIf(this.#load.monitor.rung !== 'calm', 'I9', `the load is ${this.#load.monitor.rung}`);
    accuseIf(this.#observedAudio.openCount > 0, 'I9', `${this.#observedAudio.openCount} tracks are open`);
    accuseIf(this.#scheduler.finalCount > 0, 'I9', `${this.#scheduler.finalCount} finals wait`);
    accuseIf(this.#scheduler.partialCount > 0, 'I9', `${this.#scheduler.partialCount} partials are due`);
    accuseIf(
      this.#scheduler.unsettledCount !== 0,
      'I8',
      `${this.#scheduler.unsettledCount} finals are unsettled`,
    );
    this.#pools.checkQuiet();
    if (!this.#registry.isDraining) for (const client of this.#libraryClients) client.checkDone();
  }

  #judge(): void {
    if (this.#clock.eventCount > EVENT_MAX_COUNT) this.#accuse('I9', 'the world never came to an end');
    else if (!this.#isClosed) this.#accuse('I9', 'the world ended before the server was closed');
    else this.#pools.ledger.checkEnded();
    this.#disk.judge();
    for (const client of this.#clients) judgeSession(client, this.#accuse);
    for (const client of this.#clients) {
      this.#trace.note(`client ${client.number} heard ${client.record.sequence.length} answers`);
    }
  }
}
