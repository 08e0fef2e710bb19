/** Memory and utilisation of the GPUs, as `nvidia-smi` tells them; without that program, or while it fails, nothing. */
import { execFile } from 'node:child_process';
import { killChild } from '../../pipeline/child_kill.ts';
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { GPU_MAX_COUNT, GPU_PROBE_INTERVAL_MS, GPU_PROBE_MAX_MS } from '../../pipeline/limits.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';

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
  readonly telemetry: Pick<Metrics, 'set' | 'forget'>;
  readonly log: Pick<Log, 'warn'>;
  readonly query: GpuQuery;
}

export class GpuProbe {
  readonly #options: GpuProbeOptions;
  readonly #closing = new AbortController();
  #cancel: Cancel | undefined;
  /** The GPUs whose gauges are set; undefined until there was an answer. */
  #told: readonly string[] | undefined;
  #isFailing = false;

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
    const { clock, log, query } = this.#options;
    let readings: readonly GpuReading[] = [];
    const wasFailing = this.#isFailing;
    try {
      readings = parseGpus(await query(this.#closing.signal));
      this.#isFailing = false;
    } catch (error) {
      // No such program, no driver, or a driver that has always hung: asking again would only cost.
      if (this.#told === undefined || this.#closing.signal.aborted) return;
      this.#isFailing = true;
      if (!wasFailing)
        log.warn('nvidia-smi fails: the gauges of the GPUs are gone until it answers', { err: error });
    }
    if (this.#closing.signal.aborted) return;
    this.#tell(readings);
    this.#cancel = clock.after(GPU_PROBE_INTERVAL_MS, () => {
      void this.#look();
    });
  }

  /** Sets the gauges of these GPUs; those of others are gone. */
  #tell(readings: readonly GpuReading[]): void {
    const { telemetry } = this.#options;
    for (const { index, utilizationRatio, memoryUsedBytes, memoryTotalBytes } of readings) {
      telemetry.set('gpu_utilization_ratio', { gpu: index }, utilizationRatio);
      telemetry.set('gpu_memory_used_bytes', { gpu: index }, memoryUsedBytes);
      telemetry.set('gpu_memory_total_bytes', { gpu: index }, memoryTotalBytes);
    }
    const seen = readings.map(({ index }) => index);
    for (const gpu of (this.#told ?? []).filter((index) => !seen.includes(index))) {
      telemetry.forget('gpu_utilization_ratio', { gpu });
      telemetry.forget('gpu_memory_used_bytes', { gpu });
      telemetry.forget('gpu_memory_total_bytes', { gpu });
    }
    this.#told = seen;
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
