/** The metrics of METRICS as Prometheus text. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  METRICS,
  type CounterName,
  type GaugeName,
  type HistogramName,
  type MetricName,
  type MetricSpec,
  type Telemetry,
} from '../../pipeline/telemetry.ts';

/** One scrape's answer. */
export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

/** The server's telemetry and its exposition. One per process: the process metrics are those of this process. */
export interface Metrics extends Telemetry {
  /**
   * Calls `collect` before every scrape, to set gauges or to add up counters that are kept elsewhere. A later
   * collector of the same owner replaces the earlier; one that throws is counted as a rejection.
   */
  setCollector(owner: string, collect: (telemetry: Telemetry) => void): void;
  /** The gauge has no value with these labels until it is set again. */
  forget(name: GaugeName, labels: Labels): void;
  render(): Promise<Exposition>;
}

export interface MetricsOptions {
  readonly version: string;
  /** The transport in use, `uws` or `ws`. */
  readonly transport: string;
  /** The speech model, and what it is meant to run on. */
  readonly model: string;
  readonly device: string;
}

const PREFIX = 'earwitness_';
/** Gauges of the library that call themselves totals, as only counters may; the same by type are there. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

type Labels = Readonly<Record<string, string>>;
type LabelSpec = Readonly<Record<string, readonly string[]>>;
type Instruments = Readonly<{
  counter: ReadonlyMap<string, Counter>;
  gauge: ReadonlyMap<string, Gauge>;
  histogram: ReadonlyMap<string, Histogram>;
}>;
type Rejection = 'name' | 'label' | 'value' | 'collector';

/** Creates all metrics in a registry of their own; every label set a metric can have is there from the start, at 0. */
export function createMetrics({ version, transport, model, device }: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: PREFIX });
  for (const name of MISNAMED) registry.removeSingleMetric(`${PREFIX}${name}`);
  new Gauge({
    name: `${PREFIX}build_info`,
    help: 'Always 1; what is running, as labels.',
    labelNames: ['version', 'node', 'transport'],
    registers,
  }).set({ version, node: process.versions.node, transport }, 1);
  new Gauge({
    name: `${PREFIX}model_info`,
    help: 'Always 1; the speech model and the device it is meant to run on, as labels.',
    labelNames: ['model', 'device'],
    registers,
  }).set({ model, device }, 1);
  return new PrometheusMetrics(registry, createInstruments(registers));
}

function createInstruments(registers: Registry[]): Instruments {
  const counter = new Map<string, Counter>();
  const gauge = new Map<string, Gauge>();
  const histogram = new Map<string, Histogram>();
  for (const [name, spec] of Object.entries<MetricSpec>(METRICS)) {
    const options = {
      name: `${PREFIX}${name}`,
      help: spec.help,
      labelNames: Object.keys(spec.labels),
      registers,
    };
    const labelSets = spec.isOnDemand === true ? [] : combinations(spec.labels);
    if (spec.kind === 'counter') {
      const instrument = new Counter(options);
      for (const labels of labelSets) instrument.inc(labels, 0);
      counter.set(name, instrument);
    } else if (spec.kind === 'gauge') {
      const instrument = new Gauge(options);
      for (const labels of labelSets) instrument.set(labels, 0);
      gauge.set(name, instrument);
    } else {
      const instrument = new Histogram({ ...options, buckets: [...(spec.buckets ?? [])] });
      for (const labels of labelSets) instrument.zero(labels);
      histogram.set(name, instrument);
    }
  }
  return { counter, gauge, histogram };
}

/** Every set of labels that a metric can have; the empty set for one without labels. */
function combinations(spec: LabelSpec): Labels[] {
  let sets: Labels[] = [{}];
  for (const [label, values] of Object.entries(spec)) {
    sets = sets.flatMap((set) => values.map((value) => ({ ...set, [label]: value })));
  }
  return sets;
}

/** The types forbid wrong labels; this holds for what comes through a cast or from another process. */
function isLabelSetOf(spec: LabelSpec, labels: unknown): labels is Labels {
  if (typeof labels !== 'object' || labels === null) return false;
  const names = Object.keys(spec);
  const given = new Map<string, unknown>(Object.entries(labels));
  return given.size === names.length && names.every((name) => isOneOf(spec[name] ?? [], given.get(name)));
}

function isOneOf(allowed: readonly string[], value: unknown): boolean {
  return typeof value === 'string' && allowed.includes(value);
}

class PrometheusMetrics implements Metrics {
  readonly #registry: Registry;
  readonly #instruments: Instruments;
  readonly #collectors = new Map<string, (telemetry: Telemetry) => void>();

  constructor(registry: Registry, instruments: Instruments) {
    this.#registry = registry;
    this.#instruments = instruments;
  }

  count(name: CounterName, labels: unknown, by = 1): void {
    const counter = this.#instruments.counter.get(name);
    if (counter === undefined) this.#reject('name');
    // A counter cannot fall, so a negative amount is as wrong as NaN.
    else if (this.#areValid(name, labels, Number.isFinite(by) && by >= 0 ? by : NaN)) counter.inc(labels, by);
  }

  set(name: GaugeName, labels: unknown, value: number): void {
    const gauge = this.#instruments.gauge.get(name);
    if (gauge === undefined) this.#reject('name');
    else if (this.#areValid(name, labels, value)) gauge.set(labels, value);
  }

  forget(name: GaugeName, labels: Labels): void {
    this.#instruments.gauge.get(name)?.remove(labels);
  }

  observe(name: HistogramName, labels: unknown, value: number): void {
    const histogram = this.#instruments.histogram.get(name);
    if (histogram === undefined) this.#reject('name');
    else if (this.#areValid(name, labels, value)) histogram.observe(labels, value);
  }

  setCollector(owner: string, collect: (telemetry: Telemetry) => void): void {
    this.#collectors.set(owner, collect);
  }

  async render(): Promise<Exposition> {
    for (const collect of this.#collectors.values()) {
      try {
        collect(this);
      } catch {
        // One part's failure must not hide the others' figures; the count says that something is missing.
        this.#reject('collector');
      }
    }
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #areValid(name: MetricName, labels: unknown, value: number): labels is Labels {
    if (!isLabelSetOf(METRICS[name].labels, labels)) this.#reject('label');
    else if (!Number.isFinite(value)) this.#reject('value');
    else return true;
    return false;
  }

  #reject(reason: Rejection): void {
    this.#instruments.counter.get('metric_rejections_total')?.inc({ reason });
  }
}
