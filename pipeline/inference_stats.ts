/** What a recogniser tells of its work, and the metrics it becomes. */
import type { Hypothesis } from './contracts.ts';
import type { Telemetry } from './telemetry.ts';

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
