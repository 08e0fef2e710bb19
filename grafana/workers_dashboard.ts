/** What breaks, what was done about it, and what the processes take. */
import { PANEL_SCOPE, type DashboardSpec } from './dashboard.ts';
import { Queries, ratio } from './promql.ts';

const query = new Queries(PANEL_SCOPE);

export const WORKERS: DashboardSpec = {
  uid: 'earwitness-workers',
  title: 'Earwitness / Workers and faults',
  description: 'What breaks, what was done about it, and what the processes take.',
  rows: [
    {
      title: 'Workers',
      panels: [
        {
          kind: 'stack',
          title: 'Workers by state',
          shows: 'Worker processes and spares by what they are doing.',
          good: 'all ready.',
          otherwise:
            'backoff and parked come back by themselves; failed wants a configuration that works: see the log.',
          unit: 'count',
          queries: [{ expr: query.now('workers', { by: ['role', 'state'] }), legend: '{{role}} {{state}}' }],
        },
        {
          kind: 'stack',
          title: 'Deaths by cause',
          shows: 'Worker processes per second that ended without being asked to.',
          good: 'none.',
          otherwise:
            '`earwitness crashes list` has a report of each; memory: replaced for its size, on purpose.',
          unit: 'perSecond',
          queries: [
            {
              expr: query.perSecond('worker_deaths_total', { by: ['role', 'cause'] }),
              legend: '{{role}} {{cause}}',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Restarts, slowed workers',
          shows: 'Restarts per second, and workers that are slower than they could be.',
          good: 'zero.',
          otherwise: 'slowed: the log says why, usually graphs that could not be prepared.',
          unit: 'count',
          queries: [
            {
              expr: query.perSecond('worker_restarts_total', { by: ['role'] }),
              legend: '{{role}} restarts/s',
            },
            { expr: query.perSecond('gateway_restarts_total'), legend: 'gateway restarts/s' },
            { expr: query.now('workers_slowed', { by: ['role'] }), legend: '{{role}} slowed' },
          ],
        },
      ],
    },
    {
      title: 'What became of the work',
      panels: [
        {
          kind: 'stack',
          title: 'Jobs by outcome',
          shows: 'Inference jobs per second by what came of them.',
          good: 'done; a few aborted, whose client had gone.',
          otherwise: 'retried: workers died and nothing was lost; failed finals are lost utterances.',
          unit: 'perSecond',
          queries: [
            {
              expr: query.perSecond('jobs_total', { by: ['kind', 'outcome'] }),
              legend: '{{kind}} {{outcome}}',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Quarantine',
          shows: 'Contents that are refused because they ended two workers, and refusals per second.',
          good: 'zero.',
          otherwise: '`earwitness quarantine list`; a growing number is a bug or an attack.',
          unit: 'count',
          queries: [
            { expr: query.now('quarantined_contents'), legend: 'contents' },
            {
              expr: query.perSecond('quarantine_refusals_total', { by: ['kind'] }),
              legend: '{{kind}} refused/s',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Sessions that were ended',
          shows: 'Per second: for an exception of ours, and for load.',
          good: 'zero.',
          otherwise: 'exceptions: the stack is in the log; for load: add an instance.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('track_failures_total'), legend: 'exception' },
            { expr: query.perSecond('sessions_shed_total'), legend: 'shed' },
          ],
        },
      ],
    },
    {
      title: 'Devices',
      panels: [
        {
          kind: 'stack',
          title: 'Inference slots by device',
          shows: 'Slots on the configured device, and on the CPU in place of it.',
          good: 'none on the fallback.',
          otherwise: '`/readyz` says why it was given up; it is tried again every ten seconds.',
          unit: 'count',
          queries: [{ expr: query.now('worker_devices', { by: ['device'] }), legend: '{{device}}' }],
        },
        {
          kind: 'lines',
          title: 'Fallbacks and probes',
          shows: 'Slots that left their device or came back, and probes of it, in the last window.',
          good: 'zero.',
          otherwise: 'probes that fail: the driver or the device itself.',
          unit: 'count',
          queries: [
            { expr: query.added('device_fallbacks_total', { by: ['outcome'] }), legend: '{{outcome}}' },
            { expr: query.added('device_probes_total', { by: ['outcome'] }), legend: 'probe {{outcome}}' },
          ],
        },
        {
          kind: 'lines',
          title: 'GPU',
          shows: 'Share of the time in which a GPU worked, and of its memory that is taken.',
          good: 'below 0.9; there is nothing here without `nvidia-smi`.',
          otherwise: 'memory near 1: another program, or too many inference workers.',
          unit: 'share',
          queries: [
            { expr: query.series('gpu_utilization_ratio'), legend: '{{instance}} GPU {{gpu}}' },
            {
              expr: ratio(query.series('gpu_memory_used_bytes'), query.series('gpu_memory_total_bytes')),
              legend: '{{instance}} GPU {{gpu}} memory',
            },
          ],
          ceiling: 0.9,
          isRare: true,
        },
        {
          kind: 'lines',
          title: 'Jobs in a batch',
          shows: 'Jobs that a worker runs at once: on average, and of the largest twentieth.',
          good: '1 on the CPU; on an accelerator it grows with the load.',
          otherwise: '1 on an accelerator under load: batches miss their objective, see how long they take.',
          unit: 'count',
          queries: [
            { expr: query.quantile(0.95, 'batch_rows'), legend: 'p95' },
            { expr: query.mean('batch_rows'), legend: 'mean' },
          ],
        },
        {
          kind: 'lines',
          title: 'Time of a batch',
          shows: 'How long a batch holds its device, transfers included, and the share of padding in it.',
          good: 'below 0.15 s on an accelerator.',
          otherwise: 'batches get smaller by themselves; if finals are late all the same, add a device.',
          unit: 'seconds',
          queries: [{ expr: query.quantile(0.95, 'batch_seconds'), legend: 'p95' }],
          ceiling: 0.15,
        },
        {
          kind: 'lines',
          title: 'Padding and halvings',
          shows:
            'The share of padding in what devices work on, and batches halved for want of memory per second.',
          good: 'padding below 0.4; no halvings.',
          otherwise: 'halvings: another program takes the memory of the device.',
          unit: 'count',
          queries: [
            {
              expr: ratio(
                query.perSecond('batch_samples_total', { where: { content: 'padding' } }),
                query.perSecond('batch_samples_total'),
              ),
              legend: 'padding',
            },
            { expr: query.perSecond('batch_halvings_total'), legend: 'halvings/s' },
          ],
        },
        {
          kind: 'lines',
          title: 'Bytes to and from accelerators',
          shows: 'Moved between the memory of the host and that of the device, per second.',
          good: 'zero on the CPU; up to 160 kB for each second of audio on CUDA, 65 kB on WebGPU.',
          otherwise: 'much more: the encoder’s output is not left on the device.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('device_moved_bytes_total'), legend: 'bytes/s' }],
          isRare: true,
        },
      ],
    },
    {
      title: 'Processes',
      panels: [
        {
          kind: 'stack',
          title: 'CPU of each process',
          shows: 'Cores that each worker, and the gateway, keeps busy.',
          good: 'together well below the cores of the machine.',
          otherwise: 'the stage whose workers are at 1 is the one to widen.',
          unit: 'cores',
          queries: [
            {
              expr: query.perSecond('worker_process_cpu_seconds_total', { by: ['instance', 'role', 'slot'] }),
              legend: '{{instance}} {{role}} {{slot}}',
            },
            {
              expr: `rate(${query.process('process_cpu_seconds_total')}[$__rate_interval])`,
              legend: '{{instance}} gateway',
            },
          ],
        },
        {
          kind: 'stack',
          title: 'Memory of each process',
          shows: 'Resident memory of each worker and of the gateway.',
          good: 'flat: 240 MB for an inference worker, 120 MB for the others.',
          otherwise: 'a worker that grows is replaced at 1.5 GB; a gateway that grows wants a report.',
          unit: 'bytes',
          queries: [
            {
              expr: query.now('worker_process_resident_memory_bytes', { by: ['instance', 'role', 'slot'] }),
              legend: '{{instance}} {{role}} {{slot}}',
            },
            { expr: query.process('process_resident_memory_bytes'), legend: '{{instance}} gateway' },
          ],
        },
        {
          kind: 'lines',
          title: 'Gateway: heap and garbage collection',
          shows: 'Heap in use, of each gateway.',
          good: 'a saw that comes back to the same foot.',
          otherwise: 'a foot that rises for hours is a leak.',
          unit: 'bytes',
          queries: [{ expr: query.process('nodejs_heap_size_used_bytes'), legend: '{{instance}} heap' }],
        },
      ],
    },
    {
      title: 'What could not be told',
      panels: [
        {
          kind: 'lines',
          title: 'Records lost',
          shows: 'Log lines, spans, reports and measurements that were dropped, per second.',
          good: 'zero.',
          otherwise: 'log lines: nobody reads stderr; reports: a full disk; spans: a collector that is slow.',
          unit: 'perSecond',
          queries: [
            { expr: query.perSecond('log_lines_dropped_total'), legend: 'log lines' },
            { expr: query.perSecond('otlp_spans_total', { where: { outcome: 'dropped' } }), legend: 'spans' },
            { expr: query.perSecond('crash_record_write_failures_total'), legend: 'crash reports' },
            { expr: query.perSecond('quarantine_write_failures_total'), legend: 'quarantine' },
            { expr: query.perSecond('metric_rejections_total'), legend: 'measurements' },
          ],
        },
        {
          kind: 'lines',
          title: 'Crash reports',
          shows: 'Crash reports written, per second.',
          good: 'zero.',
          otherwise: '`earwitness crashes show` prints one, with the last words of the process.',
          unit: 'perSecond',
          queries: [{ expr: query.perSecond('crash_reports_total', { by: ['role'] }), legend: '{{role}}' }],
        },
        {
          kind: 'figure',
          title: 'Certificate expires',
          shows: 'When the TLS certificate in use ends, the earliest of all instances.',
          good: 'weeks from now; nothing without TLS.',
          otherwise: 'renew the files and send SIGHUP: connections that are open stay.',
          unit: 'date',
          queries: [
            {
              expr: `min(${query.series('tls_certificate_expiry_timestamp_seconds')} > 0) * 1000`,
              legend: 'expires',
            },
          ],
          isRare: true,
        },
      ],
    },
  ],
};
