/** A whole server for tests: real sockets, real processes, real models, any free port. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig, type Config } from '../../server/config.ts';
import { startServer, type RunningServer, type ServerParts } from '../../server/gateway.ts';
import type { Log, LogFields, RootLog } from '../../server/records/log.ts';

/** A log that keeps what is written, for tests that look at it. */
export class KeptLog implements RootLog {
  readonly lines: { readonly level: string; readonly event: string; readonly fields: LogFields }[] = [];

  readonly #deathListeners = new Map<number, () => void>();

  debug(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'debug', event, fields });
  }
  info(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'info', event, fields });
  }
  warn(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'warn', event, fields });
  }
  error(event: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'error', event, fields });
    const pid = Number(fields['workerPid']);
    this.#deathListeners.get(pid)?.();
    this.#deathListeners.delete(pid);
  }
  /** Calls `fire` when the death of this worker is logged. */
  onceWorkerDied(pid: number, fire: () => void): void {
    this.#deathListeners.set(pid, fire);
  }
  child(): Log {
    return this;
  }
  flush(): Promise<void> {
    return Promise.resolve();
  }
  takeDroppedCount(): number {
    return 0;
  }
}

export interface RealServer extends RunningServer {
  readonly log: KeptLog;
}

/** One worker of each kind, for tests in which nobody has to take over: each process more costs its start. */
export const FEW_WORKERS = {
  audioWorkers: 1,
  audioSpares: 0,
  inferenceWorkers: 1,
  inferenceSpares: 0,
} as const;

/** Starts a server with these settings and waits until it is ready. */
export async function startRealServer(
  settings: Partial<Config> = {},
  parts: ServerParts = {},
): Promise<RealServer> {
  const log = new KeptLog();
  const { config } = loadConfig({});
  // Keys, crash reports and quarantine of whoever runs the tests are none of their business.
  const state = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
  const folders = { crashDir: join(state, 'crashes'), quarantineDir: join(state, 'quarantine') };
  const fixed = { port: 0, adminPort: 0, logLevel: 'error', keysFile: '', ...folders } as const;
  const server = await startServer({ ...config, ...fixed, ...settings }, log, parts);
  await server.ready;
  const close = async (): Promise<void> => {
    await server.close();
    await rm(state, { recursive: true, force: true });
  };
  return { ...server, close, log };
}

/** Answer of `/workers`. */
export interface WorkerAnswer {
  readonly role: 'audio' | 'inference';
  readonly pid: number;
  readonly state: string;
  readonly restarts: number;
}

export async function fetchWorkers(
  server: Pick<RunningServer, 'adminUrl'>,
): Promise<readonly WorkerAnswer[]> {
  const answer = await fetch(`${server.adminUrl}/workers`);
  return (await answer.json()) as readonly WorkerAnswer[];
}

/** One sample of `/metrics`; 0 if it is not there. `sample` is the name with its labels as exported. */
export async function fetchSample(server: Pick<RunningServer, 'adminUrl'>, sample: string): Promise<number> {
  const text = await (await fetch(`${server.adminUrl}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `));
  return line === undefined ? 0 : Number(line.slice(sample.length + 1));
}
