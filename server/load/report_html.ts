/** A load test's report as one HTML page that needs nothing else: no script, no request, dark where the reader's screen is. */
import type { Miss } from './assertions.ts';
import type { Quantiles } from './latencies.ts';
import { shownUrl } from './load_plan.ts';
import type { LoadReport } from './load_report.ts';
import { FAULT_TITLES, LATENCY_TITLES, percent, renderMs, seconds } from './report_text.ts';
import { escape, renderBarChart, renderLineChart } from './svg_chart.ts';

export interface HtmlOptions {
  /** When the load ended. */
  readonly now: Date;
  /** What was asserted, as it was written; empty if nothing was. */
  readonly asserted: readonly string[];
  readonly missed: readonly Miss[];
}

const STYLE = `
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #16202c; --dim: #5d6b7a; --edge: #dfe4ea;
  --p50: #1f77d0; --p95: #e08a00; --max: #d23f57; --good: #16834a; --bad: #c62d42; --sessions: #7a52cc; }
@media (prefers-color-scheme: dark) { :root { --page: #10151b; --card: #19212a; --text: #e8edf2; --dim: #93a1b0;
  --edge: #2b3643; --p50: #5aa9f5; --p95: #f5b04a; --max: #f2748a; --good: #4cc38a; --bad: #f2748a; --sessions: #ab8df0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 16px; margin: 0 0 8px; }
.sub { color: var(--dim); margin: 4px 0 24px; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 18px 20px; margin: 0 0 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px; margin: 0 0 16px; }
.tile { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 14px 16px; }
.tile b { display: block; font-size: 21px; white-space: nowrap; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--dim); font-size: 13px; }
.good { color: var(--good); } .bad { color: var(--bad); }
.verdict { font-size: 17px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 8px; border-top: 1px solid var(--edge); } th { color: var(--dim); font-weight: 500; border: 0; }
th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; } svg { display: block; width: 100%; height: auto; }
.grid { stroke: var(--edge); } .tick { fill: var(--dim); font-size: 12px; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dot { stroke: none; } .bar { fill: var(--p50); }
.mark { stroke: var(--max); stroke-dasharray: 4 3; } .mark-label { fill: var(--max); font-size: 12px; paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
.line.p50 { stroke: var(--p50); } .line.p95 { stroke: var(--p95); } .line.max { stroke: var(--max); } .line.sessions { stroke: var(--sessions); }
.dot.p50 { fill: var(--p50); } .dot.p95 { fill: var(--p95); } .dot.max { fill: var(--max); } .dot.sessions { fill: var(--sessions); }
.legend { display: flex; gap: 16px; color: var(--dim); font-size: 13px; margin: 0 0 6px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
footer { color: var(--dim); font-size: 13px; }
`;

