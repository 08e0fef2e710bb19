/** What a recogniser tells of its work, and the metrics it becomes. */
import { samplesToMs } from './audio.ts';
import type { BatchRun } from './batch_size.ts';
import type { BatchWork, Hypothesis, RecognitionTask } from './contracts.ts';
import type { Telemetry } from './telemetry.ts';

/** Adds what one batch was, beside the work of its rows. */
export function countBatch(
  telemetry: Telemetry,
  { rows, tookMs, work }: BatchRun & { readonly work: BatchWork },
): void {
  const { samples, paddingSamples, movedBytes, halvings } = work;
  telemetry.observe('batch_rows', {}, rows);
  telemetry.observe('batch_seconds', {}, tookMs / 1_000);
  telemetry.count('batch_samples_total', { content: 'audio' }, samples - paddingSamples);
  telemetry.count('batch_samples_total', { content: 'padding' }, paddingSamples);
  telemetry.count('device_moved_bytes_total', {}, movedBytes);
  telemetry.count('batch_halvings_total', {}, halvings);
}

/** Adds one run's work to the metrics. */
export function countHypothesis(
  telemetry: Telemetry,
  { pcm, draft }: RecognitionTask,
  { encodeMs, decodeMs, reusedMs, decoderSteps, draftAcceptedTokens }: Hypothesis,
): void {
  const encodedMs = samplesToMs(pcm.length) - reusedMs;
  telemetry.count('encoder_audio_seconds_total', { outcome: 'encoded' }, encodedMs / 1_000);
  telemetry.count('encoder_audio_seconds_total', { outcome: 'reused' }, reusedMs / 1_000);
  telemetry.count('model_seconds_total', { phase: 'encode' }, encodeMs / 1_000);
  telemetry.count('model_seconds_total', { phase: 'decode' }, decodeMs / 1_000);
  telemetry.count('decoder_steps_total', {}, decoderSteps);
  telemetry.count('draft_tokens_total', { outcome: 'accepted' }, draftAcceptedTokens);
  telemetry.count('draft_tokens_total', { outcome: 'rejected' }, draft.length - draftAcceptedTokens);
}
