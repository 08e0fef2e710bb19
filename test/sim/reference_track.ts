/**
 * The same audio path without processes, pipes, deaths or replays: what a session's inputs must have become. Since a track is
 * a function of its inputs, this is the undisturbed run of every session, whatever happened to it.
 */
import { RunningTrack } from '../../pipeline/audio_track.ts';
import type { TrackSettings } from '../../pipeline/audio_messages.ts';
import type { TrackEvent, TrackInput } from '../../pipeline/contracts.ts';
import { judgeFrame, ScriptedDecoders, scriptedParts, type Accuse } from './scripted_audio.ts';

/** The events that these inputs give, in order. */
export function referenceEvents(
  settings: TrackSettings,
  inputs: readonly TrackInput[],
  accuse: Accuse,
): readonly TrackEvent[] {
  const events: TrackEvent[] = [];
  const parts = scriptedParts(new ScriptedDecoders(accuse), () => Promise.resolve(new Float32Array(0)));
  const track = new RunningTrack(settings, parts, {
    output: {
      emit: (event) => {
        events.push(event);
      },
      decoded: () => undefined,
    },
  });
  for (const [index, input] of inputs.entries()) track.enqueue(index + 1, input);
  for (let frame = track.nextFrame(); frame !== undefined; frame = track.nextFrame()) {
    track.judge(frame, judgeFrame(frame, track.voice, accuse));
  }
  return events;
}

/** An event as one line; of PCM its place, not its samples. */
export function eventLine(event: TrackEvent): string {
  switch (event.type) {
    case 'pcm':
      return `pcm ${event.startSamples} +${event.pcm.length}`;
    case 'speechStart':
      return `speechStart ${event.startSamples} at ${event.decidedAtSamples}`;
    case 'speechEnd':
      return `speechEnd ${event.startSamples}-${event.endSamples} at ${event.decidedAtSamples} ${event.reason} ${event.speechSamples}`;
    case 'fault':
      return `fault ${event.code} ${event.count}`;
    case 'flushed':
      return `flushed ${event.id} at ${event.atSamples}`;
  }
}
