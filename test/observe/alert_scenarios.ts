/** For each alert a course of events that it is for: when all is quiet, when it fires, when it is over. */
import { stringify } from 'yaml';

/** A stretch of time and what happens in it: the value of a gauge, or what a counter adds in a minute. */
type Phase = readonly [minutes: number, value: number];

interface Course {
  readonly series: string;
  readonly kind: 'gauge' | 'counter';
  readonly phases: readonly Phase[];
}

export interface AlertScenario {
  readonly alert: string;
  readonly courses: readonly Course[];
  /** Times in minutes at which nothing, the alert, and nothing again is firing. */
  readonly quietAt: number;
  readonly firesAt: number;
  readonly overAt: number;
  /** Minutes between two samples; default 1. */
  readonly stepMinutes?: number;
}

const TARGET = 'job="earwitness", instance="a:9464"';
const series = (name: string, labels = ''): string =>
  `earwitness_${name}{${TARGET}${labels === '' ? '' : `, ${labels}`}}`;
const gauge = (name: string, ...phases: Phase[]): Course => ({ series: name, kind: 'gauge', phases });
const counter = (name: string, ...phases: Phase[]): Course => ({ series: name, kind: 'counter', phases });

/** Finals of which a share is late for a while. */
function lateFinals(badShare: number, ...[before, bad, after]: readonly [number, number, number]): Course[] {
  return [
    counter(series('final_latency_seconds_count'), [before + bad + after, 60]),
    counter(
      series('final_latency_seconds_bucket', 'le="0.5"'),
      [before, 60],
      [bad, 60 * (1 - badShare)],
      [after, 60],
    ),
  ];
}

function lostUtterances(
  badShare: number,
  ...[before, bad, after]: readonly [number, number, number]
): Course[] {
  // Whoever loses them, they are a share of all.
  const utterances = (dialect: string, outcome: string): string =>
    series('utterances_total', `dialect="${dialect}",outcome="${outcome}"`);
  return [
    counter(utterances('native', 'text'), [before + bad + after, 1_000]),
    counter(utterances('openai', 'failed'), [before, 0], [bad, 1_000 * badShare], [after, 0]),
  ];
}

const HOUR = 60;
const DAY = 24 * HOUR;
const BURN_TIMES = {
  fast: { quietAt: 110, firesAt: 160, overAt: 240 },
  slow: { quietAt: 5 * HOUR, firesAt: 11 * HOUR, overAt: 17 * HOUR, stepMinutes: 10 },
  creeping: { quietAt: DAY, firesAt: 5 * DAY, overAt: 8 * DAY, stepMinutes: 60 },
} as const;

/** promtool's clock begins at 0: a certificate ends at 20 days, and is renewed after 19. */
const RENEWED_CERTIFICATE = gauge(
  series('tls_certificate_expiry_timestamp_seconds'),
  [19 * DAY, 20 * 86_400],
  [2 * DAY, 90 * 86_400],
);

