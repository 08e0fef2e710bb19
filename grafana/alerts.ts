/** All alerts. What to do is written for somebody who has just been woken. */
import { burnAlerts } from './burn_rate.ts';
import { Queries } from './promql.ts';
import type { Alert, Span } from './rules.ts';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const [OVERVIEW, WORKERS, FLEET] = ['earwitness-overview', 'earwitness-workers', 'earwitness-fleet'];
/** Jobs of Prometheus that scrape servers of ours. */
const JOB = 'job=~"earwitness.*"';

/** The alerts, with windows as `span` has them. */
export function alertsOf(span: Span): readonly Alert[] {
  return [
    ...burnAlerts(),
    ...availabilityAlerts(span),
    ...saturationAlerts(span),
    ...faultAlerts(span),
    ...upkeepAlerts(span),
  ];
}

function availabilityAlerts(span: Span): readonly Alert[] {
  const query = new Queries({ matchers: '', window: span(15 * MINUTE) });
  return [
    {
      name: 'EarwitnessDown',
      severity: 'page',
      expr: `up{${JOB}} == 0`,
      forSeconds: MINUTE,
      summary: '{{ $labels.instance }} does not answer',
      meaning:
        'Prometheus gets no metrics: the process is gone, hangs, or cannot be reached. Its sessions have gone elsewhere, if there is an elsewhere.',
      action:
        '1. Is the process there, and what did it log last? 2. `/healthz` on the admin port: no answer means that it hangs; restart it. 3. The network between Prometheus and the admin port.',
      dashboard: FLEET,
    },
    {
      name: 'EarwitnessNotReady',
      severity: 'page',
      expr: `${query.series('health_status', { status: 'failed' })} == 1`,
      forSeconds: MINUTE,
      summary: '{{ $labels.instance }} has given up: no worker of a role can start',
      meaning: 'The process lives and takes no sessions.',
      action:
        '1. `/readyz` says which role. 2. The log of the first start: missing weights, wrong configuration, no memory. 3. `earwitness models verify`.',
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessGatewayRestarting',
      severity: 'page',
      expr: `changes(${query.process('process_start_time_seconds')}[${span(30 * MINUTE)}]) > 2`,
      forSeconds: 0,
      summary: 'the gateway of {{ $labels.instance }} has started {{ $value }} times in half an hour',
      meaning: 'Each restart ends every session of the instance; clients reconnect and resume.',
      action:
        '1. The log before each restart. 2. Killed for memory? See the limit of the container, and Memory in Fleet. 3. Take the instance out if the others have headroom.',
      dashboard: FLEET,
    },
    {
      name: 'EarwitnessNoTraffic',
      severity: 'ticket',
      expr: `${query.added('received_bytes_total', { by: ['job'] })} == 0 and ${query.added('received_bytes_total', { by: ['job'], over: span(DAY) })} > 0`,
      forSeconds: 15 * MINUTE,
      summary: 'nobody has sent audio to {{ $labels.job }} for half an hour',
      meaning:
        'There was audio within a day and there is none now: clients cannot reach the service, or it is the night.',
      action:
        '1. `earwitness transcribe --url …` from outside: does it work? 2. Load balancer, DNS, certificate. 3. Connections refused in the overview: keys that were revoked, origins.',
      dashboard: OVERVIEW,
    },
  ];
}

function saturationAlerts(span: Span): readonly Alert[] {
  const query = new Queries({ matchers: '', window: span(5 * MINUTE) });
  return [
    {
      name: 'EarwitnessFull',
      severity: 'page',
      expr: `${query.now('sessions_headroom', { by: ['job'] })} == 0 and ${query.now('sessions_active', { by: ['job'] })} > 0`,
      forSeconds: 5 * MINUTE,
      summary: 'no instance of {{ $labels.job }} has room for another session',
      meaning: 'New sessions are refused with HTTP 503. Those that are open go on.',
      action:
        '1. Add an instance. 2. Load by source in the overview says what is scarce. 3. If it is only `maxSessions`, raise it.',
      dashboard: OVERVIEW,
    },
    {
      name: 'EarwitnessRefusing',
      severity: 'ticket',
      expr: `${query.perSecond('sessions_refused_total', { where: { reason: 'overloaded' }, by: ['job', 'instance'] })} > 0`,
      forSeconds: 5 * MINUTE,
      summary: '{{ $labels.instance }} refuses sessions because it is full',
      meaning:
        'Clients are told to try again; with other instances that have room, nobody notices more than a delay.',
      action:
        '1. Headroom in Fleet: do the others have room? Then the load balancer should try the next on a 503, as deploy/nginx.conf does; /readyz stays 200 for the sessions that are there. 2. Else add an instance.',
      dashboard: FLEET,
    },
    {
      name: 'EarwitnessPartialsSuspended',
      severity: 'ticket',
      expr: `${query.series('partials_suspended')} == 1`,
      forSeconds: 10 * MINUTE,
      summary: '{{ $labels.instance }} has sent no partials for ten minutes, for load',
      meaning: 'People see text only at the end of each utterance. It is the first thing that is given up.',
      action:
        '1. Add an instance or inference workers. 2. Load by source in the overview says what is scarce.',
      dashboard: OVERVIEW,
    },
    {
      name: 'EarwitnessEventLoopSlow',
      severity: 'ticket',
      expr: `${query.process('nodejs_eventloop_lag_p99_seconds')} > 0.2`,
      forSeconds: 5 * MINUTE,
      summary: 'the event loop of {{ $labels.instance }} is late by {{ $value | humanizeDuration }}',
      meaning: 'Everything the gateway does is late by that much, for every session.',
      action:
        '1. Does the machine have a free core for the gateway? 2. Fewer sessions on this instance. 3. If neither: a CPU profile, and a report to the authors.',
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessMemoryTight',
      severity: 'ticket',
      expr: `${query.series('load_ratio', { source: 'memory' })} > 0.85`,
      forSeconds: 10 * MINUTE,
      summary:
        '{{ $labels.instance }} has used {{ $value | humanizePercentage }} of the memory that sessions may take',
      meaning: 'New sessions are refused before the system ends a process for want of memory.',
      action:
        '1. Memory of each process in Workers and faults: which one grows? 2. Fewer workers, or a larger limit.',
      dashboard: WORKERS,
    },
  ];
}

