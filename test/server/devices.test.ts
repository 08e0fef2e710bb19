import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { mkdir, writeFile } from 'node:fs/promises';
import { UsageError } from '../../pipeline/errors.ts';
import { BATCH_OBJECTIVE_MS } from '../../pipeline/limits.ts';
import { describeDeviceFault } from '../../server/workers/device_advice.ts';
import { chooseDevice, tryDevice, type DeviceTrial } from '../../server/workers/device_trial.ts';
import { installDevice } from '../../server/commands/devices_command.ts';
import { devicesOf, isDeviceSetting } from '../../server/workers/devices.ts';
import { FAKE_DEVICE, fakeDeviceWorker, setDeviceHealth } from '../support/fake_device.ts';
import { temporaryFolder, type TemporaryFolder } from '../support/faulty_worker.ts';
import { KeptLog } from '../support/real_server.ts';
import { testModelsDir } from '../support/weights.ts';

/** A script that says what it was told: its arguments, then what of the environment the runtime's own would heed. */
const TELL_FLAGS = `
  const heeded = /onnxruntime|npm_config_local_prefix|npm_package_json/i;
  const told = Object.entries(process.env).filter(([name]) => heeded.test(name)).map((entry) => entry.join('='));
  console.log([...process.argv.slice(2), ...told].join(' '));
`;
const config = {
  model: 'moonshine-tiny-en',
  modelsDir: testModelsDir(),
  device: 'auto',
  inferenceThreads: 1,
};

describe('devices', () => {
  it('[DEV11] a setting is auto, cpu, or accelerators, each once', () => {
    for (const setting of [
      'auto',
      'cpu',
      'cuda',
      'cuda:1',
      'cuda:0,cuda:1',
      'webgpu',
      'dml:1',
      'coreml',
      'cuda:0, webgpu',
    ])
      assert.ok(isDeviceSetting(setting), setting);
    for (const setting of [
      '',
      'gpu',
      'cpu,cuda',
      'auto,cuda',
      'cuda,cuda:0',
      'cuda:',
      'cuda:x',
      'cuda:100',
      'webgpu:1',
      'cpu:0',
    ])
      assert.ok(!isDeviceSetting(setting), setting);
    assert.deepEqual(devicesOf('cuda, cuda:1,webgpu'), ['cuda:0', 'cuda:1', 'webgpu']);
  });

  it('[DEV12] what a worker says at its end is told as what to do', () => {
    for (const [lastWords, advice] of [
      [
        'earwitness: cannot load: OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library',
        /devices install cuda/,
      ],
      ['Failed to get a WebGPU adapter: No supported adapters', /libvulkan1/],
      ['no available backend found. ERR: [dml] backend not found.', /no such provider/],
      ['CUDA failure 100: no CUDA-capable device is detected', /no NVIDIA GPU/],
      ['InferenceError: tiny must hear "one two three" in the canary phrase, heard "noise"', /misheard/],
      ['earwitness: something new\nNode.js v20', /^earwitness: something new$/],
    ] as const) {
      assert.match(describeDeviceFault('cuda:0', { cause: 'start', lastWords }), advice);
    }
    assert.match(describeDeviceFault('webgpu', { cause: 'start', lastWords: '' }), /not ready in time/);
    assert.match(describeDeviceFault('webgpu', { cause: 'deadline', lastWords: 'x' }), /too slow/);
  });

  it('[DEV13] auto takes the best that works and is fast enough, and says why not the others', async () => {
    const log = new KeptLog();
    const trials: Record<string, DeviceTrial> = {
      'cuda:0': { device: 'cuda:0', fault: 'not installed' },
      'dml:0': { device: 'dml:0', batchMs: BATCH_OBJECTIVE_MS * 10 },
      coreml: { device: 'coreml', batchMs: BATCH_OBJECTIVE_MS / 2 },
    };
    const tried: string[] = [];
    const tryOne = (device: string): Promise<DeviceTrial> => {
      tried.push(device);
      return Promise.resolve(trials[device] ?? { device, fault: 'none here' });
    };
    assert.equal(await chooseDevice(config, { log, tryOne }), 'coreml');
    assert.deepEqual(tried, ['cuda:0', 'dml:0', 'coreml']);
    const refusals = log.lines.filter(({ fields }) => 'reason' in fields);
    const reasons = refusals.map(({ fields }) => `${String(fields['device'])} ${String(fields['reason'])}`);
    assert.match(reasons.join('\n'), /cuda:0 not installed\ndml:0 works, but takes 1500 ms/);
    delete trials['coreml'];
    assert.equal(await chooseDevice(config, { log, tryOne }), 'cpu');
  });
});

