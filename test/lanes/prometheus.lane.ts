import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { alertsOf } from '../../grafana/alerts.ts';
import { objectiveRecordings } from '../../grafana/burn_rate.ts';
import { DASHBOARDS } from '../../grafana/dashboards.ts';
import { alertFile, recordingFile, type Span } from '../../grafana/rules.ts';
import { NativeDialect } from '../../server/dialects/native_dialect.ts';
import type { LoadReading } from '../../server/load_monitor.ts';
import { freePort } from '../chaos/free_port.ts';
import { markedSpeech } from '../chaos/poisoned_crowd.ts';
import { speak, writeScripts, type Script } from '../chaos/crowd.ts';
import { sendSignal } from '../chaos/worker_deaths.ts';
import { ALERT_SCENARIOS, promtoolTests } from '../observe/alert_scenarios.ts';
import { missingPrometheus, RealPrometheus } from '../observe/prometheus.ts';
import { FAKE_DEVICE, fakeDeviceWorker, setDeviceHealth } from '../support/fake_device.ts';
import { faultyWorker, temporaryFolder, upload } from '../support/faulty_worker.ts';
import { WebSocket } from 'ws';
import { FEW_WORKERS, fetchWorkers, startRealServer, type RealServer } from '../support/real_server.ts';
import { selfSigned } from '../support/self_signed.ts';

const ROOT = new URL('../../../', import.meta.url);
const RULE_FILES = ['recording_rules', 'alerts'].map((name) =>
  fileURLToPath(new URL(`grafana/alerts/${name}.yaml`, ROOT)),
);
/** The rules' windows, shortened so that minutes are seconds; not below four scrapes. */
const SCRAPE_MS = 500;
const shortSpan: Span = (seconds) => `${Math.max(4 * SCRAPE_MS, Math.round((seconds * 1_000) / 120))}ms`;
const FIRST_POISON = 25_000;
const POISON_COUNT = 5;
/** Time in which an alert has to fire, and to be over. */
const WAIT_MAX_MS = 40_000;
const PEOPLE = 8;
const FAILING_SESSION_COUNT = 12;
/** Three days are too long even so: promtool has those. */
const LIVE_ALERTS = alertsOf(shortSpan)
  .map(({ name }) => name)
  .filter((name) => !name.endsWith('Creeping'));

const skip = missingPrometheus();

void describe('rules, as promtool sees them', { skip, concurrency: false }, () => {
  it('[OBS5] promtool check rules finds nothing', () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', ...RULE_FILES]);
    assert.equal(status, 0, `${String(stdout)}${String(stderr)}`);
  });

  it('[OBS6] every alert is quiet before its fault, fires during it, and is over afterwards', async (test) => {
    const named = new Set(ALERT_SCENARIOS.map(({ alert }) => alert));
    assert.deepEqual(
      [...named].sort(),
      alertsOf(shortSpan)
        .map(({ name }) => name)
        .sort(),
    );
    const prometheus = await RealPrometheus.start({ targets: [], rules: [], intervalMs: SCRAPE_MS });
    test.after(() => prometheus.close());
    const files = promtoolTests(RULE_FILES).map((content, i) => ({
      path: join(prometheus.folder, `test_${i}.yaml`),
      content,
    }));
    for (const { path, content } of files) await writeFile(path, content);
    await new Promise<void>((resolve, reject) => {
      execFile('promtool', ['test', 'rules', ...files.map(({ path }) => path)], (error, stdout, stderr) => {
        if (error === null) resolve();
        else reject(new Error(`${stdout}${stderr}`));
      });
    });
  });
});

