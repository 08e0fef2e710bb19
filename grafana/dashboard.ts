/** A dashboard as data, and what Grafana's SDK makes of it. */
import * as common from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
  type Dashboard,
  type Threshold,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** What a value counts; Grafana's names for it. */
export const UNITS = {
  seconds: 's',
  bytes: 'bytes',
  bytesPerSecond: 'Bps',
  perSecond: 'cps',
  share: 'percentunit',
  count: 'short',
  /** Unix time. */
  date: 'dateTimeFromNow',
  cores: 'none',
} as const;

export interface Query {
  readonly expr: string;
  /** `{{label}}` stands for the value of a label. */
  readonly legend: string;
}

/** One panel. */
export interface Panel {
  /** A line per series; the same filled and stacked; one large figure; a row per series, its labels as columns. */
  readonly kind: 'lines' | 'stack' | 'figure' | 'table';
  readonly title: string;
  readonly shows: string;
  /** What it looks like when all is well, and what to do when it does not. */
  readonly good: string;
  readonly otherwise: string;
  readonly unit: keyof typeof UNITS;
  readonly queries: readonly Query[];
  /** Where it begins to be bad: above `ceiling`, below `floor`. */
  readonly ceiling?: number;
  readonly floor?: number;
  /** Where to read on. */
  readonly next?: DashboardUid;
  /** True if there is nothing to be shown on most machines. */
  readonly isRare?: boolean;
}

export interface DashboardSpec {
  readonly uid: DashboardUid;
  readonly title: string;
  readonly description: string;
  readonly rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[];
}

export type DashboardUid =
  'earwitness-overview' | 'earwitness-pipeline' | 'earwitness-workers' | 'earwitness-fleet';

/** In queries of panels: the instances that were chosen, and the window that fits the resolution. */
export const PANEL_SCOPE = { matchers: 'instance=~"$instance"', window: '$__rate_interval' } as const;

const TAG = 'earwitness';
const GRID_COLUMNS_COUNT = 24;
const PANEL_ROWS_COUNT = 8;
const FIGURE_ROWS_COUNT = 4;
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const [GOOD, BAD] = ['green', 'red'];

/* eslint-disable @typescript-eslint/no-deprecated -- the newer schema is not what Grafana before 13 provisions from files */
/** The dashboard as Grafana has it in JSON. */
export function buildDashboard({ uid, title, description, rows }: DashboardSpec): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags([TAG])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .withVariable(new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'))
    .withVariable(instanceVariable())
    .link(
      new DashboardLinkBuilder('Earwitness')
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .includeVars(true)
        .keepTime(true),
    );
  let nextId = 1;
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title).id(nextId++));
    for (const panel of row.panels) builder.withPanel(buildPanel(panel, row.panels.length).id(nextId++));
  }
  return builder.build();
}
/* eslint-enable @typescript-eslint/no-deprecated */

function instanceVariable(): QueryVariableBuilder {
  return new QueryVariableBuilder('instance')
    .label('Instance')
    .datasource(DATASOURCE)
    .query({ query: 'label_values(earwitness_build_info, instance)', refId: 'instance' })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .includeAll(true)
    .allValue('.*')
    .multi(true)
    .current({ selected: true, text: 'All', value: '$__all' });
}

/** What an operator reads under the panel's title. */
export function describePanel({ shows, good, otherwise }: Panel): string {
  return `${shows}\n\n**Good:** ${good}\n\n**Otherwise:** ${otherwise}`;
}

type AnyBuilder = TimeSeriesBuilder | StatBuilder | TableBuilder;

function buildPanel(panel: Panel, countInRow: number): AnyBuilder {
  const builder = emptyPanel(panel);
  builder
    .title(panel.title)
    .description(describePanel(panel))
    .datasource(DATASOURCE)
    .unit(UNITS[panel.unit])
    .span(Math.floor(GRID_COLUMNS_COUNT / countInRow))
    .height(panel.kind === 'figure' ? FIGURE_ROWS_COUNT : PANEL_ROWS_COUNT)
    .thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(thresholdsOf(panel)));
  for (const [index, { expr, legend }] of panel.queries.entries()) {
    const query = new DataqueryBuilder()
      .refId(String.fromCharCode(65 + index))
      .expr(expr)
      .legendFormat(legend);
    builder.withTarget(
      panel.kind === 'table' ? query.instant().format(PromQueryFormat.Table) : query.range(),
    );
  }
  if (panel.next !== undefined) builder.dataLinks([linkTo(panel.next)]);
  return builder;
}

function emptyPanel({ kind, unit, ceiling, floor }: Panel): AnyBuilder {
  if (kind === 'figure') return new StatBuilder().colorMode(common.BigValueColorMode.Value);
  if (kind === 'table') return new TableBuilder();
  const builder = new TimeSeriesBuilder()
    .lineWidth(1)
    .fillOpacity(kind === 'stack' ? 30 : 0)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi));
  if (unit !== 'date') builder.min(0);
  if (unit === 'share') builder.axisSoftMax(1);
  if (kind === 'stack') {
    builder.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'));
  }
  if (ceiling !== undefined || floor !== undefined) {
    const dashed = common.GraphThresholdsStyleMode.Dashed;
    builder.thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(dashed));
  }
  return builder;
}

/** The first step has no value: it begins at minus infinity. */
function thresholdsOf({ ceiling, floor }: Panel): Threshold[] {
  if (floor !== undefined) {
    return [
      { value: null, color: BAD },
      { value: floor, color: GOOD },
    ];
  }
  const base = { value: null, color: GOOD };
  return ceiling === undefined ? [base] : [base, { value: ceiling, color: BAD }];
}

/** To the same time and instances, or the instance of the series that was clicked on. */
function linkTo(uid: DashboardUid): DashboardLinkBuilder {
  const instance =
    uid === 'earwitness-overview' ? 'var-instance=${__field.labels.instance}' : '${instance:queryparam}';
  return new DashboardLinkBuilder(`Open ${uid.replace('earwitness-', '')}`).url(
    `/d/${uid}?\${__url_time_range}&${instance}&\${datasource:queryparam}`,
  );
}
