/** What is noted of a session's work: figures for the metrics, moments for its trace. Never what was said. */
import { samplesToMs } from './audio.ts';
import type { Clock } from './clock.ts';
import type { TrackEvent } from './contracts.ts';
import { TRACE_AUDIO_GAP_MS } from './limits.ts';
import type { SessionEvent } from './session_events.ts';
import type { SessionSettings } from './session_settings.ts';
import { SessionTrace, type MarkKind } from './session_trace.ts';
import type { LabelsOf, Telemetry } from './telemetry.ts';
import type { SettledText, Utterance } from './utterance.ts';

export interface SessionRecordOptions {
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  /** Default: one of its own. */
  readonly trace?: SessionTrace;
  readonly settings: Pick<SessionSettings, 'endpointing' | 'dialect'>;
}

export class SessionRecord {
  readonly #options: SessionRecordOptions;
  readonly #trace: SessionTrace;
  #audioAtMs = -Infinity;

  constructor(options: SessionRecordOptions) {
    this.#options = options;
    this.#trace = options.trace ?? new SessionTrace(options.clock);
  }

  mark(kind: MarkKind, utterance?: Pick<Utterance, 'id'>): void {
    this.#trace.mark(kind, utterance?.id);
  }

  /** A callback that marks. */
  marker(kind: MarkKind, utterance: Pick<Utterance, 'id'>): () => void {
    return () => {
      this.mark(kind, utterance);
    };
  }

  /** A message of audio; an empty one is a sign of life and no audio. */
  received(byteCount: number): void {
    const { telemetry, clock } = this.#options;
    if (byteCount === 0) {
      telemetry.count('packets_total', { outcome: 'ignored' });
      return;
    }
    telemetry.count('received_bytes_total', {}, byteCount);
    const gapMs = clock.nowMs() - this.#audioAtMs;
    this.#audioAtMs = clock.nowMs();
    if (gapMs > TRACE_AUDIO_GAP_MS) this.#trace.mark('audio', 0, gapMs === Infinity ? 0 : gapMs);
  }

  speechStart(utterance: Utterance, decidedAtSamples: number): void {
    const backMs = samplesToMs(decidedAtSamples - utterance.startSamples);
    this.#trace.mark('speechStart', utterance.id, backMs);
  }

  speechEnd(utterance: Utterance, event: Extract<TrackEvent, { type: 'speechEnd' }>): void {
    this.#options.telemetry.count('utterance_ends_total', { reason: event.reason });
    this.#trace.mark('speechEnd', utterance.id, samplesToMs(event.decidedAtSamples - event.endSamples));
  }

  /** Passes on why a text is withheld; undefined: it is not. */
  judged<R extends LabelsOf<'suppressed_texts_total'>['reason']>(reason: R | undefined): R | undefined {
    if (reason !== undefined) this.#options.telemetry.count('suppressed_texts_total', { reason });
    return reason;
  }

  earlyFinal(outcome: LabelsOf<'early_finals_total'>['outcome']): void {
    this.#options.telemetry.count('early_finals_total', { outcome });
  }

  /** `pcmAtMs`: when its newest audio came from the audio worker. */
  partialSent(utterance: Utterance, pcmAtMs: number): void {
    const { telemetry, clock } = this.#options;
    const ageMs = clock.nowMs() - pcmAtMs;
    telemetry.observe('partial_latency_seconds', {}, ageMs / 1_000);
    this.#trace.mark('partialSent', utterance.id, ageMs);
  }

  finalFailed(utterance: Utterance): void {
    this.#options.telemetry.count('errors_total', { class: 'inference' });
    this.mark('finalFailed', utterance);
  }

  finalSent(utterance: Utterance, end: NonNullable<Utterance['end']>, outcome: SettledText['outcome']): void {
    const { telemetry, clock, settings } = this.#options;
    const latencyMs = clock.nowMs() - end.decidedAtMs;
    telemetry.count('utterances_total', { dialect: settings.dialect, outcome });
    telemetry.observe('final_latency_seconds', {}, latencyMs / 1_000);
    // Where silence ended it, the voice ended so much audio before the decision, within a frame.
    if (end.reason === 'silence') {
      const sinceVoiceMs = settings.endpointing.silenceMs + latencyMs;
      telemetry.observe('speech_final_latency_seconds', {}, sinceVoiceMs / 1_000);
    }
    this.#trace.mark('finalSent', utterance.id, latencyMs);
  }

  /** A result for a session that has gone. */
  stale(): void {
    this.#options.telemetry.count('stale_results_total', {});
  }

  notice(code: Extract<SessionEvent, { type: 'notice' }>['code'], utteranceId?: number): void {
    this.#options.telemetry.count('notices_total', { code });
    this.#trace.mark('notice', utteranceId);
  }
}
