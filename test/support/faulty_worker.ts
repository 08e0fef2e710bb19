/** A server whose inference workers fail as a test says, in folders of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadConfig, type Config } from '../../server/config.ts';
import { startServer } from '../../server/gateway.ts';
import type { WorkerModule } from '../../server/workers/worker_launchers.ts';
import { pcmMessages } from './marked_speech.ts';
import { RawClient } from './raw_client.ts';
import { KeptLog, type RealServer } from './real_server.ts';

export type Fault = 'SIGSEGV' | 'SIGABRT' | 'SIGBUS' | 'SIGKILL' | 'exit' | 'loop' | 'heap';

/** What a worker does on audio that carries the mark. */
export interface FaultRule {
  readonly mark: number;
  readonly fault: Fault;
  /** The rule holds only for whoever creates this file. */
  readonly onceFile?: string;
  /** Written to stderr before the end. */
  readonly lastWords?: string;
}

export interface FaultyWorkerSettings {
  readonly rules: readonly FaultRule[];
  /** What is heard in any audio; default: its marks. */
  readonly text?: string;
}

/** The program of such a worker. */
export function faultyWorker(settings: FaultyWorkerSettings, execArgv: readonly string[] = []): WorkerModule {
  const path = fileURLToPath(new URL('./faulty_inference_worker_main.js', import.meta.url));
  return { path, args: [JSON.stringify(settings)], execArgv };
}

export interface FaultyServer extends RealServer {
  readonly crashDir: string;
  readonly quarantineDir: string;
}

/** A folder that is removed with everything in it. */
export interface TemporaryFolder {
  readonly path: string;
  readonly remove: () => Promise<void>;
}

/** Creates an empty one. */
export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
  return { path, remove: () => rm(path, { recursive: true }) };
}

/** Starts a server with two faulty inference workers, a spare, and its state under `folder`. */
export async function startFaultyServer(options: {
  readonly folder: string;
  readonly worker: WorkerModule;
  readonly settings?: Partial<Config>;
}): Promise<FaultyServer> {
  const { folder, worker, settings = {} } = options;
  const log = new KeptLog();
  const config: Config = {
    ...loadConfig({}).config,
    port: 0,
    adminPort: 0,
    keysFile: '',
    inferenceWorkers: 2,
    inferenceSpares: 1,
    audioSpares: 0,
    crashDir: join(folder, 'crashes'),
    quarantineDir: join(folder, 'quarantine'),
    ...settings,
  };
  const server = await startServer(config, log, { workerModules: { inference: worker } });
  await server.ready;
  const { crashDir, quarantineDir } = config;
  return { ...server, log, crashDir, quarantineDir };
}

/** Sends audio in a session of its own, as soon as there is one to be had; resolves when the server has closed it. */
export async function upload(server: Pick<FaultyServer, 'url'>, pcm: Int16Array): Promise<RawClient> {
  const client = await RawClient.enter(server.url, 'encoding=pcm_s16le');
  for (const message of pcmMessages(pcm)) client.sendBytes(message);
  await client.finish();
  return client;
}
