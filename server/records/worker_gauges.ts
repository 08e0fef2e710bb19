/** What the metrics tell of worker processes. */
import { METRICS, type Telemetry } from '../../pipeline/telemetry.ts';
import type { WorkerReport } from '../admin.ts';

/** Remembers what was added to the counters so far. */
export class WorkerGauges {
  readonly #countedRestarts = { audio: 0, inference: 0 };
  /** By role and slot. */
  readonly #countedCpuMs = new Map<string, number>();

  /** To be called with all workers at each scrape. */
  report(telemetry: Telemetry, workers: readonly WorkerReport[]): void {
    for (const role of ['audio', 'inference'] as const) {
      const ofRole = workers.filter((worker) => worker.role === role);
      const sum = (of: (worker: WorkerReport) => number): number =>
        ofRole.reduce((total, worker) => total + of(worker), 0);
      const restarts = sum((worker) => worker.restarts);
      telemetry.count('worker_restarts_total', { role }, restarts - this.#countedRestarts[role]);
      this.#countedRestarts[role] = restarts;
      telemetry.set(
        'worker_rss_bytes',
        { role },
        sum(({ rssBytes }) => rssBytes),
      );
      for (const state of METRICS.workers.labels.state) {
        telemetry.set('workers', { role, state }, ofRole.filter((worker) => worker.state === state).length);
      }
      for (const [slot, worker] of ofRole.entries()) this.#reportProcess(telemetry, worker, String(slot));
    }
  }

  #reportProcess(telemetry: Telemetry, { role, rssBytes, cpuMs }: WorkerReport, slot: string): void {
    const key = `${role} ${slot}`;
    const newMs = cpuMs - (this.#countedCpuMs.get(key) ?? 0);
    this.#countedCpuMs.set(key, cpuMs);
    telemetry.count('worker_process_cpu_seconds_total', { role, slot }, newMs / 1_000);
    telemetry.set('worker_process_resident_memory_bytes', { role, slot }, rssBytes);
  }
}
