import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GPU_PROBE_INTERVAL_MS } from '../../pipeline/limits.ts';
import { GpuProbe, parseGpus } from '../../server/records/gpu_probe.ts';
import { createMetrics } from '../../server/records/metrics.ts';
import { KeptLog } from '../support/real_server.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

void describe('GPU probe', () => {
  it('[GPU1] memory and utilisation of each GPU are told in bytes and shares, now and at every interval', async () => {
    const [clock, telemetry] = [new FakeClock(), new RecordingTelemetry()];
    let usedMib = 1_024;
    const query = (): Promise<string> => Promise.resolve(`0, ${usedMib}, 81559, 37\n1, 0, 81559, 0\n`);
    const probe = new GpuProbe({ clock, telemetry, log: new KeptLog(), query });
    probe.start();
    await settle();
    assert.equal(telemetry.gauge('gpu_memory_used_bytes', { gpu: '0' }), 2 ** 30);
    assert.equal(telemetry.gauge('gpu_utilization_ratio', { gpu: '0' }), 0.37);
    assert.equal(telemetry.gauge('gpu_memory_total_bytes', { gpu: '1' }), 81_559 * 2 ** 20);
    usedMib = 2_048;
    await clock.advance(GPU_PROBE_INTERVAL_MS);
    assert.equal(telemetry.gauge('gpu_memory_used_bytes', { gpu: '0' }), 2 ** 31);
    probe.close();
  });

  it('[GPU2] without the program nothing is told and nobody asks again', async () => {
    const [clock, telemetry] = [new FakeClock(), new RecordingTelemetry()];
    let askedCount = 0;
    const query = (): Promise<string> => {
      askedCount++;
      return Promise.reject(new Error('ENOENT'));
    };
    const probe = new GpuProbe({ clock, telemetry, log: new KeptLog(), query });
    probe.start();
    await clock.advance(10 * GPU_PROBE_INTERVAL_MS);
    assert.equal(askedCount, 1);
    assert.equal(telemetry.gauge('gpu_utilization_ratio', { gpu: '0' }), undefined);
    probe.close();
  });

  it('[GPU4] while the program fails, or a GPU is gone, its gauges are gone too; it is asked again, and one line is written', async () => {
    const [clock, log] = [new FakeClock(), new KeptLog()];
    const metrics = createMetrics({ version: '0', transport: 'ws', model: 'm', device: 'cuda' });
    const both = '0, 1, 2, 3\n1, 1, 2, 3\n';
    const answers = [both, '1, 1, 2, 3\n', undefined, undefined, both];
    const seen: number[] = [];
    const probe = new GpuProbe({
      ...{ clock, telemetry: metrics, log },
      query: () => {
        const answer = answers.shift();
        return answer === undefined ? Promise.reject(new Error('timeout')) : Promise.resolve(answer);
      },
    });
    probe.start();
    await settle();
    while (seen.length < 5) {
      const { body } = await metrics.render();
      seen.push(body.match(/^earwitness_gpu_\w+\{/gm)?.length ?? 0);
      await clock.advance(GPU_PROBE_INTERVAL_MS);
    }
    assert.deepEqual(seen, [6, 3, 0, 0, 6]);
    assert.equal(log.lines.length, 2, 'one for each time that it began to fail');
    probe.close();
  });

  it('[GPU3] a GPU that tells less is left out', () => {
    const text = '0, [N/A], 81559, 37\n16, 1, 2, 3\n\nNVIDIA-SMI has failed\n1, 10, 20, 30';
    assert.deepEqual(
      parseGpus(text).map(({ index }) => index),
      ['1'],
    );
  });
});
