/** The load of a simulated world and the real ladder over it; memory runs short now and then. */
import type { WorkerAudioPool } from '../../pipeline/audio_pool.ts';
import type { WorkerInferencePool } from '../../pipeline/inference_pool.ts';
import { isAtLeast } from '../../pipeline/load_ladder.ts';
import type { Scheduler } from '../../pipeline/scheduler.ts';
import { LoadMonitor, loadOfScheduler } from '../../server/load_monitor.ts';
import type { SessionRegistry } from '../../server/session_registry.ts';
import type { Dice } from './dice.ts';
import type { Faults } from './faults.ts';
import type { SimClock } from './sim_clock.ts';
import type { Trace } from './trace.ts';

/** What is used of the memory when nothing is wrong. */
const USUAL_MEMORY_RATIO = 0.3;

export interface SimLoadOptions {
  readonly clock: SimClock;
  readonly dice: Dice;
  readonly faults: Faults;
  readonly trace: Trace;
  readonly scheduler: Scheduler;
  readonly inferencePool: WorkerInferencePool;
  readonly audioPool: WorkerAudioPool;
  readonly registry: SessionRegistry;
}

/** A monitor as the gateway has it, and the memory it reads. */
export class SimLoad {
  readonly monitor: LoadMonitor;
  readonly #options: SimLoadOptions;
  #memoryRatio = USUAL_MEMORY_RATIO;

  constructor(options: SimLoadOptions) {
    this.#options = options;
    const { clock, scheduler, inferencePool, audioPool, registry, trace } = options;
    this.monitor = new LoadMonitor({
      clock,
      read: () =>
        loadOfScheduler(scheduler, {
          ...{ slotCount: inferencePool.slotCount, audioWorkerCount: audioPool.readyCount },
          ...{ audioBusyMs: audioPool.busyMs, loopBusyMs: 0, memoryRatio: this.#memoryRatio },
        }),
      onRung: (rung) => {
        trace.note(`the load is ${rung}`);
        scheduler.holdPartials(isAtLeast(rung, 'partials_suspended'));
      },
      shed: () => !registry.isDraining && registry.shedQuietest(),
    });
  }

  get isRefusing(): boolean {
    return isAtLeast(this.monitor.rung, 'refusing');
  }

  /** Once a second: memory may run short for a while. */
  disturb(): void {
    const { clock, dice, faults } = this.#options;
    if (!faults.fires('memoryPressure')) return;
    this.#memoryRatio = dice.between(0.7, 1.1);
    clock.outside(dice.magnitude(1_000, 8_000), () => {
      this.#memoryRatio = USUAL_MEMORY_RATIO;
    });
  }
}
