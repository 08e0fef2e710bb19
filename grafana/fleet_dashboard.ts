/** Several instances side by side: which one is different. */
import { PANEL_SCOPE, type DashboardSpec } from './dashboard.ts';
import { FINAL_OBJECTIVE_SECONDS } from './objectives.ts';
import { Queries, ratio } from './promql.ts';

const query = new Queries(PANEL_SCOPE);
const instance = { by: ['instance'] } as const;

export const FLEET: DashboardSpec = {
  uid: 'earwitness-fleet',
  title: 'Earwitness / Fleet',
  description: 'Several instances side by side. A click on a series opens the overview of its instance.',
  rows: [
    {
      title: 'Instances',
      panels: [
        {
          kind: 'table',
          title: 'Versions',
          shows: 'What runs where.',
          good: 'one version, but for the time of a rollout.',
          otherwise: 'an instance that was forgotten.',
          unit: 'count',
          queries: [{ expr: query.process('build_info'), legend: '{{instance}}' }],
        },
        {
          kind: 'table',
          title: 'Models',
          shows: 'Which speech model each instance runs, and on which device it is meant to.',
          good: 'the same everywhere, unless you route by language.',
          otherwise: 'clients get other words from other instances.',
          unit: 'count',
          queries: [{ expr: query.process('model_info'), legend: '{{instance}}' }],
        },
        {
          kind: 'lines',
          title: 'Health',
          shows: '1 for instances that are ready, 0.5 for those with less than was configured.',
          good: '1.',
          otherwise: '`/readyz` of the instance says why.',
          unit: 'count',
          queries: [
            {
              expr: `${query.now('health_status', { where: { status: 'ready' }, ...instance })} + 0.5 * ${query.now('health_status', { where: { status: 'degraded' }, ...instance })}`,
              legend: '{{instance}}',
            },
          ],
          floor: 1,
          next: 'earwitness-overview',
        },
      ],
    },
    {
      title: 'Share of the load',
      panels: [
        {
          kind: 'stack',
          title: 'Sessions',
          shows: 'Open sessions by instance.',
          good: 'evenly spread.',
          otherwise: 'the load balancer counts requests, not connections: choose least connections.',
          unit: 'count',
          queries: [{ expr: query.now('sessions_active', instance), legend: '{{instance}}' }],
          next: 'earwitness-overview',
        },
        {
          kind: 'lines',
          title: 'Headroom',
          shows: 'Sessions that would still fit, by instance.',
          good: 'some on every instance; scale on the sum of it.',
          otherwise: 'none on one: new sessions go to the others; none anywhere: scale out.',
          unit: 'count',
          queries: [{ expr: query.now('sessions_headroom', instance), legend: '{{instance}}' }],
          floor: 1,
          next: 'earwitness-overview',
        },
        {
          kind: 'lines',
          title: 'Pressure',
          shows: 'Load as a share of what there is, the scarcest resource of each instance.',
          good: 'below 0.7 and alike.',
          otherwise: 'one far above the others: a slower machine, or a neighbour on it.',
          unit: 'share',
          queries: [{ expr: query.now('load_pressure', instance), legend: '{{instance}}' }],
          ceiling: 0.7,
          next: 'earwitness-overview',
        },
      ],
    },
    {
      title: 'How well each does',
      panels: [
        {
          kind: 'lines',
          title: 'End of utterance → final, p95',
          shows: 'Latency of finals by instance.',
          good: `below ${FINAL_OBJECTIVE_SECONDS} s.`,
          otherwise: 'open the overview of the one that is not.',
          unit: 'seconds',
          queries: [
            { expr: query.quantile(0.95, 'final_latency_seconds', instance), legend: '{{instance}}' },
          ],
          ceiling: FINAL_OBJECTIVE_SECONDS,
          next: 'earwitness-overview',
        },
        {
          kind: 'lines',
          title: 'Utterances failed',
          shows: 'Share of utterances whose final is only what the last partial said.',
          good: 'zero.',
          otherwise: 'take the instance out and read its crash reports.',
          unit: 'share',
          queries: [
            {
              expr: ratio(
                query.perSecond('utterances_total', { where: { outcome: 'failed' }, ...instance }),
                query.perSecond('utterances_total', instance),
              ),
              legend: '{{instance}}',
            },
          ],
          ceiling: 0.001,
          next: 'earwitness-overview',
        },
        {
          kind: 'lines',
          title: 'Deaths of workers',
          shows: 'Worker processes per second that ended without being asked to.',
          good: 'zero.',
          otherwise: 'on one instance: its machine; on all: an input, or a release.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('worker_deaths_total', instance), legend: '{{instance}}' }],
          next: 'earwitness-overview',
        },
      ],
    },
    {
      title: 'What each takes',
      panels: [
        {
          kind: 'lines',
          title: 'CPU',
          shows: 'Cores that the gateway and all workers of an instance keep busy.',
          good: 'below the cores of its machine, with the sessions in proportion.',
          otherwise: 'a machine whose sessions cost more than elsewhere is slower or shared.',
          unit: 'cores',
          queries: [
            {
              expr: `${query.perSecond('worker_process_cpu_seconds_total', instance)} + sum by (instance) (rate(${query.process('process_cpu_seconds_total')}[$__rate_interval]))`,
              legend: '{{instance}}',
            },
          ],
          next: 'earwitness-overview',
        },
        {
          kind: 'lines',
          title: 'Memory',
          shows: 'Resident memory of the gateway and all workers of an instance.',
          good: 'flat, and below the limit of its container.',
          otherwise: 'see Workers and faults for the process that grows.',
          unit: 'bytes',
          queries: [
            {
              expr: `${query.now('worker_rss_bytes', instance)} + sum by (instance) (${query.process('process_resident_memory_bytes')})`,
              legend: '{{instance}}',
            },
          ],
          next: 'earwitness-overview',
        },
      ],
    },
  ],
};
