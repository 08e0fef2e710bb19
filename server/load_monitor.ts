/** Looks at the load every LOAD_SAMPLE_INTERVAL_MS and says on which rung of the ladder the server stands. */
import type { Cancel, Clock } from '../pipeline/clock.ts';
import {
  FINAL_WAIT_FULL_MS,
  LOAD_SAMPLE_INTERVAL_MS,
  LOAD_SHED_RATIO,
  LOAD_WINDOW_COUNT,
} from '../pipeline/limits.ts';
import {
  headroomCount,
  isAtLeast,
  LOAD_SOURCES,
  LoadWindow,
  nextRung,
  pressureOf,
  RUNGS,
  type LoadShares,
  type LoadSource,
  type Rung,
} from '../pipeline/load_ladder.ts';
import type { Scheduler } from '../pipeline/scheduler.ts';
import type { Telemetry } from '../pipeline/telemetry.ts';

/** What can be read at any moment. The `…Ms` that add up count from the start of the server. */
export interface LoadReading {
  /** Slot time spent on finals, early ones included, and on partials. */
  readonly finalSlotMs: number;
  readonly partialSlotMs: number;
  readonly slotCount: number;
  /** Wait of the final that has waited longest for a try. */
  readonly finalWaitMs: number;
  /** Processor time of the audio workers, all together, and how many of them there are. */
  readonly audioBusyMs: number;
  readonly audioWorkerCount: number;
  /** Time that the gateway's event loop worked. */
  readonly loopBusyMs: number;
  readonly memoryRatio: number;
}

/** A reading; most finals are computed early, in the pause before their end, and are finals all the same. */
export function loadOfScheduler(
  { slotMs, finalWaitMs }: Pick<Scheduler, 'slotMs' | 'finalWaitMs'>,
  others: Omit<LoadReading, 'finalSlotMs' | 'partialSlotMs' | 'finalWaitMs'>,
): LoadReading {
  const finalSlotMs = slotMs.final + slotMs.early;
  return { finalSlotMs, partialSlotMs: slotMs.partial, finalWaitMs, ...others };
}

export interface LoadMonitorOptions {
  readonly clock: Clock;
  readonly read: () => LoadReading;
  /**
   * Called on the highest rung while finals come late, for whatever reason it was reached: ends one quiet session, or
   * returns false if there is none. After one has been ended a window goes by, in which the effect is measured.
   */
  readonly shed: () => boolean;
  /** Called when the rung has changed. */
  readonly onRung: (rung: Rung, why: { readonly pressure: number; readonly source: LoadSource }) => void;
}

const WINDOW_MS = LOAD_SAMPLE_INTERVAL_MS * LOAD_WINDOW_COUNT;

export class LoadMonitor {
  readonly #options: LoadMonitorOptions;
  readonly #window = new LoadWindow();
  #shares: LoadShares = { finals: 0, final_wait: 0, audio: 0, event_loop: 0, memory: 0 };
  /** The share of slot time that partials took, in the window. */
  readonly #partialShares: number[] = [];
  #rung: Rung = 'calm';
  #shedAtMs = -Infinity;
  /** Since when new sessions are refused. */
  #refusedAtMs = Infinity;
  #cancel: Cancel | undefined;

  constructor(options: LoadMonitorOptions) {
    this.#options = options;
  }

  get rung(): Rung {
    return this.#rung;
  }

  /** What new sessions have been refused for, for longer than a window; undefined if they are not. */
  get refusedFor(): LoadSource | undefined {
    const isLasting = this.#options.clock.nowMs() - this.#refusedAtMs > WINDOW_MS;
    return isLasting ? pressureOf(this.#shares).source : undefined;
  }

  start(): void {
    this.#arm({ reading: this.#options.read(), atMs: this.#options.clock.nowMs() });
  }

  close(): void {
    this.#cancel?.();
  }

  /** Sets the gauges. */
  report(telemetry: Telemetry, sessions: { readonly count: number; readonly freeCount: number }): void {
    const { pressure } = pressureOf(this.#shares);
    const partials = this.#partialShares.reduce((sum, share) => sum + share, 0) / LOAD_WINDOW_COUNT;
    telemetry.set('load_pressure', {}, pressure);
    for (const source of LOAD_SOURCES) telemetry.set('load_ratio', { source }, this.#shares[source]);
    telemetry.set('load_rung', {}, RUNGS.indexOf(this.#rung));
    const usedRatio = Math.max(pressure, this.#shares.finals + partials);
    const { count: sessionCount, freeCount } = sessions;
    telemetry.set('sessions_headroom', {}, headroomCount({ usedRatio, sessionCount, freeCount }));
  }

  #arm(last: { readonly reading: LoadReading; readonly atMs: number }): void {
    const { clock, read } = this.#options;
    this.#cancel = clock.after(LOAD_SAMPLE_INTERVAL_MS, () => {
      const now = { reading: read(), atMs: clock.nowMs() };
      this.#sample(last.reading, now.reading, now.atMs - last.atMs);
      this.#arm(now);
    });
  }

  #sample(last: LoadReading, now: LoadReading, elapsedMs: number): void {
    const shareOf = (busyMs: number, workerCount: number): number =>
      workerCount === 0 ? 0 : busyMs / (workerCount * elapsedMs);
    this.#partialShares.push(shareOf(now.partialSlotMs - last.partialSlotMs, now.slotCount));
    if (this.#partialShares.length > LOAD_WINDOW_COUNT) this.#partialShares.shift();
    this.#shares = this.#window.push({
      finals: shareOf(now.finalSlotMs - last.finalSlotMs, now.slotCount),
      // Without any worker it is a matter of health, which says so itself: shedding would help nobody.
      final_wait: now.slotCount === 0 ? 0 : Math.min(1, now.finalWaitMs / FINAL_WAIT_FULL_MS),
      audio: shareOf(now.audioBusyMs - last.audioBusyMs, now.audioWorkerCount),
      event_loop: shareOf(now.loopBusyMs - last.loopBusyMs, 1),
      memory: Math.min(1, now.memoryRatio),
    });
    const why = pressureOf(this.#shares);
    const rung = nextRung(this.#rung, why.pressure);
    const hasChanged = rung !== this.#rung;
    this.#rung = rung;
    const nowMs = this.#options.clock.nowMs();
    this.#refusedAtMs = isAtLeast(rung, 'refusing') ? Math.min(this.#refusedAtMs, nowMs) : Infinity;
    if (hasChanged) this.#options.onRung(rung, why);
    const areFinalsLate = isAtLeast(rung, 'shedding') && this.#shares.final_wait >= LOAD_SHED_RATIO;
    if (areFinalsLate && nowMs - this.#shedAtMs >= WINDOW_MS && this.#options.shed()) this.#shedAtMs = nowMs;
  }
}
