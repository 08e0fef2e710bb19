/** What every scrape reads of the gateway's parts. */
import type { WorkerAudioPool } from '../../pipeline/audio_pool.ts';
import type { WorkerInferencePool } from '../../pipeline/inference_pool.ts';
import type { PoisonMemory } from '../../pipeline/poison_memory.ts';
import type { Scheduler } from '../../pipeline/scheduler.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import type { Health, WorkerReport } from '../admin.ts';
import type { ClientPort } from '../client_port.ts';
import { reportDevices } from '../workers/device_fallback.ts';
import { reportHealth } from '../health.ts';
import type { LoadMonitor } from '../load_monitor.ts';
import type { RootLog } from './log.ts';
import type { SessionRegistry } from '../session_registry.ts';
import { reportSlowedWorkers } from '../workers/slowed_workers.ts';
import type { SupervisorLink } from '../supervisor_link.ts';
import { WorkerGauges } from './worker_gauges.ts';

export interface GatewayGaugesOptions {
  readonly registry: SessionRegistry;
  readonly maxSessions: number;
  readonly load: LoadMonitor;
  readonly scheduler: Scheduler;
  readonly inferencePool: WorkerInferencePool;
  readonly audioPool: WorkerAudioPool;
  readonly poisonMemory: PoisonMemory;
  readonly ports: readonly ClientPort[];
  readonly log: RootLog;
  readonly supervisor: Pick<SupervisorLink, 'counts'>;
  readonly workers: () => readonly WorkerReport[];
  readonly health: () => Health;
}

/** Remembers what was added to the counters so far. */
export class GatewayGauges {
  readonly #options: GatewayGaugesOptions;
  readonly #workerGauges = new WorkerGauges();
  readonly #countedBySupervisor = { restarts: 0, reports: 0 };

  constructor(options: GatewayGaugesOptions) {
    this.#options = options;
  }

  /** To be called at each scrape. */
  report(telemetry: Telemetry): void {
    const { poisonMemory, audioPool, ports, log } = this.#options;
    this.#reportSessions(telemetry);
    this.#reportScheduler(telemetry);
    this.#reportSupervisor(telemetry);
    telemetry.set('quarantined_contents', {}, poisonMemory.count);
    telemetry.set('audio_kept_bytes', {}, audioPool.keptBytes);
    const bufferedBytes = ports.reduce((sum, port) => sum + port.bufferedBytes, 0);
    telemetry.set('send_buffered_bytes', {}, bufferedBytes);
    telemetry.count('log_lines_dropped_total', {}, log.takeDroppedCount());
    reportHealth(telemetry, this.#options.health());
    const workers = this.#options.workers();
    this.#workerGauges.report(telemetry, workers);
    reportDevices(telemetry, workers);
    reportSlowedWorkers(telemetry, workers);
  }

  #reportSessions(telemetry: Telemetry): void {
    const { registry, load, maxSessions } = this.#options;
    telemetry.set('sessions_active', {}, registry.count);
    telemetry.set('sessions_max', {}, maxSessions);
    const freeCount = registry.refusal() === undefined ? maxSessions - registry.count : 0;
    load.report(telemetry, { count: registry.count, freeCount });
  }

  #reportScheduler(telemetry: Telemetry): void {
    const { scheduler, inferencePool } = this.#options;
    telemetry.set('slots', {}, inferencePool.slotCount);
    telemetry.set('slots_busy', {}, inferencePool.busyCount);
    telemetry.set('queue_depth', { kind: 'final' }, scheduler.finalCount);
    telemetry.set('queue_depth', { kind: 'early' }, scheduler.earlyCount);
    telemetry.set('queue_depth', { kind: 'partial' }, scheduler.partialCount);
  }

  #reportSupervisor(telemetry: Telemetry): void {
    const counted = this.#countedBySupervisor;
    const { restarts, reports } = this.#options.supervisor.counts;
    telemetry.count('gateway_restarts_total', {}, restarts - counted.restarts);
    telemetry.count('crash_reports_total', { role: 'gateway' }, reports - counted.reports);
    Object.assign(counted, { restarts, reports });
  }
}
