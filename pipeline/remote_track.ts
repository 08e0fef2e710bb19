/** A session's audio path and its worker, as the audio pool keeps them. */
import {
  GONE_SEQ,
  OPENING_SEQ,
  type AudioReply,
  type AudioRequest,
  type TrackEntry,
  type TrackSettings,
  type TrackSnapshot,
} from './audio_messages.ts';
import type { Cancel } from './clock.ts';
import type { TrackEvent, TrackInput } from './contracts.ts';
import { INPUT_OVERHEAD_BYTES } from './limits.ts';
import { Strikes } from './strikes.ts';
import type { SupervisedWorker } from './supervised_worker.ts';

/** What is before the opening of a track, among the numbers of its inputs. */
const NOTHING_SEQ = -1;

/** One session's audio path as the pool keeps it: all that a replay needs, and what is held against it. */
export interface RemoteTrack {
  readonly id: number;
  readonly settings: TrackSettings;
  readonly onEvent: (event: TrackEvent) => void;
  shard: Shard;
  checkpoint: TrackSnapshot | undefined;
  /** Inputs after the checkpoint, in order. */
  log: { readonly seq: number; readonly input: TrackInput }[];
  logBytes: number;
  /** An input whose way through the worker is being timed, and when it came. */
  timed: { readonly seq: number; readonly atMs: number } | undefined;
  nextInputSeq: number;
  /** Number of the last output that was delivered. */
  deliveredSeq: number;
  /** Number of the last input that a worker has survived; the opening is the first. */
  provenSeq: number;
  /** Up to here inputs are suspect: a worker died before it had taken them. No suspicion if it is not above `provenSeq`. */
  suspectSeq: number;
  /** Of the present suspicion. */
  strikes: Strikes;
  /** While suspect: the last input that its worker was given. */
  triedSeq: number;
  poisonedAtMs: number;
  /** Its client knows that audio was lost to poison. */
  hasToldLoss: boolean;
}

/** One audio worker and the tracks that run in it. */
export interface Shard {
  readonly worker: SupervisedWorker<AudioRequest, AudioReply>;
  readonly tracks: Map<number, RemoteTrack>;
  entries: TrackEntry[];
  cancelSend: Cancel | undefined;
  /** Tracks whose opening or inputs the process has and has not taken yet, with the last of these. */
  readonly outstanding: Map<number, number>;
  /** Tracks that wait to be tried. While there are any, one message at a time is given to the process. */
  suspects: RemoteTrack[];
  /** The track of which, and of nothing else, the process has just been given something. */
  tried: RemoteTrack | undefined;
  /** The last message was a trial: what the other tracks have to say comes next. */
  hasTried: boolean;
}

/** A track that has been given nothing yet. */
export function createTrack(start: Pick<RemoteTrack, 'id' | 'settings' | 'onEvent' | 'shard'>): RemoteTrack {
  return {
    ...start,
    checkpoint: undefined,
    log: [],
    logBytes: 0,
    timed: undefined,
    nextInputSeq: OPENING_SEQ + 1,
    deliveredSeq: 0,
    provenSeq: NOTHING_SEQ,
    suspectSeq: NOTHING_SEQ,
    strikes: new Strikes(),
    triedSeq: NOTHING_SEQ,
    poisonedAtMs: -Infinity,
    hasToldLoss: false,
  };
}

/** A worker died on inputs of this track that none has survived yet. */
export function isSuspect({ provenSeq, suspectSeq }: RemoteTrack): boolean {
  return suspectSeq > provenSeq;
}

/** The inputs in the log after one number, up to another. */
export function inputEntries(track: RemoteTrack, afterSeq: number, lastSeq: number): TrackEntry[] {
  return track.log
    .filter(({ seq }) => seq > afterSeq && seq <= lastSeq)
    .map(({ seq, input }) => ({ type: 'input', track: track.id, seq, input }));
}

/** The number an entry has among its track's inputs. */
export function seqOf(entry: TrackEntry): number {
  switch (entry.type) {
    case 'open':
      return OPENING_SEQ;
    case 'input':
      return entry.seq;
    case 'close':
      return GONE_SEQ;
  }
}

/** Begins a suspect's trial in a worker that has nothing of it. */
export function beginTrial(track: RemoteTrack): void {
  track.triedSeq = NOTHING_SEQ;
}

/**
 * What a suspect's worker is given next: the opening, then all that is proven at once, then input by input, so that a
 * death names its cause. Empty when the checkpoint holds the rest: that cannot be tried.
 */
export function takeTrialEntries(track: RemoteTrack): TrackEntry[] {
  const entries = nextTrialEntries(track);
  const last = entries.at(-1);
  if (last !== undefined) track.triedSeq = seqOf(last);
  return entries;
}

function nextTrialEntries(track: RemoteTrack): TrackEntry[] {
  const { triedSeq, provenSeq, suspectSeq } = track;
  if (triedSeq === NOTHING_SEQ) return [openEntry(track)];
  const proven = inputEntries(track, triedSeq, provenSeq);
  return proven.length > 0 ? proven : inputEntries(track, provenSeq, suspectSeq).slice(0, 1);
}

/**
 * Notes that a worker died with everything up to `sentSeq` and not more. True if that names the cause, provided that it
 * was given alone: what is proven is tried many at once.
 */
export function suspect(track: RemoteTrack, sentSeq: number): boolean {
  const wasProven = sentSeq <= track.provenSeq;
  // What one worker has survived and the next perhaps not is proven no more.
  if (wasProven) track.provenSeq = NOTHING_SEQ;
  track.suspectSeq = Math.max(track.suspectSeq, sentSeq);
  return !wasProven || sentSeq === OPENING_SEQ;
}

/** Replaces the inputs from `seq` on for which there is another. */
export function replaceInputs(
  track: RemoteTrack,
  fromSeq: number,
  replacementOf: (input: TrackInput, seq: number) => TrackInput,
): void {
  for (const [index, { seq, input }] of track.log.entries()) {
    if (seq < fromSeq) continue;
    const replacement = replacementOf(input, seq);
    track.log[index] = { seq, input: replacement };
    track.logBytes += costBytes(replacement) - costBytes(input);
  }
}

/** Opens the track in a worker, at its last checkpoint. */
export function openEntry(track: RemoteTrack): TrackEntry {
  const { id, settings, checkpoint } = track;
  return { type: 'open', track: id, settings, ...(checkpoint === undefined ? {} : { state: checkpoint }) };
}

/** Takes over a checkpoint; the inputs it includes are not needed again. */
export function trimLog(track: RemoteTrack, checkpoint: { inputSeq: number; state: TrackSnapshot }): void {
  track.checkpoint = checkpoint.state;
  const kept = track.log.findIndex((entry) => entry.seq > checkpoint.inputSeq);
  const dropped = track.log.splice(0, kept === -1 ? track.log.length : kept);
  for (const { input } of dropped) track.logBytes -= costBytes(input);
}

/** How long the input that is timed took, if the worker has now taken it. */
export function takeTimed(track: RemoteTrack, takenSeq: number, nowMs: number): number | undefined {
  if (track.timed === undefined || track.timed.seq > takenSeq) return undefined;
  const tookMs = nowMs - track.timed.atMs;
  track.timed = undefined;
  return tookMs;
}

/** What an input counts for in the bound on a log. */
export function costBytes(input: TrackInput): number {
  return INPUT_OVERHEAD_BYTES + (input.type === 'audio' ? input.bytes.length : 0);
}
