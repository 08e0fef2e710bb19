/** Starts a server in a process of its own and tells what its processes use. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../server/config.ts';
import { proportionalBytes } from '../../server/memory_room.ts';
import { fetchWorkers, type WorkerAnswer } from '../support/real_server.ts';

export interface ChildServer {
  readonly url: string;
  readonly adminUrl: string;
  /** What its processes, those of the start, have used so far. Linux only. */
  use(): ServerUse;
  /** Resolves when its processes have gone. */
  close(): Promise<void>;
}

/** What the processes of one role use: processor time in ms since the start; memory, what is shared counted once. */
interface RoleUse {
  readonly processorMs: number;
  readonly memoryBytes: number;
}

export type ServerUse = Readonly<Record<'gateway' | 'audio' | 'inference', RoleUse>>;

/** Clock ticks of /proc in a second; Linux tells user space this number on every architecture Node runs on. */
const TICKS_PER_SECOND = 100;
/** Places of user and system time in /proc/PID/stat, counted from behind the name of the program. */
const USER_TIME_FIELD = 11;
const SYSTEM_TIME_FIELD = 12;

/** Processor time of a process so far, in ms; to 10 ms. */
function processMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[USER_TIME_FIELD]) + Number(fields[SYSTEM_TIME_FIELD]);
  return (ticks * 1_000) / TICKS_PER_SECOND;
}

function useOf(pids: readonly number[]): RoleUse {
  return {
    processorMs: pids.reduce((sum, pid) => sum + processMs(pid), 0),
    memoryBytes: pids.reduce((sum, pid) => sum + (proportionalBytes(pid) ?? NaN), 0),
  };
}

/** Starts one and waits until it is ready; `inferenceWorkerPath` is that of a worker without a model. */
export async function startChildServer(
  settings: Partial<Config>,
  inferenceWorkerPath: string,
): Promise<ChildServer> {
  const script = fileURLToPath(new URL('server_child.js', import.meta.url));
  const child = fork(script, [JSON.stringify(settings), inferenceWorkerPath]);
  const exited = once(child, 'exit');
  const [message] = (await Promise.race([
    once(child, 'message'),
    exited.then(() => assert.fail('the server did not start')),
  ])) as [{ readonly url: string; readonly adminUrl: string }];
  const workers = await fetchWorkers(message);
  const pidsOf = (role: WorkerAnswer['role']) =>
    workers.filter((worker) => worker.role === role).map(({ pid }) => pid);
  return {
    ...message,
    use: () => ({
      gateway: useOf(child.pid === undefined ? [] : [child.pid]),
      audio: useOf(pidsOf('audio')),
      inference: useOf(pidsOf('inference')),
    }),
    close: async () => {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
