/** When a worker slot leaves its accelerator for the CPU, judged by its deaths. It comes back by a probe only. */
import { EXIT_CONFIG } from './errors.ts';
import { DEVICE_DEATH_MAX_COUNT, RESTART_INTENSITY_WINDOW_MS } from './limits.ts';
import type { WorkerDeath } from './supervised_worker.ts';

/** What a death on an accelerator leads to; `diedAtMs` are the deaths that count against it, ascending. */
export interface DeviceVerdict {
  readonly diedAtMs: readonly number[];
  /** Why the device is given up; undefined while it is not. */
  readonly fallback: string | undefined;
}

/**
 * Judges one more death. A device that cannot even start a worker, or on which the canary phrase is misheard, is
 * given up at once: the CPU is there. One that starts them gets the benefit of the doubt for a few deaths, since
 * audio or an operator may have ended those.
 */
export function judgeDevice(
  diedAtMs: readonly number[],
  death: WorkerDeath & { readonly atMs: number; readonly wasReady: boolean },
): DeviceVerdict {
  if (death.cause === 'memory') return { diedAtMs, fallback: undefined };
  const since = death.atMs - RESTART_INTENSITY_WINDOW_MS;
  const recent = [...diedAtMs.filter((atMs) => atMs > since), death.atMs];
  if (death.exit.code === EXIT_CONFIG) return { diedAtMs: recent, fallback: reasonOf(death, 'refused') };
  if (!death.wasReady) return { diedAtMs: recent, fallback: reasonOf(death, 'did not start') };
  if (recent.length < DEVICE_DEATH_MAX_COUNT) return { diedAtMs: recent, fallback: undefined };
  const seconds = RESTART_INTENSITY_WINDOW_MS / 1_000;
  return { diedAtMs: recent, fallback: `its workers died ${recent.length} times in ${seconds} s` };
}

/** The deaths on one device, of all slots together: when it is sick, all of them lose their workers. */
export class DeviceRecord {
  #diedAtMs: readonly number[] = [];

  /** Notes a death; why its slot must give the device up, undefined if it need not. */
  judge(death: Parameters<typeof judgeDevice>[1]): string | undefined {
    const { diedAtMs, fallback } = judgeDevice(this.#diedAtMs, death);
    this.#diedAtMs = diedAtMs;
    return fallback;
  }

  /** The device has proven itself again. */
  clear(): void {
    this.#diedAtMs = [];
  }
}

function reasonOf({ exit }: WorkerDeath, what: string): string {
  const lastWords = exit.stderrTail.trim().split('\n').at(-1) ?? '';
  return `its worker ${what}${lastWords === '' ? '' : `: ${lastWords}`}`;
}
