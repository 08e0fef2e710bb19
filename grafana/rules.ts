/** Rules of Prometheus as data: what is recorded, what is worth waking somebody for, and what that somebody does then. */
import { stringify } from 'yaml';

/** Turns a time in seconds into Prometheus' words; a test makes all of them shorter. */
export type Span = (seconds: number) => string;

/** A query that is computed all the time, because dashboards and alerts need it over long windows. */
export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
}

/** One alert. */
export interface Alert {
  readonly name: string;
  /** `page` wakes somebody; `ticket` waits for the morning. */
  readonly severity: 'page' | 'ticket';
  readonly expr: string;
  /** How long it has to be true. */
  readonly forSeconds: number;
  /** One line; `{{ $labels.instance }}` and `{{ $value }}` may be in it. */
  readonly summary: string;
  /** What it means for the people who speak, and what to do, first things first. */
  readonly meaning: string;
  readonly action: string;
  readonly dashboard: string;
}

/** Time in the largest unit that has it whole. */
export const trueSpan: Span = (seconds) => {
  for (const [unit, length] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
  ] as const) {
    if (seconds > 0 && seconds % length === 0) return `${seconds / length}${unit}`;
  }
  return `${seconds}s`;
};

/** A rule file with one group of recording rules. */
export function recordingFile(rules: readonly RecordingRule[]): string {
  return toYaml([{ name: 'earwitness-recording', rules }]);
}

/** A rule file with the alerts, in one group for each severity. */
export function alertFile(alerts: readonly Alert[], span: Span): string {
  const groups = (['page', 'ticket'] as const).map((severity) => ({
    name: `earwitness-${severity}`,
    rules: alerts.filter((alert) => alert.severity === severity).map((alert) => alertRule(alert, span)),
  }));
  return toYaml(groups);
}

function alertRule(alert: Alert, span: Span): unknown {
  const { name, severity, expr, forSeconds, summary, meaning, action, dashboard } = alert;
  return {
    alert: name,
    expr,
    ...(forSeconds === 0 ? {} : { for: span(forSeconds) }),
    labels: { severity },
    annotations: { summary, description: meaning, runbook: action, dashboard: `/d/${dashboard}` },
  };
}

function toYaml(groups: unknown): string {
  const head = '# Generated from grafana/*.ts by `npm run observability`; change it there.\n';
  return `${head}${stringify({ groups }, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}
