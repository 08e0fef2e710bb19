/** The gauges of worker processes. */
import type { WorkerStatus } from '../pipeline/supervised_worker.ts';
import type { Telemetry } from '../pipeline/telemetry.ts';
import type { WorkerReport } from './admin.ts';

/** Sets them. */
export function reportWorkers(telemetry: Telemetry, workers: readonly WorkerReport[]): void {
  for (const role of ['audio', 'inference'] as const) {
    const ofRole = workers.filter((worker) => worker.role === role);
    telemetry.set(
      'worker_rss_bytes',
      { role },
      ofRole.reduce((sum, worker) => sum + worker.rssBytes, 0),
    );
    for (const state of WORKER_STATES) {
      telemetry.set('workers', { role, state }, ofRole.filter((worker) => worker.state === state).length);
    }
  }
}

const WORKER_STATES = [
  'starting',
  'ready',
  'stopping',
  'backoff',
  'parked',
  'failed',
  'closed',
] as const satisfies readonly WorkerStatus['state'][];