describe('devices, with real processes', () => {
  let folder: TemporaryFolder;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(async () => {
    await folder.remove();
  });

  async function trialOf(health: Parameters<typeof setDeviceHealth>[1]): Promise<DeviceTrial> {
    const healthFile = join(folder.path, 'device');
    await setDeviceHealth(healthFile, health);
    return tryDevice(FAKE_DEVICE, { config, module: fakeDeviceWorker(healthFile) });
  }

  it('[DEV14] a trial starts a worker, has it hear the canary phrase and times a batch', async () => {
    const well = await trialOf('well');
    assert.ok('batchMs' in well && well.batchMs < BATCH_OBJECTIVE_MS, JSON.stringify(well));
    const scarce = await trialOf('scarce');
    assert.ok('batchMs' in scarce, 'a device with little memory works in small batches');
  });

  it('[DEV14] a device that fails its trial is told with its reason', async () => {
    for (const [health, reason] of [
      ['refuses', /no such kernel/],
      ['mishears', /misheard/],
      ['lost', /lost|illegal memory access/],
    ] as const) {
      const trial = await trialOf(health);
      assert.match('fault' in trial ? trial.fault : 'works', reason);
    }
  });

  it('[DEV14] a trial that is cut short ends its worker and throws the reason', async () => {
    const healthFile = join(folder.path, 'device');
    await setDeviceHealth(healthFile, 'well');
    const stop = new AbortController();
    const trial = tryDevice(FAKE_DEVICE, {
      config,
      module: fakeDeviceWorker(healthFile),
      signal: stop.signal,
    });
    setImmediate(() => {
      stop.abort(new Error('asked to stop'));
    });
    await assert.rejects(trial, /asked to stop/);
  });

  it('[DEV15] `devices install` runs the script of the runtime, whatever npm has set, and tells how it ended', async (test) => {
    const skipping = { ONNXRUNTIME_NODE_INSTALL: 'skip', npm_config_onnxruntime_node_install: 'skip' };
    const before = { ...process.env };
    test.after(() => {
      process.env = before;
    });
    Object.assign(process.env, skipping, {
      npm_config_local_prefix: '/x',
      npm_package_json: '/x/package.json',
    });
    const provider = 'bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so';
    for (const [end, words] of [
      ['', /was not installed/],
      ['process.exitCode = 3;', /was not installed: check the network/],
      [
        `require('node:fs').writeFileSync(require('node:path').join(__dirname, '../${provider}'), '');`,
        /is installed/,
      ],
    ] as const) {
      await mkdir(join(folder.path, 'script'), { recursive: true });
      await mkdir(join(folder.path, dirname(provider)), { recursive: true });
      const script = join(folder.path, 'script', 'install.cjs');
      await writeFile(script, `${TELL_FLAGS}${end}`);
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      const status = await installDevice('cuda', { stdout, stderr, system: 'linux/x64', script });
      stdout.end();
      stderr.end();
      const told = await text(stdout);
      assert.match(told, words);
      assert.equal(status, /is installed/.test(told) ? 0 : 1);
      assert.equal(await text(stderr), '--onnxruntime-node-install=cuda12 ONNXRUNTIME_NODE_INSTALL=cuda12\n');
    }
    const io = { stdout: new PassThrough(), stderr: new PassThrough() };
    assert.throws(() => installDevice('webgpu', io), UsageError);
    assert.throws(() => installDevice('cuda', { ...io, system: 'darwin/arm64' }), UsageError);
  });
});
