import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WorkerGauges } from '../../server/records/worker_gauges.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

void describe('worker gauges', () => {
  it('[MET9] each worker’s processor time and memory are told by its slot, once', () => {
    const telemetry = new RecordingTelemetry();
    const gauges = new WorkerGauges();
    const worker = {
      role: 'inference',
      pid: 7,
      state: 'ready',
      restarts: 0,
      rssBytes: 100,
      cpuMs: 1_500,
    } as const;
    gauges.report(telemetry, [worker, { ...worker, cpuMs: 500 }]);
    gauges.report(telemetry, [
      { ...worker, cpuMs: 2_000, restarts: 3 },
      { ...worker, cpuMs: 500 },
    ]);
    const cpu = (slot: string): number =>
      telemetry.total('worker_process_cpu_seconds_total', { role: 'inference', slot });
    assert.deepEqual([cpu('0'), cpu('1')], [2, 0.5]);
    assert.equal(
      telemetry.gauge('worker_process_resident_memory_bytes', { role: 'inference', slot: '1' }),
      100,
    );
    assert.equal(telemetry.gauge('worker_rss_bytes', { role: 'inference' }), 200);
    assert.equal(telemetry.total('worker_restarts_total', { role: 'inference' }), 3);
    assert.equal(telemetry.gauge('workers', { role: 'inference', state: 'ready' }), 2);
  });
});
