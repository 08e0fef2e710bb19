/** A load test's report for a terminal. */
import { renderTable } from '../commands/text_table.ts';
import type { Quantiles } from './latencies.ts';
import type { LoadProgress } from './load_part.ts';
import type { LoadReport } from './load_report.ts';

/** Lateness of the load itself from which on its other figures are not to be trusted. */
const LATENESS_SUSPECT_MS = 20;

/** What each latency is, in the words of the report; in this order. */
export const LATENCY_TITLES = {
  open: 'session asked for → opened',
  firstPartial: 'first sound → first partial',
  partialGap: 'between partials while speaking',
  final: 'end decided → final',
  trueEnd: 'last sound → final',
  lateness: 'lateness of the load itself',
} as const satisfies Record<keyof LoadReport['latencyMs'], string>;

/** What each fault is, in the words of the report. */
export const FAULT_TITLES = {
  lost: 'utterances lost',
  unanswered: 'without final',
  repeated: 'finals repeated',
  disordered: 'out of order',
  crossed: "another session's text",
  invented: 'text where nobody spoke',
} as const satisfies Record<keyof LoadReport['faults'], string>;

/** The whole report, each line ended. */
export function renderReport(report: LoadReport): string {
  const { sessions, sentences, finals, faults, reconnects } = report;
  const refusals = Object.values(report.refusals).reduce((sum, count) => sum + count, 0);
  const lines = [
    `${sessions.total} sessions (at most ${sessions.peak} at a time) in ${seconds(report.elapsedMs)}: ` +
      `${sessions.done} done, ${sessions.refused} refused, ${sessions.failed} failed, ${sessions.interrupted} interrupted`,
    `${sentences} sentences, ${finals} finals, word error rate ${percent(report.wordErrorRate)}, ` +
      `${reconnects} reconnects, ${refusals} answers that asked for patience`,
    Object.entries(FAULT_TITLES)
      .map(([key, title]) => `${title} ${faults[key as keyof typeof faults]}`)
      .join(', '),
  ];
  return `${lines.join('\n')}\n\n${latencyTable(report)}${remarks(report)}`;
}

function latencyTable({ latencyMs }: LoadReport): string {
  const rows = Object.entries(LATENCY_TITLES).map(([key, title]) => {
    const { count, p50, p95, p99, max }: Quantiles = latencyMs[key as keyof typeof latencyMs];
    return [title, String(count).padStart(7), ...[p50, p95, p99, max].map((ms) => renderMs(ms).padStart(8))];
  });
  const titles = ['ms', 'count'.padStart(7), ...['p50', 'p95', 'p99', 'max'].map((name) => name.padStart(8))];
  return renderTable([titles, ...rows]);
}

function remarks(report: LoadReport): string {
  const lines = [
    ...Object.entries(report.failures).map(([reason, count]) => `${count} sessions failed: ${reason}`),
    ...Object.entries(report.notices).map(([code, count]) => `${count} notices: ${code}`),
  ];
  if (report.sentences === 0) lines.push('nobody had the time to say a sentence; try a longer --duration');
  if (report.wasInterrupted) lines.push('interrupted: these are the figures until then');
  if (report.latencyMs.lateness.p99 > LATENESS_SUSPECT_MS) {
    lines.push('the load itself was late, so its figures say less about the server; try more --processes');
  }
  const cpu = `generating took ${report.generatorCpuRatio.toFixed(2)} processors`;
  return ['', cpu, ...lines].map((line) => `${line}\n`).join('');
}

/** One line about what is going on. */
export function renderProgress(progress: LoadProgress, durationMs: number): string {
  const { elapsedMs, openCount, finalCount, refusedCount, failedCount } = progress;
  const troubles = [
    ...(refusedCount > 0 ? [`${refusedCount} refused`] : []),
    ...(failedCount > 0 ? [`${failedCount} failed`] : []),
  ];
  const time =
    elapsedMs < durationMs
      ? `${seconds(elapsedMs)} of ${seconds(durationMs)}`
      : 'waiting for the last finals';
  return `${bar(elapsedMs / durationMs)} ${[time, `${openCount} sessions`, `${finalCount} finals`, ...troubles].join(' · ')}`;
}

/** A bar of 20 characters; `share` is how much of it is full. */
export function bar(share: number): string {
  const full = Math.round(20 * Math.min(1, Math.max(0, share)));
  return `${'█'.repeat(full)}${'░'.repeat(20 - full)}`;
}

/** A latency in ms, `–` if there was none. */
export function renderMs(ms: number): string {
  return Number.isNaN(ms) ? '–' : ms.toFixed(ms < 10 ? 1 : 0);
}

export function percent(share: number): string {
  return Number.isNaN(share) ? '–' : `${(100 * share).toFixed(1)} %`;
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(0)} s`;
}