export const ALERT_SCENARIOS: readonly AlertScenario[] = [
  { alert: 'EarwitnessFinalsLateFast', courses: lateFinals(0.3, 120, 60, 90), ...BURN_TIMES.fast },
  {
    alert: 'EarwitnessFinalsLateSlow',
    courses: lateFinals(0.1, 6 * HOUR, 6 * HOUR, 6 * HOUR),
    ...BURN_TIMES.slow,
  },
  {
    alert: 'EarwitnessFinalsLateCreeping',
    courses: lateFinals(0.02, 2 * DAY, 3 * DAY, 4 * DAY),
    ...BURN_TIMES.creeping,
  },
  { alert: 'EarwitnessUtterancesLostFast', courses: lostUtterances(0.03, 120, 60, 90), ...BURN_TIMES.fast },
  {
    alert: 'EarwitnessUtterancesLostSlow',
    courses: lostUtterances(0.01, 6 * HOUR, 6 * HOUR, 6 * HOUR),
    ...BURN_TIMES.slow,
  },
  {
    alert: 'EarwitnessUtterancesLostCreeping',
    courses: lostUtterances(0.002, 2 * DAY, 3 * DAY, 4 * DAY),
    ...BURN_TIMES.creeping,
  },
  {
    alert: 'EarwitnessDown',
    courses: [gauge(`up{${TARGET}}`, [10, 1], [10, 0], [10, 1])],
    ...{ quietAt: 9, firesAt: 15, overAt: 25 },
  },
  {
    alert: 'EarwitnessNotReady',
    courses: [gauge(series('health_status', 'status="failed"'), [10, 0], [10, 1], [10, 0])],
    ...{ quietAt: 9, firesAt: 15, overAt: 25 },
  },
  {
    alert: 'EarwitnessGatewayRestarting',
    courses: [gauge(series('process_start_time_seconds'), [30, 100], [5, 200], [5, 300], [60, 400])],
    ...{ quietAt: 29, firesAt: 45, overAt: 80 },
  },
  {
    alert: 'EarwitnessNoTraffic',
    courses: [counter(series('received_bytes_total'), [HOUR, 5_000], [HOUR, 0], [HOUR, 5_000])],
    ...{ quietAt: 50, firesAt: 110, overAt: 150 },
  },
  {
    alert: 'EarwitnessFull',
    courses: [
      gauge(series('sessions_headroom'), [10, 5], [10, 0], [10, 5]),
      gauge(series('sessions_active'), [30, 20]),
    ],
    ...{ quietAt: 12, firesAt: 17, overAt: 25 },
  },
  {
    alert: 'EarwitnessRefusing',
    courses: [counter(series('sessions_refused_total', 'reason="overloaded"'), [10, 0], [20, 4], [20, 0])],
    ...{ quietAt: 9, firesAt: 25, overAt: 40 },
  },
  {
    alert: 'EarwitnessPartialsSuspended',
    courses: [gauge(series('partials_suspended'), [10, 0], [20, 1], [10, 0])],
    ...{ quietAt: 15, firesAt: 25, overAt: 35 },
  },
  {
    alert: 'EarwitnessEventLoopSlow',
    courses: [gauge(series('nodejs_eventloop_lag_p99_seconds'), [10, 0.02], [10, 0.3], [10, 0.02])],
    ...{ quietAt: 12, firesAt: 18, overAt: 25 },
  },
  {
    alert: 'EarwitnessMemoryTight',
    courses: [gauge(series('load_ratio', 'source="memory"'), [10, 0.2], [20, 0.9], [10, 0.3])],
    ...{ quietAt: 15, firesAt: 25, overAt: 35 },
  },
  {
    alert: 'EarwitnessWorkersCrashing',
    courses: [
      counter(series('worker_deaths_total', 'role="inference", cause="signal"'), [20, 0], [10, 2], [20, 0]),
    ],
    ...{ quietAt: 19, firesAt: 29, overAt: 45 },
  },
  {
    alert: 'EarwitnessWorkerMissing',
    courses: [
      gauge(series('workers', 'role="audio", state="parked"'), [10, 0], [10, 1], [10, 0]),
      gauge(series('workers', 'role="audio", state="failed"'), [30, 0]),
    ],
    ...{ quietAt: 12, firesAt: 18, overAt: 25 },
  },
  {
    alert: 'EarwitnessDeviceLost',
    courses: [gauge(series('worker_devices', 'device="fallback"'), [10, 0], [10, 2], [10, 0])],
    ...{ quietAt: 12, firesAt: 18, overAt: 25 },
  },
  {
    alert: 'EarwitnessQuarantineGrows',
    courses: [gauge(series('quarantined_contents'), [90, 1], [120, 8])],
    ...{ quietAt: 80, firesAt: 100, overAt: 170 },
  },
  {
    alert: 'EarwitnessSessionsFailing',
    courses: [counter(series('errors_total', 'class="internal"'), [20, 0], [10, 2], [20, 0])],
    ...{ quietAt: 19, firesAt: 29, overAt: 45 },
  },
  {
    alert: 'EarwitnessCertificateExpiresSoon',
    courses: [RENEWED_CERTIFICATE],
    ...{ quietAt: 5 * DAY, firesAt: 8 * DAY, overAt: 20 * DAY, stepMinutes: 60 },
  },
  {
    alert: 'EarwitnessCertificateExpires',
    courses: [RENEWED_CERTIFICATE],
    ...{ quietAt: 17 * DAY, firesAt: 18.5 * DAY, overAt: 20 * DAY, stepMinutes: 60 },
  },
  {
    alert: 'EarwitnessRecordsLost',
    courses: [
      counter(series('log_lines_dropped_total'), [10, 0], [10, 7], [60, 0]),
      counter(series('crash_record_write_failures_total'), [80, 0]),
      counter(series('quarantine_write_failures_total'), [80, 0]),
    ],
    ...{ quietAt: 9, firesAt: 20, overAt: 70 },
  },
];

/**
 * The scenarios as `promtool test rules` reads them, one file for each step, so that days are not computed minute by
 * minute. `ruleFiles` are absolute paths.
 */
export function promtoolTests(ruleFiles: readonly string[]): readonly string[] {
  const steps = [...new Set(ALERT_SCENARIOS.map(stepOf))];
  return steps.map((stepMinutes) =>
    stringify({
      rule_files: ruleFiles,
      evaluation_interval: `${stepMinutes}m`,
      // What is recorded is older than Prometheus looks back by the next step.
      group_eval_order: ['earwitness-recording', 'earwitness-page', 'earwitness-ticket'],
      tests: ALERT_SCENARIOS.filter((scenario) => stepOf(scenario) === stepMinutes).map(promtoolTest),
    }),
  );
}

function stepOf({ stepMinutes = 1 }: AlertScenario): number {
  return stepMinutes;
}

function promtoolTest(scenario: AlertScenario): unknown {
  const { alert, courses, quietAt, firesAt, overAt, stepMinutes = 1 } = scenario;
  const firing = `count(ALERTS{alertname="${alert}", alertstate="firing"}) or vector(0)`;
  return {
    name: alert,
    interval: `${stepMinutes}m`,
    input_series: courses.map((course) => ({ series: course.series, values: valuesOf(course, stepMinutes) })),
    promql_expr_test: [
      [quietAt, 0],
      [firesAt, 1],
      [overAt, 0],
    ].map(([atMinutes, count]) => ({
      expr: firing,
      eval_time: `${atMinutes}m`,
      exp_samples: [{ labels: '{}', value: count }],
    })),
  };
}

function valuesOf({ kind, phases }: Course, stepMinutes: number): string {
  const values: number[] = [];
  let total = 0;
  for (const [minutes, value] of phases) {
    for (let at = 0; at < minutes; at += stepMinutes) {
      total += value * stepMinutes;
      values.push(kind === 'gauge' ? value : Math.round(total * 1e6) / 1e6);
    }
  }
  return values.join(' ');
}
