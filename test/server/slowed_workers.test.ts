import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { WorkerReport } from '../../server/admin.ts';
import { reportSlowedWorkers, SlowedWorkers } from '../../server/workers/slowed_workers.ts';
import { linkModels, pretendPrepared } from '../support/linked_models.ts';
import { fetchSample, fetchWorkers, KeptLog, startRealServer } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

const READY = { role: 'inference', state: 'ready', restarts: 0, rssBytes: 1, cpuMs: 1 } as const;

describe('workers that are slower than they could be', () => {
  it('[SUP61] are said once for each process, and counted', () => {
    const log = new KeptLog();
    const slowed = new SlowedWorkers(log);
    const workers: WorkerReport[] = [
      { ...READY, pid: 1, warning: 'so' },
      { ...READY, pid: 2 },
    ];
    slowed.tell(workers);
    slowed.tell(workers);
    assert.deepEqual(log.lines, [
      {
        level: 'warn',
        event: 'a worker is slower than it could be',
        fields: { role: 'inference', workerPid: 1, warning: 'so' },
      },
    ]);
    const successors = [{ ...READY, pid: 3, warning: 'so' }, ...workers.slice(1)];
    slowed.tell(successors);
    assert.deepEqual(
      log.lines.map(({ fields }) => fields['workerPid']),
      [1, 3],
    );
    const telemetry = new RecordingTelemetry();
    reportSlowedWorkers(telemetry, successors);
    assert.equal(telemetry.gauge('workers_slowed', { role: 'inference' }), 1);
    assert.equal(telemetry.gauge('workers_slowed', { role: 'audio' }), 0);
  });

  it('[SUP61] a server whose prepared graphs cannot be loaded is ready, and says what it costs', async (test) => {
    const models = await linkModels();
    test.after(() => models.remove());
    await pretendPrepared(models);
    const { modelsDir } = models;
    const server = await startRealServer({
      modelsDir,
      inferenceWorkers: 1,
      inferenceSpares: 0,
      audioWorkers: 1,
      audioSpares: 0,
    });
    try {
      const warnings = server.log.lines.filter(({ level }) => level === 'warn');
      const [worker] = (await fetchWorkers(server)).filter(({ role }) => role === 'inference');
      assert.equal(warnings.length, 1);
      assert.equal(warnings[0]?.fields['workerPid'], worker?.pid);
      assert.match(String(warnings[0]?.fields['warning']), /the prepared ones cannot be loaded/);
      assert.equal(await fetchSample(server, 'earwitness_workers_slowed{role="inference"}'), 1);
      const readiness = await fetch(`${server.adminUrl}/readyz`);
      assert.deepEqual(await readiness.json(), { status: 'ready' });
    } finally {
      await server.close();
    }
  });
});
