/** How much of the memory that sessions may take is taken. */
import { readFileSync } from 'node:fs';
import { MEMORY_ROOM_MIN_BYTES } from '../pipeline/limits.ts';
import type { WorkerReport } from './admin.ts';

type Worker = Pick<WorkerReport, 'role' | 'pid' | 'state' | 'rssBytes'>;

export interface MemoryRoomOptions {
  readonly limitBytes: number;
  /** The gateway's own process. */
  readonly own: { readonly pid: number; readonly rssBytes: () => number };
  /** What a process takes if pages it shares are shared out; undefined where the system does not say. */
  readonly proportionalBytes: (pid: number) => number | undefined;
  /** Called once, if the processes at rest leave less than MEMORY_ROOM_MIN_BYTES of the limit. */
  readonly onTight: (facts: { readonly limitBytes: number; readonly neededBytes: number }) => void;
}

export class MemoryRoom {
  readonly #options: MemoryRoomOptions;
  /** As it was when all workers were there for the first time. */
  #rest: { readonly residentBytes: number; readonly roomBytes: number } | undefined;

  constructor(options: MemoryRoomOptions) {
    this.#options = options;
  }

  /**
   * Growth since all workers were ready, as a share of what the limit left then; 0 until then. What the processes take
   * at rest is no load: no session that is refused or ended would make it less.
   */
  usedRatio(workers: readonly Worker[]): number {
    const residentBytes =
      this.#options.own.rssBytes() + workers.reduce((sum, { rssBytes }) => sum + rssBytes, 0);
    if (this.#rest === undefined && areAtRest(workers)) {
      this.#rest = { residentBytes, roomBytes: this.#judgeRoom(workers) };
    }
    if (this.#rest === undefined) return 0;
    return Math.max(0, residentBytes - this.#rest.residentBytes) / this.#rest.roomBytes;
  }

  /** Resident sizes count shared pages, as those of libraries and model files, once for every process. */
  #judgeRoom(workers: readonly Worker[]): number {
    const { limitBytes, own, proportionalBytes, onTight } = this.#options;
    const processes = [...workers, { pid: own.pid, rssBytes: own.rssBytes() }];
    let neededBytes = 0;
    for (const { pid, rssBytes } of processes)
      neededBytes += pid === 0 ? 0 : (proportionalBytes(pid) ?? rssBytes);
    const roomBytes = limitBytes - neededBytes;
    if (roomBytes < MEMORY_ROOM_MIN_BYTES) onTight({ limitBytes, neededBytes });
    return Math.max(roomBytes, MEMORY_ROOM_MIN_BYTES);
  }
}

/** What the kernel says of a process, on Linux. Measured: 4 to 12 ms, so that it is asked once. */
export function proportionalBytes(pid: number): number | undefined {
  try {
    const [, kibibytes] = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1_024;
  } catch {
    // Another system, or the process has gone: its resident size will do.
    return undefined;
  }
}

/** Both roles are there, all that will come have come, and have said what they take. */
function areAtRest(workers: readonly Worker[]): boolean {
  const hasRole = (role: Worker['role']): boolean =>
    workers.some((worker) => worker.role === role && worker.state === 'ready');
  const isSettled = ({ state, rssBytes }: Worker): boolean =>
    state === 'ready' ? rssBytes > 0 : state === 'failed' || state === 'parked';
  return hasRole('audio') && hasRole('inference') && workers.every(isSettled);
}
