/** Queries in PromQL that name only metrics and labels that there are: a typing error does not compile. */
import type { CounterName, GaugeName, HistogramName, LabelsOf, MetricName } from '../pipeline/telemetry.ts';
import { METRICS } from '../pipeline/telemetry.ts';

/** Which series are meant, and over which time rates are taken. */
export interface Scope {
  /** Matchers that every series gets, such as `instance=~"$instance"`. */
  readonly matchers: string;
  /** Default window of rates. */
  readonly window: string;
}

/** Of a metric `N`: which label values, what to sum by, over what time. */
export interface Choice<N extends MetricName> {
  readonly where?: Partial<LabelsOf<N>>;
  /** Default: one sum over everything. */
  readonly by?: readonly (keyof LabelsOf<N> | TargetLabel)[];
  readonly over?: string;
}

/** What Prometheus itself knows of whom it scrapes. */
type TargetLabel = 'instance' | 'job';

/** What Node tells of the gateway's process, through prom-client. */
type ProcessMetric =
  | 'process_cpu_seconds_total'
  | 'process_resident_memory_bytes'
  | 'process_start_time_seconds'
  | 'nodejs_eventloop_lag_p99_seconds'
  | 'nodejs_heap_size_used_bytes'
  | 'nodejs_gc_duration_seconds_sum'
  | 'build_info'
  | 'model_info';

const PREFIX = 'earwitness_';

/** Writes queries for one scope. */
export class Queries {
  readonly #scope: Scope;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  /** A gauge, or its sum. */
  now<N extends GaugeName>(name: N, choice: Choice<N> = {}): string {
    return sum(this.series(name, choice.where), choice.by);
  }

  /** What a counter adds in a second. */
  perSecond<N extends CounterName>(name: N, choice: Choice<N> = {}): string {
    return sum(`rate(${this.#ranged(this.series(name, choice.where), choice.over)})`, choice.by);
  }

  /** What a counter has added in the window. */
  added<N extends CounterName>(name: N, choice: Choice<N> = {}): string {
    return sum(`increase(${this.#ranged(this.series(name, choice.where), choice.over)})`, choice.by);
  }

  /** Seconds below which a share of the observations in the window lie. */
  quantile<N extends HistogramName>(share: number, name: N, choice: Choice<N> = {}): string {
    return `histogram_quantile(${share}, ${this.#buckets(name, choice, ['le'])})`;
  }

  /** Observations per second. */
  observed<N extends HistogramName>(name: N, choice: Choice<N> = {}): string {
    const series = this.#suffixed(name, '_count', choice.where);
    return sum(`rate(${this.#ranged(series, choice.over)})`, choice.by);
  }

  /** Observations in the window above a bound, per second. Throws unless the bound is one of the buckets'. */
  observedAbove<N extends HistogramName>(name: N, bound: number, choice: Choice<N> = {}): string {
    const { buckets } = METRICS[name];
    if (!(buckets as readonly number[]).includes(bound)) throw new Error(`${name} has no bucket ${bound}`);
    const below = this.#suffixed(name, '_bucket', { ...choice.where, le: bound });
    return `(${this.observed(name, choice)} - ${sum(`rate(${this.#ranged(below, choice.over)})`, choice.by)})`;
  }

  /** The mean of the observations in the window. */
  mean<N extends HistogramName>(name: N, choice: Choice<N> = {}): string {
    const total = this.#suffixed(name, '_sum', choice.where);
    return `${sum(`rate(${this.#ranged(total, choice.over)})`, choice.by)} / ${this.observed(name, choice)}`;
  }

  /** A metric of the gateway's process. */
  process(name: ProcessMetric): string {
    return `${PREFIX}${name}${braces(this.#scope.matchers)}`;
  }

  /** A recording rule of this project. */
  recorded(name: string): string {
    return `${name}${braces(this.#scope.matchers)}`;
  }

  /** The bare series of a counter or a gauge. */
  series<N extends CounterName | GaugeName>(name: N, where: Partial<LabelsOf<N>> = {}): string {
    return this.#suffixed(name, '', where);
  }

  #buckets<N extends HistogramName>(name: N, { where, by = [], over }: Choice<N>, extra: string[]): string {
    const series = this.#suffixed(name, '_bucket', where);
    return sum(`rate(${this.#ranged(series, over)})`, [...extra, ...by]);
  }

  #suffixed(name: MetricName, suffix: string, where: object = {}): string {
    const pairs = Object.entries(where).map(([label, value]) => `${label}="${String(value)}"`);
    return `${PREFIX}${name}${suffix}${braces(...pairs, this.#scope.matchers)}`;
  }

  #ranged(series: string, over = this.#scope.window): string {
    return `${series}[${over}]`;
  }
}

/** The first as a share of the second. */
export function ratio(part: string, whole: string): string {
  return `${part} / ${whole}`;
}

function sum(query: string, by: readonly PropertyKey[] = []): string {
  return by.length === 0 ? `sum(${query})` : `sum by (${by.map(String).join(', ')}) (${query})`;
}

function braces(...matchers: readonly string[]): string {
  const given = matchers.filter((matcher) => matcher !== '');
  return given.length === 0 ? '' : `{${given.join(', ')}}`;
}
