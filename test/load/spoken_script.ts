/** What one session of the load says, and when: sentences with silence between them, encoded beforehand. */
import { msToSamples, samplesToMs } from '../../pipeline/audio.ts';
import { encodeOpus } from '../../server/opus_encoder.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise, type Voice } from '../support/speech.ts';

/** Duration of every packet. */
export const PACKET_MS = 20;
/** After the last sentence there is at least this much silence: more than ends an utterance. */
const LAST_PAUSE_MIN_MS = 1_500;
/** Nobody speaks from the very first sample. */
const FIRST_PAUSE_MIN_MS = 300;
/** Voices that the smallest model reads well. */
const VOICES: readonly Voice[] = ['rms', 'slt'];
/** Amplitude below which the end of a sentence is silence. */
const AUDIBLE_MIN = 200;

/** A sentence and its place in the session's audio. */
export interface SpokenSentence {
  readonly text: string;
  readonly startAudioMs: number;
  /** Where its last audible sample is. */
  readonly endAudioMs: number;
}

export interface SpokenScript {
  readonly sentences: readonly SpokenSentence[];
  /** Packets of PACKET_MS, in order. */
  readonly packets: readonly Uint8Array[];
}

export interface ScriptOptions {
  readonly texts: readonly string[];
  readonly durationMs: number;
  /** Share of the time that is speech: 0–1. */
  readonly speakingShare: number;
  /** Between two sentences there is at least this much silence: more than ends an utterance. */
  readonly pauseMinMs: number;
  /** Where in its first round of silence and sentence the session begins: 0–1. */
  readonly phase: number;
  readonly random: () => number;
}

/** Speaks as many of the texts as fit; the silences are stretched to the share, and their lengths vary. */
export async function prepareScript(options: ScriptOptions): Promise<SpokenScript> {
  const { texts, durationMs, speakingShare, pauseMinMs, phase, random } = options;
  const quiet = encodeOpus(silence(2_000));
  const packets: Uint8Array[] = [];
  const sentences: SpokenSentence[] = [];
  const pauseFor = (untilMs: number): void => {
    while (packets.length * PACKET_MS < untilMs)
      packets.push(quiet[packets.length % quiet.length] ?? Uint8Array.of());
  };
  const voice = VOICES[Math.floor(random() * VOICES.length)] ?? 'rms';
  for (const text of texts) {
    const speech = await synthesise(text, { voice });
    const endMs = samplesToMs(lastAudible(speech));
    // Before each sentence: the silence that is due for it, half to one and a half times as long.
    const stretch = 0.5 + random();
    const pauseMs =
      sentences.length === 0
        ? FIRST_PAUSE_MIN_MS + (endMs / speakingShare) * phase
        : Math.max(pauseMinMs, ((endMs * (1 - speakingShare)) / speakingShare) * stretch);
    const startMs = packets.length * PACKET_MS + pauseMs;
    if (startMs + endMs + LAST_PAUSE_MIN_MS > durationMs) break;
    pauseFor(startMs);
    const startAudioMs = packets.length * PACKET_MS;
    sentences.push({ text, startAudioMs, endAudioMs: startAudioMs + endMs });
    packets.push(...encodeOpus(concat(speech, silence(200))));
  }
  pauseFor(durationMs);
  return { sentences, packets };
}

function lastAudible(pcm: Int16Array): number {
  let end = pcm.length;
  while (end > 0 && Math.abs(pcm[end - 1] ?? 0) < AUDIBLE_MIN) end -= msToSamples(1);
  return Math.max(0, end);
}
