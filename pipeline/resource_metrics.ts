/** The metrics of what the server runs on: processes, devices, certificates; a part of the table in `telemetry.ts`. */
import { GPU_MAX_COUNT, WORKERS_MAX_COUNT } from './limits.ts';

const numbersBelow = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => String(i));
/** Workers and their spares, numbered within their role. */
const SLOT_LABELS = { role: ['audio', 'inference'], slot: numbersBelow(2 * WORKERS_MAX_COUNT) } as const;
const GPU_LABELS = { gpu: numbersBelow(GPU_MAX_COUNT) } as const;

/** See METRICS. */
export const RESOURCE_METRICS = {
  health_status: {
    kind: 'gauge',
    help: '1 for what the server says of itself at /readyz, 0 for the others.',
    labels: { status: ['starting', 'ready', 'degraded', 'draining', 'failed'] },
  },
  worker_process_cpu_seconds_total: {
    kind: 'counter',
    help: 'Processor time of the worker processes of a slot, one after the other.',
    labels: SLOT_LABELS,
    isOnDemand: true,
  },
  worker_process_resident_memory_bytes: {
    kind: 'gauge',
    help: 'Resident memory of the worker process in a slot; 0 while there is none.',
    labels: SLOT_LABELS,
    isOnDemand: true,
  },
  send_buffered_bytes: {
    kind: 'gauge',
    help: 'Bytes that wait for clients to read, all connections together.',
    labels: {},
  },
  tls_certificate_expiry_timestamp_seconds: {
    kind: 'gauge',
    help: 'When the TLS certificate in use expires, as Unix time; 0 without TLS.',
    labels: {},
  },
  gpu_utilization_ratio: {
    kind: 'gauge',
    help: 'Share of the last moments in which the GPU worked, as nvidia-smi has it.',
    labels: GPU_LABELS,
    isOnDemand: true,
  },
  gpu_memory_used_bytes: {
    kind: 'gauge',
    help: 'Memory of the GPU that is taken, by whomever.',
    labels: GPU_LABELS,
    isOnDemand: true,
  },
  gpu_memory_total_bytes: {
    kind: 'gauge',
    help: 'Memory of the GPU.',
    labels: GPU_LABELS,
    isOnDemand: true,
  },
  otlp_spans_total: {
    kind: 'counter',
    help: 'Spans for the collector of traces: taken by it, or dropped because it was slow, away or refused them.',
    labels: { outcome: ['sent', 'dropped'] },
  },
} as const;
