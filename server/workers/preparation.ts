/** The preparation of a model's graphs, in a process of its own: nothing native runs in the one that waits for it. */
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MoonshineEntry } from '../../models/catalogue.ts';
import type { FloatType } from '../../models/graph_builder.ts';
import {
  originOf,
  preparedFolderName,
  readPreparedFolder,
  sweepPreparation,
  type PreparedFolder,
} from '../../models/prepared_folder.ts';
import type { RecogniserOptions } from '../../models/recogniser.ts';
import { RUNTIME_ENVIRONMENT } from '../../models/runtime_environment.ts';
import { preparedDir, preparedState, publishedDigests } from '../../models/weights.ts';
import { killChild } from '../../pipeline/child_kill.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { PREPARATION_MAX_MS } from '../../pipeline/limits.ts';
import { CPU } from './devices.ts';

/** Both are prepared: which one an accelerator can use shows only when it is asked to. */
const FLOAT_TYPES: Readonly<Record<FloatType, true>> = { float16: true, float: true };

/** Where the weights are, who is told what is done, and what ends it. */
export interface PreparationContext {
  readonly modelsDir: string;
  readonly stderr: NodeJS.WritableStream;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Prepares a model's graphs for this machine unless that was done before; a worker would do it at its start, but then
 * every first start would wait for it. What fails is told on `stderr`: the published graphs run too. Throws the
 * signal's reason, when nothing is left behind.
 */
export async function ensurePrepared(entry: MoonshineEntry, context: PreparationContext): Promise<void> {
  const { modelsDir, stderr, signal } = context;
  signal?.throwIfAborted();
  const seen = await preparedState(entry, modelsDir).catch(asDamage);
  if (seen.state === 'whole') return;
  if (seen.state === 'damaged')
    stderr.write(`${entry.id}: the prepared graphs are damaged (${seen.fault})\n`);
  stderr.write(`${entry.id}: preparing for this machine\n`);
  await prepareInChild(entry, { device: CPU, context });
}

/** Prepares a model's float graphs for accelerators unless that was done before. Otherwise as `ensurePrepared`. */
export async function ensurePreparedForAccelerators(
  entry: MoonshineEntry,
  context: PreparationContext,
): Promise<void> {
  const { modelsDir, signal } = context;
  signal?.throwIfAborted();
  const origin = originOf(publishedDigests(entry));
  for (const weightType of Object.keys(FLOAT_TYPES) as FloatType[]) {
    const folder = join(preparedDir(entry.id, modelsDir), preparedFolderName({ origin, weightType }));
    const { state } = await readPreparedFolder(folder).catch(asDamage);
    if (state !== 'whole') return prepareInChild(entry, { device: 'accelerator', context });
  }
}

async function prepareInChild(
  entry: MoonshineEntry,
  { device, context }: { readonly device: string; readonly context: PreparationContext },
): Promise<void> {
  const { modelsDir, stderr, signal } = context;
  const options: RecogniserOptions = { model: entry.id, modelsDir, device, threads: 1 };
  const modulePath = fileURLToPath(new URL('./preparation_main.js', import.meta.url));
  const child = fork(modulePath, [JSON.stringify(options)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, ...RUNTIME_ENVIRONMENT },
  });
  child.stderr?.pipe(stderr, { end: false });
  const status = await endOf(child, signal);
  if (signal?.aborted === true) await sweepPreparation(preparedDir(entry.id, modelsDir));
  signal?.throwIfAborted();
  if (status !== 0) stderr.write(`${entry.id}: the preparation ended unexpectedly; workers will try again\n`);
}

function asDamage(error: unknown): PreparedFolder {
  return { state: 'damaged', fault: error instanceof Error ? error.message : String(error) };
}

/** The exit status, or null if there is none. The signal and the time limit kill the process. */
async function endOf(child: ChildProcess, signal: AbortSignal | undefined): Promise<number | null> {
  const kill = (): void => {
    killChild(child, 'SIGKILL');
  };
  const cancel = systemClock.after(PREPARATION_MAX_MS, kill);
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted === true) kill();
  try {
    return await new Promise((resolve) => {
      child.once('close', resolve);
      // A process that could not be started has no `close`.
      child.once('error', () => {
        resolve(null);
      });
    });
  } finally {
    cancel();
    signal?.removeEventListener('abort', kill);
  }
}
