/** Every metric the server exports, as one table, and the interface through which the parts report to it. */
import {
  AccessError,
  AudioError,
  InferenceError,
  LimitError,
  OverloadError,
  ProtocolError,
  type TranscriptionError,
} from './errors.ts';
import { LOAD_SOURCES } from './load_ladder.ts';
import { RESOURCE_METRICS } from './resource_metrics.ts';
import { DIALECTS } from './session_settings.ts';

const ROLES = ['audio', 'inference'] as const;
const KINDS = ['partial', 'early', 'final'] as const;
/** Around the objectives, 0.5 s for finals and 1 s for partials, which are bounds themselves. */
const LATENCY_BUCKETS_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5, 10];
/** The same where the silence that ends an utterance, 0.5 s by default, is part of it. */
const SPEECH_LATENCY_BUCKETS_SECONDS = [0.2, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2, 3, 5, 10];
/** What one round of an audio worker takes: 32 frames 2 to 3 ms. The last is the duration of a frame. */
const ROUND_BUCKETS_SECONDS = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032];

/** One row of the table. */
export interface MetricSpec {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Label names with every value they can take: no label is unbounded. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** True if a label set is exported only once it was reported: there are as many as the machine has. */
  readonly isOnDemand?: boolean;
  /** Upper bounds, in the unit of the name; of histograms only. */
  readonly buckets?: readonly number[];
}

