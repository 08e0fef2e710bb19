/** `node dist/grafana/render_main.js URL [MINUTES]`: the overview, from the data of a Prometheus, as SVG on stdout. */
import { OVERVIEW } from './overview_dashboard.ts';
import { drawDashboard, type Line } from './picture.ts';
import { fetchLines } from './prometheus_data.ts';
import type { Panel } from './dashboard.ts';

const [url = 'http://127.0.0.1:9090', minutes = '60'] = process.argv.slice(2);
const toSeconds = Math.floor(new Date().getTime() / 1_000);
const period = { fromSeconds: toSeconds - Number(minutes) * 60, toSeconds };
const lines = new Map<Panel, readonly Line[]>();
for (const panel of OVERVIEW.rows.flatMap(({ panels }) => panels)) {
  lines.set(panel, await fetchLines(url, panel, period));
}
process.stdout.write(drawDashboard(OVERVIEW, (panel) => lines.get(panel) ?? [], period));
