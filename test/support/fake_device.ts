/** An accelerator for machines that have none: a file says how it is, and every worker on it does as the file says. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { WorkerModule } from '../../server/workers/worker_launchers.ts';

/** What configurations and reports call it. */
export const FAKE_DEVICE = 'fake';

/**
 * `well`; workers exit at their start; refuse their configuration; mishear the canary phrase, so that they throw; die
 * of every job; meet a sticky error of CUDA in every job; have memory for no more than two rows at once.
 */
export type DeviceHealth = 'well' | 'exits' | 'refuses' | 'mishears' | 'dies' | 'lost' | 'scarce';

/** The program of a worker that runs on it, or on the CPU, and hears the name of what it runs on in any audio. */
export function fakeDeviceWorker(healthFile: string): WorkerModule {
  const path = fileURLToPath(new URL('./fake_device_worker_main.js', import.meta.url));
  return { path, args: [healthFile] };
}

export async function setDeviceHealth(healthFile: string, health: DeviceHealth): Promise<void> {
  await writeFile(healthFile, health);
}
