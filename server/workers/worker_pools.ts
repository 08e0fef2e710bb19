/** The two pools of worker processes, with their launchers, and what is noted of a death. */
import { createHash } from 'node:crypto';
import { isAccelerator } from '../../models/device_options.ts';
import { samplesToMs } from '../../pipeline/audio.ts';
import { WorkerAudioPool } from '../../pipeline/audio_pool.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { WorkerInferencePool, type InferenceJob, type SlotDevice } from '../../pipeline/inference_pool.ts';
import { ACCELERATOR_RSS_MAX_BYTES, BATCH_MAX_COUNT, WORKER_RSS_MAX_BYTES } from '../../pipeline/limits.ts';
import { countBatch } from '../../pipeline/inference_stats.ts';
import { contentHash } from '../../pipeline/poison_memory.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import type { Config } from '../config.ts';
import type { CrashedJob, CrashReports } from '../records/crash_reports.ts';
import { deviceFallback } from './device_fallback.ts';
import { CPU, devicesOf } from './devices.ts';
import { describeDeath } from '../records/exit_cause.ts';
import type { Log } from '../records/log.ts';
import {
  audioLauncher,
  inferenceLauncher,
  type LauncherOptions,
  type WorkerModule,
} from './worker_launchers.ts';

/** What the pools share with the gateway. */
export interface PoolContext {
  readonly log: Log;
  readonly telemetry: Telemetry;
  readonly crashReports: CrashReports;
  readonly workerModules: Partial<Record<'audio' | 'inference', WorkerModule>>;
  /** Of inference workers. */
  readonly device: string;
  readonly onChange: () => void;
}

/**
 * One worker for each accelerator, with spares on the CPU that stand by; without accelerators all are on the CPU. Two
 * workers on one accelerator would only wait for each other.
 */
function slotDevices(config: Config, context: PoolContext, accelerators: readonly string[]): SlotDevice[] {
  const options = launcherOptions('inference', context);
  const onCpu = { launch: inferenceLauncher(config, { ...options, device: CPU }), batchMaxCount: 1 };
  const slots = accelerators.map((device) => ({
    launch: inferenceLauncher(config, { ...options, device }),
    fallback: deviceFallback(config, { ...options, ...context, device }),
    batchMaxCount: BATCH_MAX_COUNT,
  }));
  const spares = new Array<SlotDevice>(config.inferenceSpares).fill({
    ...onCpu,
    isStandby: slots.length > 0,
  });
  if (slots.length > 0) return [...slots, ...spares];
  return [...new Array<SlotDevice>(config.inferenceWorkers).fill(onCpu), ...spares];
}

/** The inference workers of this configuration; they are not started. */
export function createInferencePool(config: Config, context: PoolContext): WorkerInferencePool {
  const accelerators = devicesOf(context.device).filter(isAccelerator);
  return new WorkerInferencePool({
    workers: slotDevices(config, context, accelerators),
    clock: systemClock,
    random: Math.random,
    slotCount: accelerators.length > 0 ? accelerators.length : config.inferenceWorkers,
    rssMaxBytes: accelerators.length > 0 ? ACCELERATOR_RSS_MAX_BYTES : WORKER_RSS_MAX_BYTES,
    onBatch: (batch) => {
      countBatch(context.telemetry, batch);
    },
    onChange: context.onChange,
    onDeath: (death, jobs) => {
      reportDeath(context, death, { role: 'inference', jobs, sessionsReplayed: 0 });
    },
  });
}

/** The audio workers of this configuration; they are not started. */
export function createAudioPool(config: Config, context: PoolContext): WorkerAudioPool {
  return new WorkerAudioPool({
    launch: audioLauncher(config, launcherOptions('audio', context)),
    clock: systemClock,
    random: Math.random,
    telemetry: context.telemetry,
    workerCount: config.audioWorkers,
    spareCount: config.audioSpares,
    rssMaxBytes: WORKER_RSS_MAX_BYTES,
    onChange: context.onChange,
    onDeath: (death, trackCount) => {
      reportDeath(context, death, { role: 'audio', jobs: [], sessionsReplayed: trackCount });
    },
    onPoison: ({ format, outcome, message }) => {
      const facts =
        message === undefined
          ? {}
          : { bytes: message.length, sha256: createHash('sha256').update(message).digest('hex') };
      context.log.warn('audio_poison', { encoding: format.encoding, outcome, ...facts });
    },
  });
}

function launcherOptions(role: 'audio' | 'inference', context: PoolContext): LauncherOptions {
  const module = context.workerModules[role];
  return {
    reportFolder: context.crashReports.folder,
    ...(module === undefined ? {} : { module }),
    onLine: (line, workerPid) => {
      context.log.warn(`${role} worker wrote`, { workerPid, line });
    },
  };
}

/** Counts a death, writes its report and says so in the log. */
function reportDeath(
  { telemetry, log, crashReports }: PoolContext,
  death: WorkerDeath,
  work: {
    readonly role: 'audio' | 'inference';
    readonly jobs: readonly InferenceJob[];
    readonly sessionsReplayed: number;
  },
): void {
  const { pid, generation, cause: kind, exit, uptimeMs, rssBytes } = death;
  const { role, jobs, sessionsReplayed } = work;
  telemetry.count('worker_deaths_total', { role, cause: kind });
  const facts = { role, jobs: jobs.map(describeJob), sessionsReplayed };
  const report = crashReports.record({ ...exit, ...facts, pid, generation, uptimeMs, kind, rssBytes });
  log.error(`${role} worker died`, {
    report,
    workerPid: pid,
    cause: kind,
    end: describeDeath({ ...exit, kind, uptimeMs }),
    code: exit.code,
    signal: exit.signal,
    uptimeMs: Math.round(uptimeMs),
    rssBytes,
    jobsInFlight: jobs.length,
    sessionIds: jobs.flatMap(({ sessionId }) => sessionId ?? []),
    sessionsReplayed,
  });
}

function describeJob({ jobId, pcm }: InferenceJob): CrashedJob {
  return { jobId, durationMs: samplesToMs(pcm.length), contentHash: contentHash(pcm) };
}
