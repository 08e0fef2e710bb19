/** A dashboard with its data as one SVG, for documents: what Grafana would show, without Grafana. */
import type { DashboardSpec, Panel } from './dashboard.ts';

/** What a query gave: pairs of Unix time in seconds and a value; NaN where there was none. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [atSeconds: number, value: number])[];
}

export interface Period {
  readonly fromSeconds: number;
  readonly toSeconds: number;
}

/** The data of a panel. */
export type LinesOf = (panel: Panel) => readonly Line[];

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const WIDTH = 1_200;
const GAP = 10;
const ROW_TITLE_HEIGHT = 26;
const FIGURE_HEIGHT = 84;
const CHART_HEIGHT = 190;
const COLOURS = ['#3274d9', '#e0752d', '#37872d', '#8f3bb8', '#c4162a', '#b08800', '#0a8a9e', '#5f5f6b'];
const [GOOD, BAD, TEXT, FAINT, LINE] = ['#37872d', '#c4162a', '#24292e', '#6b7280', '#e3e5e8'];

/** Draws all rows under each other. */
export function drawDashboard(spec: DashboardSpec, linesOf: LinesOf, period: Period): string {
  const parts: string[] = [];
  let y = GAP;
  for (const { title, panels } of spec.rows) {
    parts.push(text({ x: GAP, y: y + 17 }, title, 'font-weight="600" font-size="15"'));
    y += ROW_TITLE_HEIGHT;
    const height = panels.every(({ kind }) => kind === 'figure') ? FIGURE_HEIGHT : CHART_HEIGHT;
    const width = (WIDTH - GAP) / panels.length - GAP;
    for (const [i, panel] of panels.entries()) {
      const box = { x: GAP + i * (width + GAP), y, width, height };
      parts.push(frame(panel, box), drawPanel(panel, linesOf(panel), { box, period }));
    }
    y += height + GAP;
  }
  const style = `font-family="Inter, system-ui, sans-serif" fill="${TEXT}"`;
  const size = `viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${style}>
<title>${escape(spec.title)}</title>
<rect width="100%" height="100%" fill="#f4f5f7"/>
${parts.join('\n')}
</svg>
`;
}

function frame({ title }: Panel, { x, y, width, height }: Box): string {
  const border = `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="3" fill="#fff" stroke="${LINE}"/>`;
  return `${border}${text({ x: x + 10, y: y + 19 }, title, 'font-size="13"')}`;
}

interface Place {
  readonly box: Box;
  readonly period: Period;
}

function drawPanel(panel: Panel, lines: readonly Line[], place: Place): string {
  return panel.kind === 'figure' ? drawFigure(panel, lines, place.box) : drawChart(panel, lines, place);
}

function drawFigure(panel: Panel, lines: readonly Line[], { x, y }: Box): string {
  const value = lines[0]?.points.at(-1)?.[1] ?? NaN;
  const isBad = value > (panel.ceiling ?? Infinity) || value < (panel.floor ?? -Infinity);
  const style = `font-size="30" font-weight="600" fill="${isBad ? BAD : GOOD}"`;
  return text({ x: x + 10, y: y + 62 }, format(panel.unit, value), style);
}

/** From values and times to places in the box. */
interface Scale {
  readonly x: (atSeconds: number) => number;
  readonly y: (value: number) => number;
  readonly max: number;
  readonly plot: Box;
}

function drawChart(panel: Panel, lines: readonly Line[], { box, period }: Place): string {
  const drawn = panel.kind === 'stack' ? stacked(lines) : lines;
  const scale = scaleOf(panel, drawn, { box, period });
  const shapes = drawn.map(({ points }, i) => {
    const colour = COLOURS[i % COLOURS.length] ?? TEXT;
    return drawLine(points, scale, { colour, isFilled: panel.kind === 'stack' });
  });
  // The lower parts of a stack lie over the higher ones.
  if (panel.kind === 'stack') shapes.reverse();
  return [
    grid(panel, scale),
    ...shapes,
    bound(panel, scale),
    timeAxis(period, scale),
    legend(lines, box),
  ].join('');
}

/** Each line on top of those before it; all have the same times. */
function stacked(lines: readonly Line[]): readonly Line[] {
  const heights = new Map<number, number>();
  return lines.map(({ name, points }) => ({
    name,
    points: points.map(([at, value]) => {
      const top = (heights.get(at) ?? 0) + (Number.isFinite(value) ? value : 0);
      heights.set(at, top);
      return [at, top] as const;
    }),
  }));
}

