/** What each person should be told, computed in this process, without a server and without a fault. */
import type { TrackSettings } from '../../pipeline/audio_messages.ts';
import type { AudioTrack } from '../../pipeline/audio_pool.ts';
import type { Hypothesis, TrackEvent } from '../../pipeline/contracts.ts';
import { AudioSpan } from '../../pipeline/audio_span.ts';
import { LocalAudioPool, LocalInferencePool } from '../support/local_pools.ts';
import type { Hearing, Script } from './crowd.ts';

/** One utterance of the undisturbed run. Positions in whole ms, as finals have them. */
export interface ExpectedUtterance {
  readonly startAudioMs: number;
  readonly endAudioMs: number;
  readonly text: string;
}

const SETTINGS: TrackSettings = {
  format: { encoding: 'opus', sampleRateHz: 16_000, channels: 1 },
  endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
  originSamples: 0,
};

/** The utterances of each script; `transcribe` is the model that the server runs too. */
export async function expectedOf(
  scripts: readonly Script[],
  transcribe: (pcm: Int16Array) => Promise<Pick<Hypothesis, 'text'>>,
): Promise<readonly (readonly ExpectedUtterance[])[]> {
  const pool = await LocalAudioPool.load();
  const tracks = scripts.map((script) => listen(pool, script));
  // All at once, so that the voice detector has batches to judge.
  await pool.settled;
  const expected: ExpectedUtterance[][] = [];
  for (const { track, spans } of tracks) {
    track.close();
    const utterances: ExpectedUtterance[] = [];
    for (const { startSamples, endSamples, pcm } of spans) {
      const { text } = await transcribe(pcm);
      utterances.push({
        startAudioMs: Math.round(startSamples / 16),
        endAudioMs: Math.round(endSamples / 16),
        text,
      });
    }
    expected.push(utterances);
  }
  return expected;
}

/** The same with the real model. */
export async function expectedOfModel(scripts: readonly Script[]): ReturnType<typeof expectedOf> {
  const pool = await LocalInferencePool.load();
  try {
    return await expectedOf(scripts, (pcm) => pool.run({ jobId: 0, pcm, draft: [] }));
  } finally {
    await pool.close();
  }
}

interface SpokenSpan {
  readonly startSamples: number;
  readonly endSamples: number;
  readonly pcm: Int16Array;
}

/** Hears a script; `spans` is complete when the pool has settled. */
function listen(
  pool: LocalAudioPool,
  script: Script,
): { readonly track: AudioTrack; readonly spans: readonly SpokenSpan[] } {
  const spans: SpokenSpan[] = [];
  const audio = new AudioSpan(0);
  const track = pool.open(SETTINGS, (event: TrackEvent) => {
    if (event.type === 'pcm') audio.append(event.startSamples, event.pcm);
    if (event.type !== 'speechEnd') return;
    const { startSamples, endSamples } = event;
    spans.push({ startSamples, endSamples, pcm: audio.slice(startSamples, endSamples) });
    audio.dropBefore(endSamples);
  });
  for (const bytes of script.packets) track.push({ type: 'audio', bytes });
  track.push({ type: 'flush', id: 'end' });
  return { track, spans };
}

/** What came of what was said. */
export interface Comparison {
  readonly utterances: number;
  readonly lost: number;
  readonly repeated: number;
  readonly wrong: number;
  /** Each wrong text, and what it is for. */
  readonly examples: readonly string[];
}

/** Compares what people were told with what they should have been told, utterance by utterance. */
export function compare(
  hearings: readonly Hearing[],
  expected: readonly (readonly ExpectedUtterance[])[],
): Comparison {
  const examples: string[] = [];
  let [utterances, lost, repeated, wrong] = [0, 0, 0, 0];
  for (const [person, hearing] of hearings.entries()) {
    const ids = new Set(hearing.finals.map((final) => final.utteranceId));
    repeated += hearing.finals.length - ids.size;
    const own = expected[person] ?? [];
    utterances += own.length;
    for (const utterance of own) {
      const finals = hearing.finals.filter(
        (final) => final.startAudioMs < utterance.endAudioMs && final.endAudioMs > utterance.startAudioMs,
      );
      const [final] = finals;
      if (final === undefined) lost++;
      else if (finals.length > 1) repeated++;
      else if (!isSame(final, utterance)) {
        wrong++;
        examples.push(`${described(final)} was heard for ${described(utterance)}`);
      }
    }
    wrong += Math.max(0, ids.size - own.length);
  }
  return { utterances, lost, repeated, wrong, examples };
}

export function described({ startAudioMs, endAudioMs, text }: ExpectedUtterance): string {
  return `${startAudioMs}–${endAudioMs} ms "${text}"`;
}

function isSame(final: ExpectedUtterance, expected: ExpectedUtterance): boolean {
  return (
    final.text === expected.text &&
    final.startAudioMs === expected.startAudioMs &&
    final.endAudioMs === expected.endAudioMs
  );
}