/** The page. Everything that came from outside is escaped. */
export function renderHtml(report: LoadReport, options: HtmlOptions): string {
  const { plan, elapsedMs } = report;
  const when = options.now.toISOString().replace('T', ' ').slice(0, 16);
  const about = `${shownUrl(plan.url)} · ${plan.dialect} · ${plan.encoding} · talking ${percent(plan.talkRatio)} of the time · ${seconds(elapsedMs)} · ${when} UTC`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Earwitness load test</title><style>${STYLE}</style></head><body><main>
<h1>Load test</h1><p class="sub">${escape(about)}</p>
${verdict(report, options)}
${tiles(report)}
${latencyCard(report)}
${chartCards(report)}
${troubleCard(report)}
<footer>Earwitness ${escape(report.version)}. Every latency counts from the moment at which the audio was due, so that a server that stands still cannot hide it. Generating the load took ${report.generatorCpuRatio.toFixed(2)} processors.</footer>
</main></body></html>
`;
}

function verdict({ wasInterrupted }: LoadReport, { asserted, missed }: HtmlOptions): string {
  const interrupted = wasInterrupted
    ? '<p class="bad">Interrupted: these are the figures until then.</p>'
    : '';
  if (asserted.length === 0) return interrupted === '' ? '' : card('Interrupted', interrupted);
  const isKept = missed.length === 0;
  const title = isKept
    ? 'Every assertion was kept'
    : `${missed.length} of ${asserted.length} assertions missed`;
  const list = isKept ? asserted : missed.map(({ text }) => text);
  const items = list.map((text) => `<li>${escape(text)}</li>`).join('');
  return `<section class="card"><div class="verdict ${isKept ? 'good' : 'bad'}">${title}</div><ul>${items}</ul>${interrupted}</section>`;
}

function tiles(report: LoadReport): string {
  const { sessions, latencyMs, faults } = report;
  const faultCount = sumOf(Object.values(faults) as number[]);
  const unserved = sessions.refused + sessions.failed;
  return `<div class="tiles">${[
    tile(String(sessions.peak), 'sessions at a time'),
    tile(`${renderMs(latencyMs.final.p95)} ms`, 'end decided → final, p95'),
    tile(`${renderMs(latencyMs.trueEnd.p95)} ms`, 'last sound → final, p95'),
    tile(percent(report.wordErrorRate), 'word error rate'),
    tile(String(faultCount), 'lost, repeated, crossed …', faultCount === 0 ? 'good' : 'bad'),
    tile(String(unserved), 'sessions refused or failed', unserved === 0 ? 'good' : 'bad'),
  ].join('')}</div>`;
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function tile(value: string, name: string, className = ''): string {
  return `<div class="tile"><b class="${className}">${escape(value)}</b><span>${escape(name)}</span></div>`;
}

function latencyCard({ latencyMs }: LoadReport): string {
  const rows = Object.entries(LATENCY_TITLES).map(([key, title]) => {
    const { count, p50, p95, p99, max }: Quantiles = latencyMs[key as keyof typeof latencyMs];
    return row([title, String(count), ...[p50, p95, p99, max].map(renderMs)]);
  });
  const head = ['ms', 'count', 'p50', 'p95', 'p99', 'max'].map((name) => `<th>${name}</th>`).join('');
  return card('Latency', `<div class="scroll"><table><tr>${head}</tr>${rows.join('')}</table></div>`);
}

function chartCards({ moments, histogram, latencyMs }: LoadReport): string {
  const atMs = moments.map((moment) => moment.atMs);
  const over = (pick: (quantiles: Quantiles) => number): number[] =>
    moments.map(({ trueEnd }) => pick(trueEnd));
  const lines = [
    { name: 'max', className: 'max', values: over(({ max }) => max) },
    { name: 'p95', className: 'p95', values: over(({ p95 }) => p95) },
    { name: 'p50', className: 'p50', values: over(({ p50 }) => p50) },
  ];
  const title = 'Last sound → final, over time';
  const sessions = 'Sessions over time';
  const values = moments.map(({ sessionCount }) => sessionCount);
  const sessionLines = [{ name: 'sessions', className: 'sessions', values }];
  const marks = (['p50', 'p95', 'p99'] as const).map((name) => ({ name, atMs: latencyMs.trueEnd[name] }));
  const bars = 'Last sound → final, how often';
  return [
    card(title, `${legend(lines)}${renderLineChart({ title, unit: 'ms', atMs, lines })}`),
    card(sessions, renderLineChart({ title: sessions, unit: '', atMs, lines: sessionLines })),
    card(bars, renderBarChart({ title: bars, unit: '', bars: histogram, marks })),
  ].join('\n');
}

function legend(lines: readonly { readonly name: string; readonly className: string }[]): string {
  const items = lines.map(
    ({ name, className }) => `<span><i style="background:var(--${className})"></i>${name}</span>`,
  );
  return `<div class="legend">${items.join('')}</div>`;
}

function troubleCard(report: LoadReport): string {
  const { faults, failures, refusals, notices, reconnects, sessions } = report;
  const rows = [
    ...Object.entries(FAULT_TITLES).map(
      ([key, title]) => [title, faults[key as keyof typeof faults]] as const,
    ),
    ['reconnects', reconnects] as const,
    ['sessions refused', sessions.refused] as const,
    ...Object.entries(refusals).map(([status, count]) => [`answers HTTP ${status}`, count] as const),
    ...Object.entries(notices).map(([code, count]) => [`notices: ${code}`, count] as const),
    ...Object.entries(failures).map(([reason, count]) => [`failed: ${reason}`, count] as const),
  ];
  const table = rows.map(([name, count]) => row([name, String(count)])).join('');
  return card('What went wrong', `<table>${table}</table>`);
}

function row(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${escape(cell)}</td>`).join('')}</tr>`;
}

function card(title: string, content: string): string {
  return `<section class="card"><h2>${escape(title)}</h2>${content}</section>`;
}
