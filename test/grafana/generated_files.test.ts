import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { alertsOf } from '../../grafana/alerts.ts';
import { buildDashboard, type Panel } from '../../grafana/dashboard.ts';
import { DASHBOARDS } from '../../grafana/dashboards.ts';
import { generatedFiles } from '../../grafana/generated_files.ts';
import {
  FINAL_OBJECTIVE_SECONDS,
  PARTIAL_OBJECTIVE_SECONDS,
  SPEECH_FINAL_OBJECTIVE_SECONDS,
} from '../../grafana/objectives.ts';
import { drawDashboard } from '../../grafana/picture.ts';
import { Queries } from '../../grafana/promql.ts';
import { trueSpan } from '../../grafana/rules.ts';
import { METRICS } from '../../pipeline/telemetry.ts';

const FOLDER = new URL('../../../grafana/', import.meta.url);
const panels: readonly Panel[] = DASHBOARDS.flatMap(({ rows }) => rows.flatMap((row) => row.panels));

interface PlacedPanel {
  readonly id: number;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

void describe('dashboards and rules', () => {
  it('[OBS1] every generated file is as the code has it (npm run observability writes them)', async () => {
    for (const { path, content } of await generatedFiles()) {
      assert.equal(readFileSync(new URL(path, FOLDER), 'utf8'), content, path);
    }
    const known = (await generatedFiles()).map(({ path }) => path);
    for (const folder of ['dashboards', 'alerts'])
      for (const name of readdirSync(new URL(folder, FOLDER)))
        assert(known.includes(`${folder}/${name}`), name);
  });

  it('[OBS2] every panel says what it shows, what good looks like and what to do', () => {
    for (const { title, shows, good, otherwise, queries } of panels) {
      for (const text of [shows, good, otherwise]) assert.match(text, /\S.*[.:]$/s, title);
      assert(queries.length > 0, title);
    }
  });

  it('[OBS3] panels have ids of their own and do not overlap; links lead to dashboards that are there', () => {
    const uids = new Set<string>(DASHBOARDS.map(({ uid }) => uid));
    for (const spec of DASHBOARDS) {
      const dashboard = JSON.parse(JSON.stringify(buildDashboard(spec))) as {
        readonly panels: readonly PlacedPanel[];
      };
      assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length, spec.title);
      const taken = new Set<string>();
      for (const { gridPos } of dashboard.panels) {
        assert(gridPos.x + gridPos.w <= 24, spec.title);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            assert(!taken.has(`${x} ${y}`), `${spec.title}: two panels at ${x} ${y}`);
            taken.add(`${x} ${y}`);
          }
      }
      for (const [, uid = ''] of JSON.stringify(dashboard).matchAll(/"\/d\/([\w-]+)/g))
        assert(uids.has(uid), uid);
    }
    for (const { dashboard } of alertsOf(trueSpan)) assert(uids.has(dashboard), dashboard);
  });

  it('[OBS4] every alert has a name of its own, a severity, its meaning and numbered steps', () => {
    const file = readFileSync(new URL('alerts/alerts.yaml', FOLDER), 'utf8');
    const { groups } = parse(file) as {
      readonly groups: readonly {
        readonly rules: readonly { readonly alert: string; readonly annotations: Record<string, string> }[];
      }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
    assert.equal(rules.length, alertsOf(trueSpan).length);
    for (const { alert, annotations } of rules) {
      assert.match(annotations['runbook'] ?? '', /^1\. .* 2\. /, alert);
      assert((annotations['description'] ?? '').length > 0, alert);
    }
    // One that is full stays ready for its own sessions: its readiness moves nobody.
    const refusing = rules.find(({ alert }) => alert === 'EarwitnessRefusing');
    assert.match(refusing?.annotations['runbook'] ?? '', /on a 503, as deploy\/nginx\.conf does/);
    assert.match(
      readFileSync(new URL('../deploy/nginx.conf', FOLDER), 'utf8'),
      /proxy_next_upstream .*http_503/,
    );
  });

  it('[MET10] the objectives are bounds of the buckets, so that what misses them can be counted', () => {
    for (const [name, objective] of [
      ['final_latency_seconds', FINAL_OBJECTIVE_SECONDS],
      ['partial_latency_seconds', PARTIAL_OBJECTIVE_SECONDS],
      ['speech_final_latency_seconds', SPEECH_FINAL_OBJECTIVE_SECONDS],
    ] as const) {
      assert((METRICS[name].buckets as readonly number[]).includes(objective), name);
    }
    const query = new Queries({ matchers: '', window: '5m' });
    assert.throws(() => query.observedAbove('final_latency_seconds', 0.45), /no bucket 0\.45/);
  });

  it('[OBS9] the picture has every panel of the dashboard, its data inside its frame', () => {
    const [overview] = DASHBOARDS;
    assert(overview !== undefined);
    const period = { fromSeconds: 1_000, toSeconds: 1_060 };
    const points = Array.from(
      { length: 61 },
      (_, i) => [1_000 + i, i % 7 === 3 ? NaN : Math.sin(i) ** 2] as const,
    );
    const svg = drawDashboard(overview, () => [{ name: 'a<b', points }], period);
    for (const { title } of overview.rows.flatMap((row) => row.panels))
      assert(svg.includes(`>${title}<`), title);
    assert.doesNotMatch(svg, /NaN|Infinity|undefined|a<b/);
    for (const [, x = '', y = ''] of svg.matchAll(/[ML](-?[\d.]+),(-?[\d.]+)/g)) {
      assert(Number(x) >= 0 && Number(x) <= 1_200 && Number(y) >= 0, `${x},${y}`);
    }
  });
});
