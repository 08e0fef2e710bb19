/** Memory and utilisation of the GPUs, as `nvidia-smi` tells them; without that program, or once it fails, nothing. */
import { execFile } from 'node:child_process';
import { killChild } from '../../pipeline/child_kill.ts';
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { GPU_MAX_COUNT, GPU_PROBE_INTERVAL_MS, GPU_PROBE_MAX_MS } from '../../pipeline/limits.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';

const FIELDS = 'index,memory.used,memory.total,utilization.gpu';
const MIB_BYTES = 1_048_576;

/** Answers with one line for each GPU, as `nvidia-smi` does. Rejects where there is no such program. */
export type GpuQuery = (signal: AbortSignal) => Promise<string>;

/** Runs the program itself, for at most GPU_PROBE_MAX_MS. */
export function queryNvidiaSmi(signal: AbortSignal): Promise<string> {
  const args = [`--query-gpu=${FIELDS}`, '--format=csv,noheader,nounits'];
  return new Promise((resolve, reject) => {
    // Not the `signal` of Node's own: see `killChild`.
    const end = (): void => {
      killChild(child, 'SIGKILL');
    };
    const options = { timeout: GPU_PROBE_MAX_MS, killSignal: 'SIGKILL' } as const;
    const child = execFile('nvidia-smi', args, options, (error, text) => {
      signal.removeEventListener('abort', end);
      if (error === null) resolve(text);
      else reject(new Error('nvidia-smi gave no answer', { cause: error }));
    });
    signal.addEventListener('abort', end, { once: true });
  });
}

export interface GpuProbeOptions {
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly query: GpuQuery;
}

export class GpuProbe {
  readonly #options: GpuProbeOptions;
  readonly #closing = new AbortController();
  #cancel: Cancel | undefined;

  constructor(options: GpuProbeOptions) {
    this.#options = options;
  }

  /** Looks now and from then on, as long as there is something to be seen. */
  start(): void {
    void this.#look();
  }

  close(): void {
    this.#cancel?.();
    this.#closing.abort();
  }

  async #look(): Promise<void> {
    const { clock, telemetry, query } = this.#options;
    let answer: string;
    try {
      answer = await query(this.#closing.signal);
    } catch {
      // No such program, no driver, or a driver that hangs: asking again would only cost.
      return;
    }
    if (this.#closing.signal.aborted) return;
    for (const gpu of parseGpus(answer)) {
      const labels = { gpu: gpu.index };
      telemetry.set('gpu_utilization_ratio', labels, gpu.utilizationRatio);
      telemetry.set('gpu_memory_used_bytes', labels, gpu.memoryUsedBytes);
      telemetry.set('gpu_memory_total_bytes', labels, gpu.memoryTotalBytes);
    }
    this.#cancel = clock.after(GPU_PROBE_INTERVAL_MS, () => {
      void this.#look();
    });
  }
}

/** What one line says. */
export interface GpuReading {
  readonly index: string;
  readonly memoryUsedBytes: number;
  readonly memoryTotalBytes: number;
  readonly utilizationRatio: number;
}

/** Lines such as `0, 1240, 81559, 37`: MiB and per cent. A GPU that tells less, as a partitioned one does, is left out. */
export function parseGpus(answer: string): readonly GpuReading[] {
  return answer.split('\n').flatMap((line) => {
    const [index = NaN, usedMib = NaN, totalMib = NaN, percent = NaN] = line.split(',').map(Number);
    if (![index, usedMib, totalMib, percent].every(Number.isFinite) || index >= GPU_MAX_COUNT) return [];
    return {
      index: String(index),
      memoryUsedBytes: usedMib * MIB_BYTES,
      memoryTotalBytes: totalMib * MIB_BYTES,
      utilizationRatio: percent / 100,
    };
  });
}
