import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { FAKE_DEVICE, fakeDeviceWorker, setDeviceHealth, type DeviceHealth } from '../support/fake_device.ts';
import { temporaryFolder, type TemporaryFolder } from '../support/faulty_worker.ts';
import { pcmMessages } from '../support/marked_speech.ts';
import { RawClient } from '../support/raw_client.ts';
import { FEW_WORKERS, fetchSample, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';

/** from the cure to the slot's return; the device is tried every ten seconds. */
const CURE_MAX_MS = 15_000;

/** No machine has more GPUs of NVIDIA than this, with or without the provider for them. */
const MISSING_DEVICE = 'cuda:99';

async function hear(server: RealServer): Promise<string | undefined> {
  const client = await RawClient.enter(server.url, 'encoding=pcm_s16le');
  const words = await synthesise('good morning', { voice: 'rms' });
  for (const message of pcmMessages(concat(silence(300), words, silence(900)))) client.sendBytes(message);
  const [final] = await client.finish();
  return final?.text;
}

interface Readiness {
  readonly status: string;
  readonly reasons: readonly string[];
}

void describe('device fallback', () => {
  let folder: TemporaryFolder;
  let healthFile: string;
  let server: RealServer | undefined;
  beforeEach(async () => {
    folder = await temporaryFolder();
    healthFile = join(folder.path, 'device');
  });
  afterEach(async () => {
    await server?.close();
    server = undefined;
    await folder.remove();
  });

  async function start(health: DeviceHealth, inferenceSpares = 0): Promise<RealServer> {
    await setDeviceHealth(healthFile, health);
    server = await startRealServer(
      { ...FEW_WORKERS, inferenceSpares },
      { device: FAKE_DEVICE, workerModules: { inference: fakeDeviceWorker(healthFile) } },
    );
    return server;
  }

  async function readiness(running: RealServer): Promise<Readiness & { readonly code: number }> {
    const answer = await fetch(`${running.adminUrl}/readyz`);
    return { code: answer.status, ...((await answer.json()) as Readiness) };
  }

  /** Makes the device well again; resolves when the server is. */
  async function cure(running: RealServer): Promise<void> {
    await setDeviceHealth(healthFile, 'well');
    const curedAtMs = performance.now();
    while ((await readiness(running)).status !== 'ready') {
      assert(performance.now() - curedAtMs < CURE_MAX_MS, 'not back in time');
      await setTimeout(100);
    }
  }

  it('[R-07] no worker starts on the device: the CPU takes its place, degraded; after the cure it is back', async () => {
    const running = await start('exits');
    const during = await readiness(running);
    assert.deepEqual([during.code, during.status], [200, 'degraded']);
    assert.match(during.reasons.join(), /runs on cpu: fake is not used: its worker did not start/);
    assert.equal(await fetchSample(running, 'earwitness_worker_devices{device="fallback"}'), 1);
    assert.equal(await hear(running), 'cpu');
    await cure(running);
    assert.equal(await hear(running), FAKE_DEVICE);
    const left = running.log.lines.filter(({ event }) => event === 'an inference worker has left its device');
    assert.equal(left.length, 1, 'said once');
    assert.equal(await fetchSample(running, 'earwitness_device_fallbacks_total{outcome="returned"}'), 1);
  });

  for (const [health, reason] of [
    ['refuses', /refused: the fake device has no such kernel/],
    ['mishears', /did not start: .*/],
  ] as const) {
    it(`[DEV9] a device whose worker ${health} is given up as well, with the reason kept`, async () => {
      const running = await start(health);
      const { code, status, reasons } = await readiness(running);
      assert.deepEqual([code, status], [200, 'degraded']);
      assert.match(reasons.join(), reason);
      assert.equal(await hear(running), 'cpu');
    });
  }

  it('[FLT4] a device that is lost ends its worker; a standby on the CPU takes the job over, degraded until it is back', async () => {
    const running = await start('well', 1);
    assert.equal(await hear(running), FAKE_DEVICE);
    // The canary phrase of the next worker is lost as well: the device is given up at once.
    await setDeviceHealth(healthFile, 'lost');
    assert.equal(await hear(running), 'cpu');
    assert.equal(await fetchSample(running, 'earwitness_jobs_total{kind="final",outcome="failed"}'), 0);
    assert.equal((await readiness(running)).status, 'degraded');
    const deaths = running.log.lines.filter(({ event }) => event === 'inference worker died');
    assert.match(String(deaths[0]?.fields['end']), /its device was lost/);
    await cure(running);
    assert.equal(await hear(running), FAKE_DEVICE);
  });

  it('[FLT5] real workers on a device without its provider: the reason is told, and the CPU serves', async () => {
    server = await startRealServer(FEW_WORKERS, { device: MISSING_DEVICE });
    const { status, reasons } = await readiness(server);
    assert.equal(status, 'degraded');
    assert.match(reasons.join(), /provider|backend|library/i);
    assert.match((await hear(server)) ?? '', /good morning/i);
  });
});
