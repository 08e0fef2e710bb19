/** What a recogniser tells of its work, and the metrics it becomes. */
import type { BatchRun } from './batch_size.ts';
import type { BatchWork, Hypothesis } from './contracts.ts';
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

/** Adds one run's work to the metrics; `draft` is what it was offered. */
export function countHypothesis(
  telemetry: Telemetry,
  draft: readonly number[],
  { encodeMs, decodeMs, decoderSteps, draftAcceptedTokens }: Hypothesis,
): void {
  telemetry.count('model_seconds_total', { phase: 'encode' }, encodeMs / 1_000);
  telemetry.count('model_seconds_total', { phase: 'decode' }, decodeMs / 1_000);
  telemetry.count('decoder_steps_total', {}, decoderSteps);
  telemetry.count('draft_tokens_total', { outcome: 'accepted' }, draftAcceptedTokens);
  telemetry.count('draft_tokens_total', { outcome: 'rejected' }, draft.length - draftAcceptedTokens);
}
