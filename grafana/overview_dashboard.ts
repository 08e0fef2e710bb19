/** Is it up, is it fast, how much is asked of it, what fails, how much more would fit. */
import { PANEL_SCOPE, type DashboardSpec } from './dashboard.ts';
import {
  FINAL_OBJECTIVE_SECONDS,
  FINALS_IN_TIME,
  PARTIAL_OBJECTIVE_SECONDS,
  SPEECH_FINAL_OBJECTIVE_SECONDS,
  UTTERANCES_KEPT,
} from './objectives.ts';
import { Queries, ratio } from './promql.ts';

const query = new Queries(PANEL_SCOPE);
const lateShare = ratio(
  query.observedAbove('final_latency_seconds', FINAL_OBJECTIVE_SECONDS),
  query.observed('final_latency_seconds'),
);
const failedShare = ratio(
  query.perSecond('utterances_total', { where: { outcome: 'failed' } }),
  query.perSecond('utterances_total'),
);

export const OVERVIEW: DashboardSpec = {
  uid: 'earwitness-overview',
  title: 'Earwitness / Overview',
  description: 'The four golden signals, how much more would fit, and latency against its objective.',
  rows: [
    {
      title: 'Now',
      panels: [
        {
          kind: 'figure',
          title: 'Ready instances',
          shows: 'Instances that take sessions, those with less than was configured included.',
          good: 'as many as were deployed.',
          otherwise: 'open Workers and faults; `/readyz` of the instance says why.',
          unit: 'count',
          queries: [
            {
              expr: `${query.now('health_status', { where: { status: 'ready' } })} + ${query.now('health_status', { where: { status: 'degraded' } })}`,
              legend: 'ready',
            },
          ],
          floor: 1,
          next: 'earwitness-fleet',
        },
        {
          kind: 'figure',
          title: 'Sessions open',
          shows: 'Sessions that are open now.',
          good: 'what you expect at this time of day.',
          otherwise: 'see Traffic below; none at all is worth a test of your own.',
          unit: 'count',
          queries: [{ expr: query.now('sessions_active'), legend: 'sessions' }],
        },
        {
          kind: 'figure',
          title: 'Headroom',
          shows: 'Sessions like the present ones that would still fit.',
          good: 'more than arrive while you add an instance.',
          otherwise: 'add an instance, or inference workers if cores are free.',
          unit: 'count',
          queries: [{ expr: query.now('sessions_headroom'), legend: 'headroom' }],
          floor: 1,
        },
        {
          kind: 'figure',
          title: 'Finals too late, last hour',
          shows: `Share of finals that came more than ${FINAL_OBJECTIVE_SECONDS} s after the end of their utterance.`,
          good: `below ${FINALS_IN_TIME.budgetRatio * 100} %, the objective.`,
          otherwise: 'open Pipeline: the first stage that takes long is the cause.',
          unit: 'share',
          queries: [{ expr: `avg(${FINALS_IN_TIME.recorded}1h)`, legend: 'late' }],
          ceiling: FINALS_IN_TIME.budgetRatio,
          next: 'earwitness-pipeline',
        },
        {
          kind: 'figure',
          title: 'Utterances failed, last hour',
          shows: 'Share of utterances whose final is only what the last partial said.',
          good: 'zero.',
          otherwise: 'open Workers and faults: deaths, quarantine, or queues that are full.',
          unit: 'share',
          queries: [{ expr: `avg(${UTTERANCES_KEPT.recorded}1h)`, legend: 'failed' }],
          ceiling: UTTERANCES_KEPT.budgetRatio,
          next: 'earwitness-workers',
        },
      ],
    },
    {
      title: 'Latency',
      panels: [
        {
          kind: 'lines',
          title: 'End of utterance → final',
          shows: 'Time from the decision that an utterance has ended to its final being sent.',
          good: 'p95 near zero: most finals are computed in the pause before the decision.',
          otherwise: 'open Pipeline and compare queue wait with inference.',
          unit: 'seconds',
          queries: [0.5, 0.95, 0.99].map((share) => ({
            expr: query.quantile(share, 'final_latency_seconds'),
            legend: `p${share * 100}`,
          })),
          ceiling: FINAL_OBJECTIVE_SECONDS,
          next: 'earwitness-pipeline',
        },
        {
          kind: 'lines',
          title: 'End of voice → final',
          shows: 'The same from the last voiced frame: what a person waits, without the network.',
          good: 'little more than the silence that ends an utterance, 0.5 s by default.',
          otherwise: 'if the other latency is low, clients ask for longer silence (`silenceMs`).',
          unit: 'seconds',
          queries: [0.5, 0.95].map((share) => ({
            expr: query.quantile(share, 'speech_final_latency_seconds'),
            legend: `p${share * 100}`,
          })),
          ceiling: SPEECH_FINAL_OBJECTIVE_SECONDS,
        },
        {
          kind: 'lines',
          title: 'Age of partials',
          shows: 'Age of the newest audio in a partial when it is sent.',
          good: `p95 below ${PARTIAL_OBJECTIVE_SECONDS} s.`,
          otherwise: 'the load is high; partials get rarer before finals get late.',
          unit: 'seconds',
          queries: [0.5, 0.95].map((share) => ({
            expr: query.quantile(share, 'partial_latency_seconds'),
            legend: `p${share * 100}`,
          })),
          ceiling: PARTIAL_OBJECTIVE_SECONDS,
          next: 'earwitness-pipeline',
        },
      ],
    },
    {
      title: 'Traffic',
      panels: [
        {
          kind: 'lines',
          title: 'Sessions',
          shows: 'Sessions that are open, and how many may be by configuration.',
          good: 'well below the maximum.',
          otherwise: 'raise `maxSessions` if the headroom allows it, else add an instance.',
          unit: 'count',
          queries: [
            { expr: query.now('sessions_active'), legend: 'open' },
            { expr: query.now('sessions_max'), legend: 'maximum' },
          ],
          next: 'earwitness-fleet',
        },
        {
          kind: 'lines',
          title: 'Audio',
          shows: 'Seconds of audio decoded per second: streams that send at the same time.',
          good: 'about the number of open sessions.',
          otherwise: 'far below it: clients are muted or stalled; above it: they send files.',
          unit: 'count',
          queries: [{ expr: query.perSecond('audio_seconds_total'), legend: 'streams' }],
        },
        {
          kind: 'stack',
          title: 'Utterances',
          shows: 'Utterances per second by how they ended.',
          good: 'nearly all with text.',
          otherwise: 'many empty: noise is taken for speech; failed: open Workers and faults.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('utterances_total', { by: ['outcome'] }), legend: '{{outcome}}' },
          ],
        },
        {
          kind: 'stack',
          title: 'Clients by what they speak',
          shows: 'Clients let in per second, by dialect.',
          good: 'the mix that your clients are.',
          otherwise: 'one is gone: ask who runs those clients; one surges: it may be reconnecting in a loop.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('admissions_total', { by: ['dialect'] }), legend: '{{dialect}}' },
          ],
        },
      ],
    },
    {
      title: 'Errors',
      panels: [
        {
          kind: 'lines',
          title: 'Objectives missed',
          shows: 'Share of finals that are late, and of utterances that failed.',
          good: 'both at zero.',
          otherwise: 'follow the alerts’ runbooks.',
          unit: 'share',
          queries: [
            { expr: lateShare, legend: 'finals late' },
            { expr: failedShare, legend: 'utterances failed' },
          ],
          ceiling: FINALS_IN_TIME.budgetRatio,
        },
        {
          kind: 'stack',
          title: 'Connections refused',
          shows: 'Connections per second that were refused before a session began.',
          good: 'none, or a few that are not authorised.',
          otherwise: 'overloaded: see Saturation; unauthorized or rate_limited: a client to talk to.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('sessions_refused_total', { by: ['reason'] }), legend: '{{reason}}' },
          ],
        },
        {
          kind: 'stack',
          title: 'Errors',
          shows: 'Errors per second that ended a session or an utterance, by class.',
          good: 'only what clients do wrong: protocol, limit, access, audio.',
          otherwise: 'internal or inference: read the log and Workers and faults.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('errors_total', { by: ['class'] }), legend: '{{class}}' }],
          next: 'earwitness-workers',
        },
        {
          kind: 'stack',
          title: 'Sessions failed',
          shows: 'Sessions per second that an error ended, by the dialect of their client.',
          good: 'none.',
          otherwise: 'one dialect: a client to talk to, or ours to mend; all: open Workers and faults.',
          unit: 'perSecond',
          queries: [
            {
              expr: query.perSecond('sessions_total', { where: { outcome: 'failed' }, by: ['dialect'] }),
              legend: '{{dialect}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Saturation',
      panels: [
        {
          kind: 'lines',
          title: 'Load by source',
          shows: 'Share of what there is that is used, of the instance that has most.',
          good: 'below 0.7, where partials are suspended; new sessions are refused from 0.85 on.',
          otherwise:
            'finals or final_wait: more inference workers; audio: more audio workers; memory: fewer workers.',
          unit: 'share',
          queries: [{ expr: `max by (source) (${query.series('load_ratio')})`, legend: '{{source}}' }],
          ceiling: 0.7,
        },
        {
          kind: 'lines',
          title: 'Headroom',
          shows: 'Sessions that would still fit, from the measured load.',
          good: 'steady, and more than arrive in ten minutes.',
          otherwise: 'add an instance before it is zero: new sessions are refused then.',
          unit: 'count',
          queries: [{ expr: query.now('sessions_headroom'), legend: 'headroom' }],
          floor: 1,
          next: 'earwitness-fleet',
        },
        {
          kind: 'lines',
          title: 'Event loop of the gateway',
          shows: '99th percentile of the delay of its event loop since the last scrape.',
          good: 'below 50 ms.',
          otherwise: 'too many sessions for one gateway, or a machine without free cores.',
          unit: 'seconds',
          queries: [
            {
              expr: `max by (instance) (${query.process('nodejs_eventloop_lag_p99_seconds')})`,
              legend: '{{instance}}',
            },
          ],
          ceiling: 0.05,
          next: 'earwitness-workers',
        },
      ],
    },
  ],
};
