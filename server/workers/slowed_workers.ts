/** Workers that run, but slower than they could: said once for each process, and counted. */
import type { Telemetry } from '../../pipeline/telemetry.ts';
import type { WorkerReport } from '../admin.ts';
import type { Log } from '../records/log.ts';

export class SlowedWorkers {
  readonly #log: Log;
  /** Processes of which it has been said. */
  #toldPids: readonly number[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** To be called when a worker has become ready. */
  tell(workers: readonly WorkerReport[]): void {
    const slowed = workers.filter(({ warning }) => warning !== undefined);
    for (const { role, pid, warning } of slowed) {
      if (this.#toldPids.includes(pid)) continue;
      this.#log.warn('a worker is slower than it could be', { role, workerPid: pid, warning });
    }
    this.#toldPids = slowed.map(({ pid }) => pid);
  }
}

/** Sets the gauges. */
export function reportSlowedWorkers(telemetry: Telemetry, workers: readonly WorkerReport[]): void {
  for (const role of ['audio', 'inference'] as const) {
    const count = workers.filter((worker) => worker.role === role && worker.warning !== undefined).length;
    telemetry.set('workers_slowed', { role }, count);
  }
}
