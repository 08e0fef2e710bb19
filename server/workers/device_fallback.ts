/** What inference workers do without their accelerator: the CPU takes its place, and it is tried again and again. */
import { DeviceRecord } from '../../pipeline/device_policy.ts';
import type { Fallback } from '../../pipeline/fallback_worker.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { DEVICE_PROBE_PASS_COUNT } from '../../pipeline/limits.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import type { WorkerReport } from '../admin.ts';
import type { Config } from '../config.ts';
import type { Log } from '../records/log.ts';
import { CPU } from './devices.ts';
import { inferenceLauncher, type LauncherOptions } from './worker_launchers.ts';

export interface DeviceContext extends LauncherOptions {
  /** What inference workers are meant to run on. */
  readonly device: string;
  readonly telemetry: Telemetry;
  readonly log: Log;
}

/** How slots on this accelerator fall back. */
export function deviceFallback(
  config: Config,
  { device, telemetry, log, ...options }: DeviceContext,
): Fallback<InferenceRequest, InferenceReply> {
  return {
    device,
    fallbackDevice: CPU,
    record: new DeviceRecord(),
    launch: inferenceLauncher(config, { ...options, device: CPU }),
    launchProbe: inferenceLauncher(config, { ...options, device, canaryCount: DEVICE_PROBE_PASS_COUNT }),
    onChange: (reason) => {
      telemetry.count('device_fallbacks_total', { outcome: reason === undefined ? 'returned' : 'left' });
      if (reason === undefined) log.info('an inference worker is back on its device', { device });
      else log.error('an inference worker has left its device', { device, instead: CPU, reason });
    },
    onProbe: (outcome) => {
      telemetry.count('device_probes_total', { outcome });
    },
  };
}

/** Sets the gauges. */
export function reportDevices(telemetry: Telemetry, workers: readonly WorkerReport[]): void {
  const all = workers.filter(({ role }) => role === 'inference');
  // Beside accelerators, which say what they run on, there may be standbys, which have no choice.
  const choosing = all.filter(({ device }) => device !== undefined);
  const slots = choosing.length > 0 ? choosing : all;
  const fallenCount = slots.filter(({ fallback }) => fallback !== undefined).length;
  telemetry.set('worker_devices', { device: 'configured' }, slots.length - fallenCount);
  telemetry.set('worker_devices', { device: 'fallback' }, fallenCount);
}
