/** Sends spans to a collector of OpenTelemetry, as OTLP over HTTP in JSON. What it does not take in time is dropped. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import {
  OTLP_BATCH_MAX_COUNT,
  OTLP_FLUSH_INTERVAL_MS,
  OTLP_QUEUE_MAX_COUNT,
  OTLP_REQUEST_MAX_MS,
} from '../../pipeline/limits.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import type { Log } from './log.ts';
import type { TraceListener, TraceReport } from './session_chronicle.ts';
import { sessionSpan, utteranceSpans, type Span } from './session_spans.ts';

export interface OtlpExporterOptions {
  /** Base address of the collector; `/v1/traces` is added. */
  readonly endpoint: string;
  readonly version: string;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly log: Log;
}

export class OtlpExporter implements TraceListener {
  readonly #options: OtlpExporterOptions;
  readonly #queue: Span[] = [];
  #cancel: Cancel | undefined;
  #sending: Promise<void> | undefined;
  /** Aborted: nothing is sent any more. */
  readonly #end = new AbortController();

  constructor(options: OtlpExporterOptions) {
    this.#options = options;
  }

  utteranceEnded(report: TraceReport, utteranceId: number): void {
    this.#enqueue(utteranceSpans(report, utteranceId));
  }

  sessionEnded(report: TraceReport): void {
    this.#enqueue([sessionSpan(report)]);
  }

  /** Sends what waits, for as long as one request may take; what the collector has not taken by then is dropped. */
  async close(): Promise<void> {
    this.#cancel?.();
    const cancelEnd = this.#options.clock.after(OTLP_REQUEST_MAX_MS, () => {
      this.#end.abort(new Error('the server ends'));
    });
    await this.#sending;
    while (this.#queue.length > 0) await this.#sendBatch();
    cancelEnd();
  }

  #enqueue(spans: readonly Span[]): void {
    const { clock, telemetry } = this.#options;
    const roomCount = Math.max(0, OTLP_QUEUE_MAX_COUNT - this.#queue.length);
    this.#queue.push(...spans.slice(0, roomCount));
    telemetry.count('otlp_spans_total', { outcome: 'dropped' }, Math.max(0, spans.length - roomCount));
    this.#cancel ??= clock.after(OTLP_FLUSH_INTERVAL_MS, () => {
      this.#sending = this.#sendAll();
    });
  }

  async #sendAll(): Promise<void> {
    while (this.#queue.length > 0) await this.#sendBatch();
    this.#cancel = undefined;
  }

  async #sendBatch(): Promise<void> {
    const { endpoint, telemetry, log } = this.#options;
    const spans = this.#queue.splice(0, OTLP_BATCH_MAX_COUNT);
    try {
      const answer = await fetch(`${endpoint.replace(/\/$/, '')}/v1/traces`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(this.#request(spans)),
        signal: AbortSignal.any([this.#end.signal, AbortSignal.timeout(OTLP_REQUEST_MAX_MS)]),
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`the collector answered ${answer.status}`);
      telemetry.count('otlp_spans_total', { outcome: 'sent' }, spans.length);
    } catch (error) {
      telemetry.count('otlp_spans_total', { outcome: 'dropped' }, spans.length);
      log.warn('spans could not be sent', { err: error, spanCount: spans.length });
    }
  }

  #request(spans: readonly Span[]): unknown {
    const { version } = this.#options;
    const attributes = [
      { key: 'service.name', value: { stringValue: 'earwitness' } },
      { key: 'service.version', value: { stringValue: version } },
    ];
    const scope = { name: 'earwitness', version };
    return { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ scope, spans }] }] };
  }
}