void describe('a real Prometheus at a real server with faults', { skip, concurrency: false }, () => {
  let prometheus: RealPrometheus;
  let server: RealServer;
  let adminPort: number;
  let disturb: (reading: LoadReading) => LoadReading = (reading) => reading;
  let talk: Promise<unknown>;

  const start = (): Promise<RealServer> =>
    startRealServer(
      { adminPort, inferenceWorkers: 2, inferenceSpares: 3, audioSpares: 0, maxSessionsPerIp: 100 },
      {
        workerModules: { inference: faultyWorker({ rules: poisonRules(), text: 'good morning' }) },
        disturbLoad: (reading) => disturb(reading),
      },
    );

  before(async () => {
    adminPort = await freePort();
    server = await start();
    prometheus = await RealPrometheus.start({
      targets: [`127.0.0.1:${adminPort}`],
      rules: [recordingFile(objectiveRecordings(shortSpan)), alertFile(alertsOf(shortSpan), shortSpan)],
      intervalMs: SCRAPE_MS,
    });
    const scripts = await writeScripts(PEOPLE, 40_000);
    talk = converse(server, scripts);
  });
  after(async () => {
    await prometheus.close();
    await server.close();
  });

  it('[OBS7] while all is well nothing fires', async () => {
    await pause(8_000);
    assert.deepEqual([...(await prometheus.firing())], []);
  });

  it('[OBS8] deaths, late finals, lost utterances and quarantine fire, and every panel has data', async () => {
    for (let i = 0; i < POISON_COUNT; i++) {
      void upload(server, await markedSpeech(FIRST_POISON + i));
    }
    for (let round = 0; round < 4; round++) {
      const workers = (await fetchWorkers(server)).filter(
        ({ role, state }) => role === 'inference' && state === 'ready',
      );
      for (const { pid } of workers) sendSignal(pid, 'SIGSTOP');
      await pause(1_400);
      for (const { pid } of workers) sendSignal(pid, 'SIGCONT');
      for (const { pid } of workers.slice(0, 3)) sendSignal(pid, 'SIGKILL');
      await pause(600);
    }
    await untilAll(
      prometheus,
      [
        'EarwitnessWorkersCrashing',
        'EarwitnessFinalsLateFast',
        'EarwitnessUtterancesLostFast',
        'EarwitnessQuarantineGrows',
      ],
      true,
    );
    await assertPanelsHaveData(prometheus);
    assert.deepEqual(
      (await prometheus.ruleHealth()).filter(({ health }) => health !== 'ok'),
      [],
    );
  });

  it('[OBS8] load fires, and is over when it is', async () => {
    disturb = (reading) => ({ ...reading, memoryRatio: 0.95 });
    const names = [
      'EarwitnessFull',
      'EarwitnessPartialsSuspended',
      'EarwitnessMemoryTight',
      'EarwitnessRefusing',
    ];
    const knocking = setInterval(() => {
      knock(server.url);
    }, SCRAPE_MS);
    try {
      await untilAll(prometheus, names, true);
    } finally {
      clearInterval(knocking);
      disturb = (reading) => reading;
    }
    await untilAll(prometheus, names, false);
  });

  it('[OBS8] silence and an end of the server fire, and all that fired is over in the end', async () => {
    await talk;
    await server.close();
    await untilAll(prometheus, ['EarwitnessDown'], true);
    server = await start();
    await untilAll(prometheus, ['EarwitnessDown'], false);
    await untilAll(prometheus, ['EarwitnessNoTraffic'], true);
    await converse(server, await writeScripts(1, 6_000));
    await untilAll(prometheus, LIVE_ALERTS, false);
  });

  it('[OBS5] promtool check metrics finds nothing', async () => {
    const input = await (await fetch(`${server.adminUrl}/metrics`)).text();
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input });
    assert.equal(`${String(stdout)}${String(stderr)}`, '');
    assert.equal(status, 0);
  });
});

void describe(
  'a real Prometheus at a server that is sick from its start',
  { skip, concurrency: false },
  () => {
    it('[OBS8] a lost device, a certificate at its end, failing sessions, lost records and missing workers fire', async (test) => {
      const folder = await temporaryFolder();
      test.after(() => folder.remove());
      const server = await startSickServer(folder.path);
      test.after(() => server.close());
      const prometheus = await RealPrometheus.start({
        targets: [new URL(server.adminUrl).host],
        rules: [alertFile(alertsOf(shortSpan), shortSpan)],
        intervalMs: SCRAPE_MS,
      });
      test.after(() => prometheus.close());
      await untilAll(prometheus, ['EarwitnessDeviceLost', 'EarwitnessCertificateExpires'], true);
      const { mock } = test.mock.method(NativeDialect.prototype, 'binary', () => {
        throw new Error('thrown by the test');
      });
      for (let i = 0; i < FAILING_SESSION_COUNT; i++) knock(server.url, new Uint8Array(640));
      await untilAll(prometheus, ['EarwitnessSessionsFailing'], true);
      mock.restore();
      const killing = setInterval(() => void killAudioWorkers(server), SCRAPE_MS);
      try {
        await untilAll(prometheus, ['EarwitnessRecordsLost', 'EarwitnessWorkerMissing'], true);
      } finally {
        clearInterval(killing);
      }
    });
  },
);