/** Exported as `earwitness_<key>`; counters end in `_total`, units are seconds and bytes. */
export const METRICS = {
  sessions_active: { kind: 'gauge', help: 'Sessions that are open.', labels: {} },
  admissions_total: {
    kind: 'counter',
    help: 'Clients let in, by the dialect they speak: over a WebSocket, or with an HTTP request.',
    labels: { dialect: DIALECTS, form: ['stream', 'request'] },
  },
  sessions_total: {
    kind: 'counter',
    help: 'Sessions that have ended: asked for by the client, left by it, or ended by an error.',
    labels: { dialect: DIALECTS, outcome: ['completed', 'abandoned', 'failed'] },
  },
  sessions_refused_total: {
    kind: 'counter',
    help: 'Connections refused before a session began.',
    labels: {
      reason: [
        'overloaded',
        'crowded',
        'draining',
        'unavailable',
        'not_found',
        'bad_request',
        'unauthorized',
        'forbidden',
        'rate_limited',
      ],
    },
  },
  transport_limits_total: {
    kind: 'counter',
    help: 'Connections and requests that broke a bound of the transport: a message or body too large, bodies too many, headers or a body too slow, a peer too silent, a close too long.',
    labels: {
      limit: [
        'message_bytes',
        'body_bytes',
        'bodies_bytes',
        'headers_time',
        'body_time',
        'silence',
        'close_time',
      ],
    },
  },
  errors_total: {
    kind: 'counter',
    help: 'Errors that ended a session or an utterance, by class.',
    labels: { class: ['protocol', 'limit', 'access', 'audio', 'overload', 'inference', 'internal'] },
  },
  audio_seconds_total: {
    kind: 'counter',
    help: 'Audio decoded; what is replayed after a death counts again.',
    labels: {},
  },
  received_bytes_total: { kind: 'counter', help: 'Audio bytes received from clients.', labels: {} },
  packets_total: {
    kind: 'counter',
    help: 'Audio messages by what came of them; what is replayed after a death counts again.',
    labels: { outcome: ['decoded', 'concealed', 'ignored'] },
  },
  audio_poisons_total: {
    kind: 'counter',
    help: 'Inputs that ended audio workers: concealed, the end of their session, or known and concealed on arrival.',
    labels: { outcome: ['concealed', 'ended', 'refused'] },
  },
  track_failures_total: {
    kind: 'counter',
    help: 'Sessions ended by an exception in their audio path.',
    labels: {},
  },
  opus_traps_total: {
    kind: 'counter',
    help: 'Times the Opus codec trapped; the decoders beside the one at fault start anew.',
    labels: {},
  },
  decode_seconds_total: { kind: 'counter', help: 'Processor time spent decoding audio.', labels: {} },
  vad_seconds_total: { kind: 'counter', help: 'Time spent in voice-activity detection.', labels: {} },
  audio_round_seconds: {
    kind: 'histogram',
    help: 'Time an audio worker took to decode the next frame of every session that has one, and to judge these frames.',
    labels: { stage: ['decode', 'vad'] },
    buckets: ROUND_BUCKETS_SECONDS,
  },
  audio_path_seconds: {
    kind: 'histogram',
    help: 'From a message coming in to its audio worker having decoded and judged it; one message of a session at a time.',
    labels: {},
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  audio_kept_bytes: {
    kind: 'gauge',
    help: 'Input of open sessions that is kept for a replay; it grows when audio workers fall behind.',
    labels: {},
  },
  vad_frames_total: { kind: 'counter', help: 'Voice-activity frames judged.', labels: {} },
  vad_runs_total: {
    kind: 'counter',
    help: 'Rounds of voice activity: one frame of every session that has one.',
    labels: {},
  },
  utterance_ends_total: {
    kind: 'counter',
    help: 'Utterances by what ended them: silence, their longest duration, the client, or audio that stopped coming.',
    labels: { reason: ['silence', 'split', 'flush', 'audioStopped'] },
  },
  utterances_total: {
    kind: 'counter',
    help: 'Utterances by the dialect of their session and how they ended: with text, without, or failed.',
    labels: { dialect: DIALECTS, outcome: ['text', 'empty', 'failed'] },
  },
  suppressed_texts_total: {
    kind: 'counter',
    help: 'Texts withheld because the audio can hardly have held them.',
    labels: { reason: ['no_speech', 'repetition', 'token_rate'] },
  },
  notices_total: {
    kind: 'counter',
    help: 'Notices sent to clients.',
    labels: {
      code: ['packets_lost', 'utterance_failed', 'partials_suspended', 'partials_resumed', 'input_throttled'],
    },
  },
  stale_results_total: { kind: 'counter', help: 'Results for sessions that had gone; dropped.', labels: {} },
  queue_depth: { kind: 'gauge', help: 'Jobs that wait for a slot.', labels: { kind: KINDS } },
  slots: { kind: 'gauge', help: 'Inference slots that can take or are running a job.', labels: {} },
  slots_busy: { kind: 'gauge', help: 'Inference slots that are running a job.', labels: {} },
  jobs_total: {
    kind: 'counter',
    help: 'Inference jobs by kind and outcome; early: a final computed in a pause, before the end was decided.',
    labels: { kind: KINDS, outcome: ['done', 'failed', 'retried', 'aborted'] },
  },
  queue_wait_seconds: {
    kind: 'histogram',
    help: 'Time from a job being ready to its start on a slot; a job that is tried again counts again.',
    labels: { kind: KINDS },
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  inference_seconds: {
    kind: 'histogram',
    help: 'Time a job held its slot.',
    labels: { kind: KINDS },
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  batch_rows: {
    kind: 'histogram',
    help: 'Jobs that a worker ran at once.',
    labels: {},
    buckets: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32],
  },
  batch_seconds: {
    kind: 'histogram',
    help: 'Time a batch held its device, transfers included.',
    labels: {},
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  batch_samples_total: {
    kind: 'counter',
    help: 'Samples (16 kHz) that devices worked on: audio, and padding that made the rows of a batch equally long.',
    labels: { content: ['audio', 'padding'] },
  },
  batch_halvings_total: {
    kind: 'counter',
    help: 'Batches that were run in halves because the device had too little memory.',
    labels: {},
  },
  device_moved_bytes_total: {
    kind: 'counter',
    help: 'Bytes moved between the memory of the host and that of accelerators.',
    labels: {},
  },
  real_time_factor: {
    kind: 'histogram',
    help: 'Slot time, of a batch its part, over audio duration, of finals, early ones included.',
    labels: {},
    buckets: [0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1],
  },
  draft_audits_total: {
    kind: 'counter',
    help: 'Hypotheses that were made again without their draft, by what came of it; different must stay 0. None on accelerators.',
    labels: { outcome: ['same', 'different', 'failed'] },
  },
  model_seconds_total: {
    kind: 'counter',
    help: 'Time spent in the speech model: its encoder, once per job, and its decoder, step by step.',
    labels: { phase: ['encode', 'decode'] },
  },
  encoder_audio_seconds_total: {
    kind: 'counter',
    help: 'Audio of jobs by whether the encoder worked on it or took what an earlier partial of the utterance had left.',
    labels: { outcome: ['encoded', 'reused'] },
  },
  decoder_steps_total: { kind: 'counter', help: 'Decoder runs of the speech model.', labels: {} },
  draft_tokens_total: {
    kind: 'counter',
    help: 'Tokens of earlier hypotheses that were offered to the decoder, by whether it took them over.',
    labels: { outcome: ['accepted', 'rejected'] },
  },
  early_finals_total: {
    kind: 'counter',
    help: 'Finals computed in a pause, before the end was decided, by whether the end came or somebody spoke on.',
    labels: { outcome: ['used', 'wasted'] },
  },
  partial_latency_seconds: {
    kind: 'histogram',
    help: 'Age of the newest audio in a partial when it is sent, since it came from its audio worker.',
    labels: {},
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  final_latency_seconds: {
    kind: 'histogram',
    help: 'From the endpoint becoming known in the gateway to the final being sent.',
    labels: {},
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  speech_final_latency_seconds: {
    kind: 'histogram',
    help: 'From the end of the voice, within a frame, to the final being sent; of utterances that silence ended, which is part of it.',
    labels: {},
    buckets: SPEECH_LATENCY_BUCKETS_SECONDS,
  },
  partials_suspended: { kind: 'gauge', help: '1 while partials are suspended for load.', labels: {} },
  load_pressure: {
    kind: 'gauge',
    help: 'Load as a share of what there is, the scarcest of load_ratio; decides the rung.',
    labels: {},
  },
  load_ratio: {
    kind: 'gauge',
    help: 'Load by source, as a share of what there is, over the last seconds.',
    labels: { source: LOAD_SOURCES },
  },
  load_rung: {
    kind: 'gauge',
    help: 'What is given up for load: 0 nothing, 1 partials, 2 new sessions, 3 sessions in which nobody speaks.',
    labels: {},
  },
  sessions_headroom: {
    kind: 'gauge',
    help: 'Sessions like the present ones that would fit before new ones are refused.',
    labels: {},
  },
  sessions_max: { kind: 'gauge', help: 'Sessions that may be open, as configured.', labels: {} },
  sessions_shed_total: {
    kind: 'counter',
    help: 'Sessions ended for load, in which nobody spoke and nothing was owed.',
    labels: {},
  },
  partials_dropped_total: {
    kind: 'counter',
    help: 'Partials not sent because a client reads slowly.',
    labels: {},
  },
  workers: {
    kind: 'gauge',
    help: 'Worker processes by role and state.',
    labels: {
      role: ROLES,
      state: ['starting', 'ready', 'stopping', 'backoff', 'parked', 'failed', 'closed'],
    },
  },
  worker_deaths_total: {
    kind: 'counter',
    help: 'Worker processes that ended without being asked to.',
    labels: { role: ROLES, cause: ['exit', 'signal', 'hang', 'deadline', 'start', 'memory'] },
  },
  worker_restarts_total: {
    kind: 'counter',
    help: 'Worker processes started again.',
    labels: { role: ROLES },
  },
  worker_devices: {
    kind: 'gauge',
    help: 'Inference worker slots by what they run on: the configured device, or the CPU in place of it.',
    labels: { device: ['configured', 'fallback'] },
  },
  device_fallbacks_total: {
    kind: 'counter',
    help: 'Times an inference worker slot gave up its accelerator, and came back to it.',
    labels: { outcome: ['left', 'returned'] },
  },
  device_probes_total: {
    kind: 'counter',
    help: 'Workers tried on an accelerator that was given up.',
    labels: { outcome: ['passed', 'failed'] },
  },
  worker_rss_bytes: {
    kind: 'gauge',
    help: 'Resident memory of all workers of a role.',
    labels: { role: ROLES },
  },
  workers_slowed: {
    kind: 'gauge',
    help: 'Worker processes that are slower than they could be; the log says why.',
    labels: { role: ROLES },
  },
  gateway_restarts_total: {
    kind: 'counter',
    help: 'Gateways that the supervisor has started in place of one that died, since it was started itself.',
    labels: {},
  },
  crash_reports_total: {
    kind: 'counter',
    help: 'Crash reports written.',
    labels: { role: [...ROLES, 'gateway'] },
  },
  crash_record_write_failures_total: {
    kind: 'counter',
    help: 'Crash reports that could not be written; they are in the log.',
    labels: {},
  },
  quarantined_contents: {
    kind: 'gauge',
    help: 'Audio that is refused because it ended workers.',
    labels: {},
  },
  quarantine_refusals_total: {
    kind: 'counter',
    help: 'Jobs not started because their audio, or audio that begins alike, ended workers.',
    labels: { kind: KINDS },
  },
  quarantine_write_failures_total: {
    kind: 'counter',
    help: 'Quarantined audio that could not be kept on disk.',
    labels: {},
  },
  replays_total: { kind: 'counter', help: 'Sessions rebuilt in a new audio worker.', labels: {} },
  metric_rejections_total: {
    kind: 'counter',
    help: 'Reports that were dropped because their name, labels or value were not valid.',
    labels: { reason: ['name', 'label', 'value', 'collector'] },
  },
  log_lines_dropped_total: {
    kind: 'counter',
    help: 'Log lines dropped because nobody reads the output.',
    labels: {},
  },
  ...RESOURCE_METRICS,
} as const satisfies Readonly<Record<string, MetricSpec>>;

export type MetricName = keyof typeof METRICS;
type NameOf<K extends MetricSpec['kind']> = {
  [N in MetricName]: (typeof METRICS)[N]['kind'] extends K ? N : never;
}[MetricName];
export type CounterName = NameOf<'counter'>;
export type GaugeName = NameOf<'gauge'>;
export type HistogramName = NameOf<'histogram'>;
/** The labels of a metric, each with one of its allowed values. */
export type LabelsOf<N extends MetricName> = {
  readonly [
    L in keyof (typeof METRICS)[N]['labels']
  ]: (typeof METRICS)[N]['labels'][L] extends readonly (infer V)[] ? V : never;
};

/** Where the parts report what they did. No call ever throws; a value that is not finite is dropped and counted. */
export interface Telemetry {
  /** Adds `by` (default 1, ≥ 0) to a counter. */
  count<N extends CounterName>(name: N, labels: LabelsOf<N>, by?: number): void;
  set<N extends GaugeName>(name: N, labels: LabelsOf<N>, value: number): void;
  observe<N extends HistogramName>(name: N, labels: LabelsOf<N>, value: number): void;
}

/** Counts an error under its class. */
export function countError(telemetry: Telemetry, error: TranscriptionError): void {
  telemetry.count('errors_total', { class: classOf(error) });
}

function classOf(error: TranscriptionError): LabelsOf<'errors_total'>['class'] {
  if (error instanceof ProtocolError) return 'protocol';
  if (error instanceof LimitError) return 'limit';
  if (error instanceof AccessError) return 'access';
  if (error instanceof AudioError) return 'audio';
  if (error instanceof OverloadError) return 'overload';
  if (error instanceof InferenceError) return 'inference';
  return 'internal';
}
