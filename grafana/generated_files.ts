/** Every file under grafana/ that follows from the code. */
import { alertsOf } from './alerts.ts';
import { objectiveRecordings } from './burn_rate.ts';
import { buildDashboard } from './dashboard.ts';
import { DASHBOARDS } from './dashboards.ts';
import { renderMetricReference } from './metric_reference.ts';
import { alertFile, recordingFile, trueSpan } from './rules.ts';

export interface GeneratedFile {
  /** Relative to `grafana/`. */
  readonly path: string;
  readonly content: string;
}

/** The files as they should be. */
export async function generatedFiles(): Promise<readonly GeneratedFile[]> {
  const dashboards = DASHBOARDS.map((spec) => ({
    path: `dashboards/${spec.uid}.json`,
    content: `${JSON.stringify(buildDashboard(spec), null, 2)}\n`,
  }));
  return [
    ...dashboards,
    { path: 'alerts/recording_rules.yaml', content: recordingFile(objectiveRecordings(trueSpan)) },
    { path: 'alerts/alerts.yaml', content: alertFile(alertsOf(trueSpan), trueSpan) },
    { path: 'METRICS.md', content: await renderMetricReference() },
  ];
}