function faultAlerts(span: Span): readonly Alert[] {
  const query = new Queries({ matchers: '', window: span(10 * MINUTE) });
  return [
    {
      name: 'EarwitnessWorkersCrashing',
      severity: 'page',
      expr: `${query.added('worker_deaths_total', { by: ['job', 'instance', 'role'] })} > 5`,
      forSeconds: 0,
      summary:
        '{{ $value | humanize }} {{ $labels.role }} workers of {{ $labels.instance }} died in ten minutes',
      meaning: 'Each death costs a delay and no words, until more die than can be started.',
      action:
        '1. `earwitness crashes list`: the same cause each time? 2. Signal 9 from outside is the kernel, for memory. 3. Signals 4, 6, 7, 11 after a release: roll back. 4. One input: `earwitness quarantine list`.',
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessWorkerMissing',
      severity: 'ticket',
      expr: `sum by (job, instance, role) (${query.series('workers', { state: 'parked' })} + ignoring(state) ${query.series('workers', { state: 'failed' })}) > 0`,
      forSeconds: 5 * MINUTE,
      summary: '{{ $value }} {{ $labels.role }} workers of {{ $labels.instance }} do not come back',
      meaning: 'The instance does with less than was configured.',
      action:
        '1. `/workers` and `/readyz` of the instance. 2. `earwitness crashes list`. 3. Restart the instance once the cause is gone.',
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessDeviceLost',
      severity: 'ticket',
      expr: `${query.series('worker_devices', { device: 'fallback' })} > 0`,
      forSeconds: 5 * MINUTE,
      summary:
        '{{ $value }} inference workers of {{ $labels.instance }} run on the CPU instead of their device',
      meaning: 'Finals come at the pace of the CPU, and fewer sessions fit.',
      action:
        '1. `/readyz` says why the device was given up. 2. `nvidia-smi`, or what your device has: driver, memory, temperature. 3. It is tried again every ten seconds and comes back by itself.',
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessQuarantineGrows',
      severity: 'ticket',
      expr: `delta(${query.series('quarantined_contents')}[${span(HOUR)}]) > 3`,
      forSeconds: 0,
      summary: '{{ $value | humanize }} more contents of {{ $labels.instance }} are refused than an hour ago',
      meaning:
        'Audio that ended two workers is refused for a day. More than a few is a defect of the model’s runtime, or somebody who tries.',
      action:
        '1. `earwitness quarantine list`, `show`: the same client, the same encoding? 2. `replay`, if the audio was kept. 3. After an update that cures it: `clear`.',
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessSessionsFailing',
      severity: 'page',
      expr: `${query.added('errors_total', { where: { class: 'internal' }, by: ['job', 'instance'] })} > 5`,
      forSeconds: 0,
      summary:
        '{{ $value | humanize }} sessions of {{ $labels.instance }} ended by faults of ours in ten minutes',
      meaning: 'Clients got `internal` and reconnect; what they said since the last final is sent again.',
      action:
        '1. The log has a stack for each, with the session. 2. `earwitness trace SESSION`. 3. After a release: roll back.',
      dashboard: WORKERS,
    },
  ];
}

function upkeepAlerts(span: Span): readonly Alert[] {
  const query = new Queries({ matchers: '', window: span(30 * MINUTE) });
  const expiry = query.series('tls_certificate_expiry_timestamp_seconds');
  const expiresWithin = (days: number): string => `${expiry} > 0 and ${expiry} - time() < ${days * DAY}`;
  const lost = (
    [
      'log_lines_dropped_total',
      'crash_record_write_failures_total',
      'quarantine_write_failures_total',
    ] as const
  )
    .map((name) => query.added(name, { by: ['job', 'instance'] }))
    .join(' + ');
  const renewal =
    '1. Renew the files of `tlsCert` and `tlsKey`. 2. SIGHUP: new connections get the new certificate, open ones stay. 3. Why did the renewal not run?';
  return [
    {
      name: 'EarwitnessCertificateExpiresSoon',
      severity: 'ticket',
      expr: expiresWithin(14),
      forSeconds: HOUR,
      summary: 'the certificate of {{ $labels.instance }} expires within two weeks',
      meaning: 'Nothing yet.',
      action: renewal,
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessCertificateExpires',
      severity: 'page',
      expr: expiresWithin(2),
      forSeconds: 5 * MINUTE,
      summary: 'the certificate of {{ $labels.instance }} expires within two days',
      meaning: 'After that no browser connects.',
      action: renewal,
      dashboard: WORKERS,
    },
    {
      name: 'EarwitnessRecordsLost',
      severity: 'ticket',
      expr: `${lost} > 0`,
      forSeconds: 0,
      summary: '{{ $labels.instance }} lost {{ $value | humanize }} log lines or records in half an hour',
      meaning: 'What happened cannot be read afterwards.',
      action:
        '1. Is the disk of `crashDir` and `quarantineDir` full, or not writable? 2. Does somebody read the server’s stderr? 3. Workers and faults, Records lost.',
      dashboard: WORKERS,
    },
  ];
}
