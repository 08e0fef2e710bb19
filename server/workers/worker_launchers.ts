/** Which programs the workers are, and what they are told on their command line. */
import { fileURLToPath } from 'node:url';
import { findRecogniser, SILERO_VAD_V5 } from '../../models/catalogue.ts';
import { RUNTIME_ENVIRONMENT } from '../../models/runtime_environment.ts';
import { modelPaths } from '../../models/weights.ts';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { forkLauncher, type WorkerLauncher } from '../../pipeline/worker_process.ts';
import type { Config } from '../config.ts';
import { reportArguments } from '../records/node_report.ts';
import { scrub } from '../records/scrubbing.ts';
import type { AudioWorkerSettings, InferenceWorkerSettings } from './worker_settings.ts';

/** A program that takes a worker's place; for tests that need one that fails. */
export interface WorkerModule {
  readonly path: string;
  /** After the worker's settings. */
  readonly args?: readonly string[];
  readonly execArgv?: readonly string[];
}

export interface LauncherOptions {
  /** Told of each line that a worker writes, without credentials and quoted speech. */
  readonly onLine?: (line: string, pid: number) => void;
  /** Where Node leaves a report when a worker dies of a fatal error; none is written without it. */
  readonly reportFolder?: string;
  /** Instead of the worker's own. */
  readonly module?: WorkerModule;
  /** Of inference workers, instead of the configured one. */
  readonly device?: string;
  /** Of inference workers: times that they must hear the canary phrase before they are ready; default 1. */
  readonly canaryCount?: number;
}

/** Starts processes that run the configured speech model. */
export function inferenceLauncher(
  config: Pick<Config, 'model' | 'modelsDir' | 'device' | 'inferenceThreads'>,
  options: LauncherOptions,
): WorkerLauncher<InferenceRequest, InferenceReply> {
  const entry = findRecogniser(config.model);
  const settings: InferenceWorkerSettings = {
    recogniser: {
      model: entry.id,
      modelsDir: config.modelsDir,
      device: options.device ?? config.device,
      threads: config.inferenceThreads,
    },
    language: entry.language,
    ...(options.canaryCount === undefined ? {} : { canaryCount: options.canaryCount }),
  };
  return launcherOf('inference_worker_main', settings, options);
}

/** Starts processes that decode audio and find speech in it. */
export function audioLauncher(
  config: Config,
  options: LauncherOptions,
): WorkerLauncher<AudioRequest, AudioReply> {
  const settings: AudioWorkerSettings = {
    vadModelPath: modelPaths(SILERO_VAD_V5, config.modelsDir)['silero_vad_v5.onnx'],
  };
  return launcherOf('audio_worker_main', settings, options);
}

/**
 * Tensors that leave native code have V8 collect garbage several times a second, on a heap of a few MiB. With its helper
 * threads that takes a fifth of an inference worker's processor time, without them next to nothing.
 */
const WORKER_FLAGS = ['--single-threaded-gc'];

function launcherOf<Request, Reply>(
  name: string,
  settings: object,
  { reportFolder, module, onLine }: LauncherOptions,
): WorkerLauncher<Request, Reply> {
  const path = module?.path ?? fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  return forkLauncher<Request, Reply>(path, {
    args: [JSON.stringify(settings), ...(module?.args ?? [])],
    execArgv: [
      ...WORKER_FLAGS,
      ...(reportFolder === undefined ? [] : reportArguments(reportFolder)),
      ...(module?.execArgv ?? []),
    ],
    env: RUNTIME_ENVIRONMENT,
    onLine: (line, pid) => {
      onLine?.(scrub(line), pid);
    },
  });
}
