/** `earwitness devices`: what the speech model can run on here, and how to add to it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { findRecogniser } from '../../models/catalogue.ts';
import { UsageError } from '../../pipeline/errors.ts';
import { BATCH_START_COUNT } from '../../pipeline/limits.ts';
import type { Config } from '../config.ts';
import { isFastEnough, slowness, tryDevice, type DeviceTrial } from '../workers/device_trial.ts';
import { ACCELERATORS, CPU, devicesOf } from '../workers/devices.ts';
import { parseGpus, queryNvidiaSmi } from '../records/gpu_probe.ts';
import { ensureModels, type Output } from './models_command.ts';
import { ensurePreparedForAccelerators } from '../workers/preparation.ts';
import { flagOf } from '../settings.ts';
import { renderTable } from './text_table.ts';

export interface DevicesCommandOptions {
  readonly config: Config;
  readonly signal: AbortSignal;
  readonly stdout: Output;
  readonly stderr: Output;
}

/** Tries every device of this machine with the configured model and prints what came of it. Returns the exit status. */
export async function listDevices(options: DevicesCommandOptions): Promise<number> {
  const { config, signal, stdout, stderr } = options;
  const { model, modelsDir } = config;
  await ensureModels({ modelsDir, ids: [model], quiet: true, signal, stdout: stderr, stderr });
  await ensurePreparedForAccelerators(findRecogniser(model), { modelsDir, stderr, signal });
  const trials: DeviceTrial[] = [];
  for (const device of [CPU, ...(await candidates(signal))]) {
    stderr.write(`trying ${device} …\n`);
    trials.push(await tryDevice(device, { config, signal }));
  }
  const title = ['DEVICE', 'WORKS', `BATCH OF ${BATCH_START_COUNT}`, ''];
  stdout.write(renderTable([title, ...trials.map(rowOf)]));
  const best = trials.find((trial) => trial.device !== CPU && 'batchMs' in trial && isFastEnough(trial));
  stdout.write(
    best === undefined
      ? '\nNo accelerator is of use here: the model runs on the CPU.\n'
      : `\nTo use it: earwitness serve ${flagOf('device')} ${best.device}\n`,
  );
  return 0;
}

/** Every kind of accelerator, those that are numbered as often as the driver counts GPUs. Throws the signal's reason. */
async function candidates(signal: AbortSignal): Promise<readonly string[]> {
  const gpus = await queryNvidiaSmi(signal).then(parseGpus, () => []);
  signal.throwIfAborted();
  const cuda = gpus.map(({ index }) => `cuda:${index}`);
  const others = ACCELERATORS.filter((kind) => kind !== 'cuda' || cuda.length === 0).flatMap(devicesOf);
  return [...cuda, ...others];
}

function rowOf(trial: DeviceTrial): string[] {
  if ('fault' in trial) return [trial.device, 'no', '', trial.fault];
  const note = trial.device === CPU || isFastEnough(trial) ? '' : slowness(trial);
  return [trial.device, 'yes', `${Math.round(trial.batchMs)} ms`, note];
}

/** Where the package that runs the models keeps the script that fetches what is too large for it. */
function installScript(): string {
  const { resolve } = createRequire(import.meta.url);
  return join(resolve('onnxruntime-node/package.json'), '..', 'script', 'install.js');
}

/** Where that script puts the provider. */
function providerPath(script: string): string {
  return join(script, '../../bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so');
}

/**
 * What the script is to be told: it heeds the environment before its argument, in which npm leaves what an `.npmrc`
 * says for an installation without the provider, and does nothing in what npm calls the package's own folder.
 */
function installEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^npm_(config_onnxruntime_node_install|config_local_prefix|package_json)/i.test(name),
  );
  return { ...Object.fromEntries(kept), ONNXRUNTIME_NODE_INSTALL: 'cuda12' };
}

/**
 * Fetches the provider of a device, with the runtime's own script and from where its makers publish it. Returns the
 * exit status. Throws `UsageError` for what needs no installation or cannot have one.
 */
export function installDevice(
  device: string,
  io: {
    readonly stdout: Output;
    readonly stderr: Output;
    readonly system?: string;
    readonly script?: string;
  },
): Promise<number> {
  const { system = `${process.platform}/${process.arch}`, script = installScript() } = io;
  if (device !== 'cuda') throw new UsageError(`only cuda can be installed: ${device} is there or it is not`);
  if (system !== 'linux/x64') throw new UsageError(`CUDA runs on linux/x64 only, this is ${system}`);
  io.stdout.write('fetching the CUDA provider of ONNX Runtime (about 300 MB) …\n');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, '--onnxruntime-node-install=cuda12'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: installEnvironment(),
    });
    child.stdout.pipe(io.stderr, { end: false });
    child.stderr.pipe(io.stderr, { end: false });
    child.once('error', reject);
    child.once('close', (status) => {
      // The script ends well too where it has found a reason to do nothing.
      const isDone = status === 0 && existsSync(providerPath(script));
      io.stdout.write(
        isDone
          ? 'The provider is installed. It needs the libraries of CUDA 12 and cuDNN 9; `earwitness devices` tells whether it works.\n'
          : 'The provider was not installed: check the network, and proxy settings in GLOBAL_AGENT_HTTPS_PROXY.\n',
      );
      resolve(isDone ? 0 : 1);
    });
  });
}