/** Its device starts no worker, its certificate ends in a day, and its crash reports go where no folder can be. */
async function startSickServer(folder: string): Promise<RealServer> {
  const paths = { tlsCert: join(folder, 'cert.pem'), tlsKey: join(folder, 'key.pem') };
  const end = new Date();
  end.setUTCDate(end.getUTCDate() + 1);
  const { cert, key } = selfSigned(end.toISOString().replace(/^20|\.\d+|[-T:]/g, ''));
  await writeFile(paths.tlsCert, cert);
  await writeFile(paths.tlsKey, key);
  const healthFile = join(folder, 'device');
  await setDeviceHealth(healthFile, 'exits');
  return startRealServer(
    {
      ...{ ...paths, crashDir: join(paths.tlsCert, 'crashes'), maxSessionsPerIp: 100 },
      ...FEW_WORKERS,
    },
    { device: FAKE_DEVICE, workerModules: { inference: fakeDeviceWorker(healthFile) } },
  );
}

async function killAudioWorkers(server: RealServer): Promise<void> {
  for (const { role, state, pid } of await fetchWorkers(server))
    if (role === 'audio' && state === 'ready') sendSignal(pid, 'SIGKILL');
}

/** Waits until these alerts fire, or until none of them does; throws with those that do not comply. */
async function untilAll(
  prometheus: RealPrometheus,
  names: readonly string[],
  isFiring: boolean,
): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MAX_MS;
  const missing = new Set(names);
  while (missing.size > 0 && performance.now() < deadlineMs) {
    const firing = await prometheus.firing();
    for (const name of names) if (firing.has(name) === isFiring) missing.delete(name);
    await pause(SCRAPE_MS / 2);
  }
  assert.deepEqual([...missing], [], isFiring ? 'did not fire' : 'are not over');
}

/** Wants to come in, and takes no for an answer; let in, it says this. */
function knock(url: string, audio?: Uint8Array): void {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/stream?encoding=pcm_s16le`, {
    rejectUnauthorized: false,
  });
  socket
    .on('error', () => undefined)
    .on('open', () => {
      if (audio === undefined) socket.close();
      else socket.send(audio);
    });
}

function poisonRules(): { readonly mark: number; readonly fault: 'SIGSEGV' }[] {
  return Array.from({ length: POISON_COUNT }, (_, i) => ({ mark: FIRST_POISON + i, fault: 'SIGSEGV' }));
}

async function converse(server: RealServer, scripts: readonly Script[]): Promise<void> {
  await speak(server.url, scripts);
}

/** Every query of every panel parses and gives a number, and has the labels that its legend names. */
async function assertPanelsHaveData(prometheus: RealPrometheus): Promise<void> {
  for (const { rows, title: dashboard } of DASHBOARDS) {
    for (const { title, queries, isRare } of rows.flatMap(({ panels }) => panels)) {
      for (const { expr, legend } of queries) {
        const where = `${dashboard}, ${title}: ${expr}`;
        const concrete = expr.replaceAll('$__rate_interval', '30s').replaceAll('$instance', '.*');
        const samples = await prometheus.query(concrete);
        if (isRare === true) continue;
        assert(
          samples.some(({ value }) => Number.isFinite(value)),
          `no data: ${where}`,
        );
        for (const [, label = ''] of legend.matchAll(/\{\{(\w+)\}\}/g))
          for (const { metric } of samples) assert(label in metric, `no label ${label}: ${where}`);
      }
    }
  }
}
