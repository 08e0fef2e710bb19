/** What audio workers tell of their work, and the metrics it becomes. */
import { SAMPLE_RATE_HZ } from './audio.ts';
import type { Telemetry } from './telemetry.ts';

/** What an audio worker did since its last reply. Durations in ms, audio in samples. */
export interface AudioStats {
  /** Processor time of the process; 0 where it was told a moment ago. */
  readonly busyMs: number;
  readonly decodeMs: number;
  readonly vadMs: number;
  readonly vadFrameCount: number;
  readonly vadRunCount: number;
  readonly samples: number;
  readonly decodedCount: number;
  readonly concealedCount: number;
  readonly ignoredCount: number;
  /** Times the Opus codec trapped and was rebuilt. */
  readonly opusTrapCount: number;
}

/** Adds one reply's work to the metrics. */
export function countAudioStats(telemetry: Telemetry, stats: AudioStats): void {
  telemetry.count('audio_seconds_total', {}, stats.samples / SAMPLE_RATE_HZ);
  telemetry.count('packets_total', { outcome: 'decoded' }, stats.decodedCount);
  telemetry.count('packets_total', { outcome: 'concealed' }, stats.concealedCount);
  telemetry.count('packets_total', { outcome: 'ignored' }, stats.ignoredCount);
  telemetry.count('opus_traps_total', {}, stats.opusTrapCount);
  telemetry.count('decode_seconds_total', {}, stats.decodeMs / 1000);
  telemetry.count('vad_seconds_total', {}, stats.vadMs / 1000);
  telemetry.count('vad_frames_total', {}, stats.vadFrameCount);
  telemetry.count('vad_runs_total', {}, stats.vadRunCount);
  if (stats.vadRunCount === 0) return;
  // A worker tells of several rounds at a time where none of them had anything to say.
  const perRound = 1_000 * stats.vadRunCount;
  telemetry.observe('audio_round_seconds', { stage: 'decode' }, stats.decodeMs / perRound);
  telemetry.observe('audio_round_seconds', { stage: 'vad' }, stats.vadMs / perRound);
}
