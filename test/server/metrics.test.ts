import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { METRICS, type Telemetry } from '../../pipeline/telemetry.ts';
import { createMetrics, type Metrics } from '../../server/records/metrics.ts';

interface Spec {
  readonly kind: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly isOnDemand?: boolean;
}
const ALL: readonly (readonly [string, Spec])[] = Object.entries(METRICS);

function create(): Metrics {
  return createMetrics({ version: '1.2.3', transport: 'ws', model: 'tiny', device: 'cpu' });
}

/** Samples of the text format by series, comments left out. */
async function scrape(metrics: Metrics): Promise<ReadonlyMap<string, number>> {
  const { body } = await metrics.render();
  const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  );
}

/** The telemetry as something that does not know its types sees it. */
interface UntypedTelemetry {
  count(name: unknown, labels: unknown, by?: unknown): void;
  set(name: unknown, labels: unknown, value: unknown): void;
  observe(name: unknown, labels: unknown, value: unknown): void;
}
function untyped(metrics: Metrics): UntypedTelemetry {
  const telemetry: unknown = metrics;
  return telemetry as UntypedTelemetry;
}

describe('metrics', () => {
  it('[MET1] every metric of the table is exported with its help, its type and the prefix', async () => {
    const { body, contentType } = await create().render();
    assert.match(contentType, /^text\/plain; version=0\.0\.4/);
    for (const [name, { help, kind }] of ALL) {
      assert(body.includes(`# HELP earwitness_${name} ${help}\n`), name);
      assert(body.includes(`# TYPE earwitness_${name} ${kind}\n`), name);
    }
    for (const line of body.split('\n')) assert.match(line, /^$|^# |^earwitness_/);
  });

  it('[MET2] every label set a metric can have is there from the start, at 0', async () => {
    const samples = await scrape(create());
    for (const [name, spec] of ALL.filter(([, { isOnDemand }]) => isOnDemand !== true)) {
      const expected = Object.values(spec.labels).reduce((count, values) => count * values.length, 1);
      const suffix = spec.kind === 'histogram' ? '_count' : '';
      const series = [...samples].filter(
        ([key]) => key.replace(/\{.*/, '') === `earwitness_${name}${suffix}`,
      );
      assert.equal(series.length, expected, name);
      for (const [key, value] of series) assert.equal(value, 0, key);
    }
  });

  it('[MET3] counters add up, gauges are set, histograms are observed', async () => {
    const metrics = create();
    metrics.count('packets_total', { outcome: 'decoded' });
    metrics.count('packets_total', { outcome: 'decoded' }, 4);
    metrics.set('sessions_active', {}, 3);
    metrics.observe('inference_seconds', { kind: 'final' }, 0.07);
    const samples = await scrape(metrics);
    assert.equal(samples.get('earwitness_packets_total{outcome="decoded"}'), 5);
    assert.equal(samples.get('earwitness_sessions_active'), 3);
    assert.equal(samples.get('earwitness_inference_seconds_sum{kind="final"}'), 0.07);
    assert.equal(samples.get('earwitness_inference_seconds_bucket{le="0.05",kind="final"}'), 0);
    assert.equal(samples.get('earwitness_inference_seconds_bucket{le="0.1",kind="final"}'), 1);
  });

  it('[MET4] what is not valid is dropped and counted by reason', async () => {
    const metrics = create();
    const before = await scrape(metrics);
    metrics.set('sessions_active', {}, NaN);
    metrics.observe('real_time_factor', {}, Infinity);
    metrics.count('packets_total', { outcome: 'decoded' }, -1);
    untyped(metrics).count('packets_total', { outcome: 'decoded' }, '1');
    untyped(metrics).count('packets_total', { outcome: 'eaten' });
    untyped(metrics).count('packets_total', { outcome: 'decoded', session: 'x' });
    untyped(metrics).count('packets_total', undefined);
    untyped(metrics).count('sessions_active', {});
    untyped(metrics).set('constructor', {}, 1);
    const after = await scrape(metrics);
    const rejections = (reason: string): number | undefined =>
      after.get(`earwitness_metric_rejections_total{reason="${reason}"}`);
    assert.equal(rejections('value'), 4);
    assert.equal(rejections('label'), 3);
    assert.equal(rejections('name'), 2);
    for (const name of ['sessions_active', 'packets_total{outcome="decoded"}', 'real_time_factor_count']) {
      assert.equal(after.get(`earwitness_${name}`), before.get(`earwitness_${name}`), name);
    }
  });

  it('[MET5] no report throws and none adds a series, whatever it holds', async () => {
    const metrics = create();
    const ownSeries = async (): Promise<number> =>
      [...(await scrape(metrics)).keys()].filter((key) => !/^earwitness_(nodejs|process)_/.test(key)).length;
    const seriesCount = await ownSeries();
    const names = fc.oneof(fc.constantFrom(...Object.keys(METRICS)), fc.anything());
    const labels = fc.oneof(
      fc.dictionary(fc.constantFrom('kind', 'role', 'outcome'), fc.string()),
      fc.anything(),
    );
    fc.assert(
      fc.property(names, labels, fc.oneof(fc.double(), fc.anything()), (name, label, value) => {
        const telemetry = untyped(metrics);
        telemetry.count(name, label, value);
        telemetry.set(name, label, value);
        telemetry.observe(name, label, value);
      }),
      // The example is what a random seed found: a value that throws when it is compared with a number.
      { numRuns: 3_000, examples: [['utterances_total', {}, { toString: 0 }]] },
    );
    assert.equal(await ownSeries(), seriesCount);
  });

  it('[MET6] collectors are called at every scrape; a later one of the same owner replaces the earlier', async () => {
    const metrics = create();
    let depth = 1;
    metrics.setCollector('scheduler', () => assert.fail('was replaced'));
    metrics.setCollector('scheduler', (telemetry: Telemetry) => {
      telemetry.set('queue_depth', { kind: 'final' }, depth++);
    });
    assert.equal((await scrape(metrics)).get('earwitness_queue_depth{kind="final"}'), 1);
    assert.equal((await scrape(metrics)).get('earwitness_queue_depth{kind="final"}'), 2);
  });

  it('[MET7] a collector that throws hides nothing else and is counted', async () => {
    const metrics = create();
    metrics.setCollector('broken', () => {
      throw new Error('broken');
    });
    metrics.setCollector('whole', (telemetry) => {
      telemetry.set('slots', {}, 2);
    });
    const samples = await scrape(metrics);
    assert.equal(samples.get('earwitness_slots'), 2);
    assert.equal(samples.get('earwitness_metric_rejections_total{reason="collector"}'), 1);
  });

  it('[MET8] what runs is told by build_info, and the process by its own metrics', async () => {
    const samples = await scrape(create());
    const info = `earwitness_build_info{version="1.2.3",node="${process.versions.node}",transport="ws"}`;
    assert.equal(samples.get(info), 1);
    assert(samples.has('earwitness_nodejs_eventloop_lag_p99_seconds'));
    assert((samples.get('earwitness_process_resident_memory_bytes') ?? 0) > 1e6);
  });
});
