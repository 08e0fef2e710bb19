/** `--assert`: bounds that a load test has to keep, such as `true_end_p95<1s,lost=0,refused=0`. */
import { UsageError } from '../../pipeline/errors.ts';
import { closestName } from '../commands/suggestion.ts';
import type { Faults } from './answers.ts';
import type { Quantiles } from './latencies.ts';
import type { LoadReport } from './load_report.ts';

/** What latencies are called, and where they are in a report. */
const LATENCIES = {
  open: 'open',
  first_partial: 'firstPartial',
  partial_gap: 'partialGap',
  final: 'final',
  true_end: 'trueEnd',
  lateness: 'lateness',
} as const satisfies Record<string, keyof LoadReport['latencyMs']>;
const QUANTILES = ['p50', 'p95', 'p99', 'max'] as const satisfies readonly (keyof Quantiles)[];

interface Metric {
  readonly unit: 'ms' | 'count' | 'ratio';
  readonly valueOf: (report: LoadReport) => number;
}

const COUNTS: Readonly<Record<string, (report: LoadReport) => number>> = {
  sessions: ({ sessions }) => sessions.peak,
  finals: ({ finals }) => finals,
  refused: ({ sessions }) => sessions.refused,
  failed: ({ sessions }) => sessions.failed,
  reconnects: ({ reconnects }) => reconnects,
};
const FAULTS = [
  'lost',
  'unanswered',
  'repeated',
  'disordered',
  'crossed',
  'invented',
] as const satisfies readonly (keyof Faults)[];

/** Where nothing was heard, nothing was found to be right: no fault then means that none was looked for. */
function faultCount({ finals, faults }: LoadReport, fault: keyof Faults): number {
  return finals === 0 && faults[fault] === 0 ? NaN : faults[fault];
}

function metricTable(): ReadonlyMap<string, Metric> {
  const table = new Map<string, Metric>();
  for (const [name, key] of Object.entries(LATENCIES)) {
    for (const quantile of QUANTILES) {
      const valueOf = ({ latencyMs }: LoadReport): number => latencyMs[key][quantile];
      table.set(`${name}_${quantile}`, { unit: 'ms', valueOf });
    }
  }
  for (const [name, valueOf] of Object.entries(COUNTS)) table.set(name, { unit: 'count', valueOf });
  for (const name of FAULTS)
    table.set(name, { unit: 'count', valueOf: (report) => faultCount(report, name) });
  table.set('wer', { unit: 'ratio', valueOf: ({ wordErrorRate }) => wordErrorRate });
  return table;
}

const COMPARISONS = {
  '<': (value, bound) => value < bound,
  '<=': (value, bound) => value <= bound,
  '>': (value, bound) => value > bound,
  '>=': (value, bound) => value >= bound,
  '=': (value, bound) => value === bound,
} as const satisfies Record<string, (value: number, bound: number) => boolean>;

const SCALES: Readonly<Record<Metric['unit'], Readonly<Record<string, number>>>> = {
  ms: { ms: 1, s: 1_000 },
  count: { '': 1 },
  ratio: { '%': 0.01, '': 1 },
};
const UNIT_NAMES = {
  ms: 'a time such as 500ms or 2s',
  count: 'a count',
  ratio: 'a share such as 10%',
} as const;

export interface Assertion {
  /** As it was written. */
  readonly text: string;
  readonly metric: Metric;
  readonly comparison: keyof typeof COMPARISONS;
  readonly bound: number;
}

/** An assertion that a report does not keep. */
export interface Miss {
  readonly assertion: Assertion;
  /** NaN if nothing was measured. */
  readonly value: number;
  /** In words, with what was measured. */
  readonly text: string;
}

/** Reads assertions that are separated by commas. Throws `UsageError` that names the first fault, and what is known. */
export function parseAssertions(text: string): readonly Assertion[] {
  const parts = text.split(',').map((part) => part.trim());
  return parts.filter((part) => part !== '').map(parseAssertion);
}

function parseAssertion(text: string): Assertion {
  const [, name, comparison, amount, unit] =
    /^([a-z][a-z0-9_]*)\s*(<=|>=|<|>|=)\s*(\d+(?:\.\d+)?)\s*(ms|s|%|)$/.exec(text) ?? [];
  if (name === undefined || comparison === undefined || amount === undefined || unit === undefined) {
    throw fault(text, 'expected a name, one of < <= > >= =, and a number, such as final_p95<500ms');
  }
  const table = metricTable();
  const metric = table.get(name);
  if (metric === undefined) {
    if (name in LATENCIES) throw fault(text, `expected a quantile, such as ${name}_p95`);
    const names = [...table.keys()];
    const closest = closestName(name, names);
    throw fault(text, closest === undefined ? `known are ${names.join(' ')}` : `did you mean ${closest}?`);
  }
  const scale = SCALES[metric.unit][unit];
  if (scale === undefined) throw fault(text, `${name} is ${UNIT_NAMES[metric.unit]}`);
  const bound = Number(amount) * scale;
  return { text, metric, comparison: comparison as Assertion['comparison'], bound };
}

function fault(text: string, rule: string): UsageError {
  return new UsageError(`--assert: '${text.slice(0, 80)}': ${rule}`);
}

/** The assertions that a report misses. One about something that was never measured is missed. */
export function missed(report: LoadReport, assertions: readonly Assertion[]): readonly Miss[] {
  return assertions.flatMap((assertion) => {
    const { text, metric, comparison, bound } = assertion;
    const value = metric.valueOf(report);
    if (COMPARISONS[comparison](value, bound)) return [];
    return [{ assertion, value, text: `${text}, but it is ${shown(value, metric.unit)}` }];
  });
}

function shown(value: number, unit: Metric['unit']): string {
  if (Number.isNaN(value)) return 'not measured: nothing of the kind was heard';
  if (unit === 'ms') return `${value.toFixed(1)}ms`;
  return unit === 'ratio' ? `${(100 * value).toFixed(1)}%` : String(value);
}