function scaleOf({ ceiling = 0 }: Panel, lines: readonly Line[], { box, period }: Place): Scale {
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite);
  const highest = Math.max(0, ...values);
  // A bound that is far above all values would flatten them.
  const max = niceCeiling(ceiling > 0 && ceiling < 4 * highest ? Math.max(highest, ceiling) : highest);
  const plot = { x: box.x + 52, y: box.y + 30, width: box.width - 64, height: box.height - 84 };
  const { fromSeconds, toSeconds } = period;
  return {
    x: (atSeconds) => plot.x + ((atSeconds - fromSeconds) / (toSeconds - fromSeconds)) * plot.width,
    y: (value) => plot.y + plot.height * (1 - value / max),
    max,
    plot,
  };
}

/** 1, 2 or 5 times a power of ten. */
function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

function grid({ unit }: Panel, { y, max, plot }: Scale): string {
  return [0, 0.5, 1]
    .map((share) => {
      const at = round(y(share * max));
      const rule = `<line x1="${plot.x}" x2="${round(plot.x + plot.width)}" y1="${at}" y2="${at}" stroke="${LINE}"/>`;
      const style = `font-size="11" text-anchor="end" fill="${FAINT}"`;
      return `${rule}${text({ x: plot.x - 6, y: at + 4 }, format(unit, share * max), style)}`;
    })
    .join('');
}

function drawLine(
  points: Line['points'],
  { x, y }: Scale,
  { colour, isFilled }: { readonly colour: string; readonly isFilled: boolean },
): string {
  const runs: string[][] = [[]];
  for (const [at, value] of points) {
    if (Number.isFinite(value)) runs.at(-1)?.push(`${round(x(at))},${round(y(value))}`);
    else runs.push([]);
  }
  return runs
    .filter((run) => run.length > 0)
    .map((run) => {
      const [first = '', last = ''] = [run[0], run.at(-1)];
      const foot = round(y(0));
      const area = `M${first.split(',')[0] ?? ''},${foot}L${run.join('L')}L${last.split(',')[0] ?? ''},${foot}Z`;
      const fill = isFilled ? `<path d="${area}" fill="${colour}" fill-opacity="0.35"/>` : '';
      return `${fill}<path d="M${run.join('L')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
    })
    .join('');
}

function bound({ ceiling, floor }: Panel, { y, max, plot }: Scale): string {
  const value = ceiling ?? floor;
  if (value === undefined || value > max) return '';
  const at = round(y(value));
  return `<line x1="${plot.x}" x2="${round(plot.x + plot.width)}" y1="${at}" y2="${at}" stroke="${BAD}" stroke-dasharray="5 4"/>`;
}

function timeAxis({ fromSeconds, toSeconds }: Period, { x, plot }: Scale): string {
  return [0, 0.5, 1]
    .map((share) => {
      const passedSeconds = share * (toSeconds - fromSeconds);
      const anchor = ['start', 'middle', 'end'][share * 2] ?? 'middle';
      const label = `${Math.floor(passedSeconds / 60)}:${String(Math.round(passedSeconds % 60)).padStart(2, '0')}`;
      const style = `font-size="11" text-anchor="${anchor}" fill="${FAINT}"`;
      return text({ x: x(fromSeconds + passedSeconds), y: plot.y + plot.height + 15 }, label, style);
    })
    .join('');
}

/** As many names as fit on one line. */
function legend(lines: readonly Line[], { x, y, width, height }: Box): string {
  let left = x + 12;
  const shown: string[] = [];
  for (const [i, { name }] of lines.entries()) {
    const needed = 20 + name.length * 6.2;
    if (left + needed > x + width) break;
    const colour = COLOURS[i % COLOURS.length] ?? TEXT;
    shown.push(`<rect x="${round(left)}" y="${y + height - 24}" width="10" height="3" fill="${colour}"/>`);
    shown.push(text({ x: left + 14, y: y + height - 18 }, name, `font-size="11" fill="${FAINT}"`));
    left += needed + 6;
  }
  return shown.join('');
}

function format(unit: Panel['unit'], value: number): string {
  if (!Number.isFinite(value)) return '–';
  switch (unit) {
    case 'seconds':
      return value < 1 ? `${Number((value * 1_000).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`;
    case 'share':
      return `${Number((value * 100).toPrecision(3))} %`;
    case 'bytes':
    case 'bytesPerSecond':
      return value < 1e6
        ? `${Number((value / 1e3).toPrecision(3))} kB`
        : `${Number((value / 1e6).toPrecision(3))} MB`;
    case 'perSecond':
    case 'count':
    case 'cores':
    case 'date':
      return String(Number(value.toPrecision(3)));
  }
}

function text({ x, y }: Pick<Box, 'x' | 'y'>, content: string, style: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${style}>${escape(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
