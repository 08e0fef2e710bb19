/** Charts as SVG text: lines over time and bars, drawn in the colours of the page around them (CSS variables). */

/** One line of a chart; NaN where there is nothing, which the line passes over. */
export interface ChartLine {
  readonly name: string;
  /** CSS class that gives the colour. */
  readonly className: string;
  readonly values: readonly number[];
}

export interface LineChart {
  readonly title: string;
  readonly unit: string;
  /** Where the values are, in ms, evenly spaced. */
  readonly atMs: readonly number[];
  readonly lines: readonly ChartLine[];
}

export interface BarChart {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly { readonly untilMs: number; readonly count: number }[];
  /** Marks on the axis below, such as quantiles. */
  readonly marks: readonly { readonly name: string; readonly atMs: number }[];
}

const WIDTH = 880;
const HEIGHT = 260;
const MARGIN = { left: 72, right: 32, top: 12, bottom: 28 } as const;
const PLOT_WIDTH = WIDTH - MARGIN.left - MARGIN.right;
const PLOT_HEIGHT = HEIGHT - MARGIN.top - MARGIN.bottom;
/** Steps of an axis, at most; fewer where the steps would not be round. */
const STEP_MAX_COUNT = 6;

export function renderLineChart({ title, unit, atMs, lines }: LineChart): string {
  const ticks = ticksTo(Math.max(0, ...lines.flatMap(({ values }) => values.filter(Number.isFinite))));
  const top = ticks.at(-1) ?? 1;
  const lastMs = atMs.at(-1) ?? 0;
  const x = (ms: number): number => MARGIN.left + (lastMs === 0 ? 0 : (PLOT_WIDTH * ms) / lastMs);
  const paths = lines.map(({ name, className, values }) => {
    const points = values.map((value, i) => ({ x: x(atMs[i] ?? 0), y: yOf(value, top) }));
    const dots = points
      .map((point, i) => ({ ...point, value: values[i] ?? NaN, ms: atMs[i] ?? 0 }))
      .filter(({ value }) => Number.isFinite(value))
      .map(
        (point) =>
          `<circle class="dot ${className}" cx="${fixed(point.x)}" cy="${fixed(point.y)}" r="3"><title>${escape(name)}: ${fixed(point.value)} ${escape(unit)} at ${fixed(point.ms / 1_000)} s</title></circle>`,
      );
    return `<path class="line ${className}" d="${pathOf(points)}"/>${dots.join('')}`;
  });
  const times = ticksTo(lastMs / 1_000).filter((second) => second * 1_000 <= lastMs);
  const labels = times.map((second) => xLabel(x(second * 1_000), `${trimmed(second)} s`));
  return svg(title, [...grid(ticks, unit), ...labels, ...paths]);
}

export function renderBarChart({ title, unit, bars, marks }: BarChart): string {
  const ticks = ticksTo(Math.max(0, ...bars.map(({ count }) => count)));
  const top = ticks.at(-1) ?? 1;
  const lastMs = bars.at(-1)?.untilMs ?? 0;
  const x = (ms: number): number => MARGIN.left + (lastMs === 0 ? 0 : (PLOT_WIDTH * ms) / lastMs);
  const width = PLOT_WIDTH / Math.max(1, bars.length);
  const columns = bars.map(({ untilMs, count }, i) => {
    const fromMs = bars[i - 1]?.untilMs ?? 0;
    const y = yOf(count, top);
    const height = MARGIN.top + PLOT_HEIGHT - y;
    return `<rect class="bar" x="${fixed(x(fromMs) + 1)}" y="${fixed(y)}" width="${fixed(Math.max(1, width - 2))}" height="${fixed(height)}" rx="2"><title>${count} between ${fromMs} and ${untilMs} ms</title></rect>`;
  });
  const labels = ticksTo(lastMs)
    .filter((ms) => ms <= lastMs)
    .map((ms) => xLabel(x(ms), `${trimmed(ms)} ms`));
  const lines = marks
    .filter(({ atMs }) => Number.isFinite(atMs))
    .map(
      ({ name, atMs }, i) =>
        `<line class="mark" x1="${fixed(x(atMs))}" x2="${fixed(x(atMs))}" y1="${MARGIN.top}" y2="${MARGIN.top + PLOT_HEIGHT}"/>` +
        `<text class="mark-label" x="${fixed(x(atMs) - 4)}" y="${MARGIN.top + 12 + 14 * i}" text-anchor="end">${escape(name)}</text>`,
    );
  return svg(title, [...grid(ticks, unit), ...labels, ...columns, ...lines]);
}

/** Text that is safe inside HTML, and inside an attribute in double quotes. */
export function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? character);
}

function svg(title: string, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)}">${parts.join('')}</svg>`;
}

function grid(ticks: readonly number[], unit: string): string[] {
  const top = ticks.at(-1) ?? 1;
  return ticks.map((value) => {
    const y = fixed(yOf(value, top));
    const label = `${trimmed(value)}${value === top ? ` ${unit}` : ''}`;
    return (
      `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y}" y2="${y}"/>` +
      `<text class="tick" x="${MARGIN.left - 8}" y="${y}" dy="4" text-anchor="end">${escape(label)}</text>`
    );
  });
}

function xLabel(x: number, label: string): string {
  return `<text class="tick" x="${fixed(x)}" y="${HEIGHT - 8}" text-anchor="middle">${label}</text>`;
}

function pathOf(points: readonly { readonly x: number; readonly y: number }[]): string {
  return points
    .filter(({ y }) => Number.isFinite(y))
    .map(({ x, y }, i) => `${i === 0 ? 'M' : 'L'}${fixed(x)} ${fixed(y)}`)
    .join('');
}

function yOf(value: number, top: number): number {
  return MARGIN.top + PLOT_HEIGHT * (1 - value / top);
}

/** Round numbers from 0 to the first that is not below `most`: steps of 1, 2 or 5 times a power of ten. */
function ticksTo(most: number): number[] {
  if (most <= 0) return [0, 1];
  const least = most / STEP_MAX_COUNT;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5].map((times) => times * power).find((candidate) => candidate >= least) ?? 10 * power;
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => i * step);
}

function trimmed(value: number): string {
  return String(Number(value.toPrecision(4)));
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}
