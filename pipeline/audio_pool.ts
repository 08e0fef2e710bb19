/**
 * The audio workers and the replay that makes their deaths invisible. Each session's audio path (a track) is a
 * deterministic function of its inputs: the pool keeps the last checkpoint and every input since, and when a worker
 * dies it rebuilds its tracks in another. Outputs are numbered; what was delivered before is not delivered again.
 */
import type { Clock } from './clock.ts';
import type { AudioFormat } from './audio.ts';
import type { AudioReply, AudioRequest, TrackEntry, TrackSettings } from './audio_messages.ts';
import { countAudioStats } from './audio_stats.ts';
import type { TrackEvent, TrackInput } from './contracts.ts';
import { blankAudio } from './blank_audio.ts';
import {
  AUDIO_POISON_REPEAT_MS,
  DISTURBANCE_MS,
  INPUT_COALESCE_MS,
  SESSION_INFLIGHT_MAX_BYTES,
} from './limits.ts';
import { PoisonMessages } from './poison_messages.ts';
import {
  beginTrial,
  costBytes,
  createTrack,
  inputEntries,
  isSuspect,
  openEntry,
  replaceInputs,
  seqOf,
  suspect,
  takeTimed,
  takeTrialEntries,
  trimLog,
  type RemoteTrack,
  type Shard,
} from './remote_track.ts';
import { Strikes } from './strikes.ts';
import { isFromOutside, SupervisedWorker, type WorkerDeath, type WorkerStatus } from './supervised_worker.ts';
import type { Telemetry } from './telemetry.ts';
import type { WorkerLauncher } from './worker_process.ts';

/** A session's audio path, wherever it runs. */
export interface AudioTrack {
  /** True while something that was pushed has not come through. */
  readonly isBehind: boolean;
  /** End of the audio that is known to be decoded, as a position: up to a checkpoint's interval behind. */
  readonly decodedSamples: number;
  /** `full`, of audio only: the path is too far behind; nothing was taken. */
  push(input: TrackInput): 'accepted' | 'full';
  /** Ends the path; no event comes after it. Idempotent. */
  close(): void;
}

/** Where audio paths run. */
export interface AudioPool {
  open(settings: TrackSettings, onEvent: (event: TrackEvent) => void): AudioTrack;
}

/** What of a session ended two workers, the second one alone in it. */
export interface AudioPoison {
  readonly format: AudioFormat;
  readonly outcome: 'concealed' | 'ended';
  /** Undefined if it was no message but opening the session, or a flush. */
  readonly message: Uint8Array | undefined;
}

export interface WorkerAudioPoolOptions {
  readonly launch: WorkerLauncher<AudioRequest, AudioReply>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly telemetry: Telemetry;
  /** Workers that share the sessions. */
  readonly workerCount: number;
  /** Workers beyond those, loaded and empty, that take over the sessions of one that dies. */
  readonly spareCount: number;
  readonly rssMaxBytes: number;
  readonly onChange: () => void;
  /** A worker died; `trackCount` sessions are being rebuilt. */
  readonly onDeath: (death: WorkerDeath, trackCount: number) => void;
  readonly onPoison?: (poison: AudioPoison) => void;
}

export class WorkerAudioPool implements AudioPool {
  readonly #options: WorkerAudioPoolOptions;
  readonly #shards: Shard[] = [];
  readonly #poisonMessages: PoisonMessages;
  #nextTrackId = 1;
  #busyMs = 0;
  #disturbedAtMs = -Infinity;
  #isClosed = false;

  constructor(options: WorkerAudioPoolOptions) {
    this.#options = options;
    this.#poisonMessages = new PoisonMessages(options.clock);
    for (let i = 0; i < options.workerCount + options.spareCount; i++) this.#shards.push(this.#createShard());
  }

  start(): void {
    for (const shard of this.#shards) shard.worker.start();
  }

  get readyCount(): number {
    return this.#shards.filter((shard) => shard.worker.state === 'ready').length;
  }

  /** Processor time that the workers spent, all together, since the start; other processes' is no load of ours. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Input of all sessions that is kept for a replay. */
  get keptBytes(): number {
    let bytes = 0;
    for (const { tracks } of this.#shards) for (const { logBytes } of tracks.values()) bytes += logBytes;
    return bytes;
  }

  statuses(): readonly WorkerStatus[] {
    return this.#shards.map((shard) => shard.worker.status);
  }

  open(settings: TrackSettings, onEvent: (event: TrackEvent) => void): AudioTrack {
    const track = createTrack({ id: this.#nextTrackId++, settings, onEvent, shard: this.#pickShard() });
    track.shard.tracks.set(track.id, track);
    this.#enqueue(track.shard, openEntry(track));
    return {
      get isBehind() {
        return (track.log.at(-1)?.seq ?? 0) > track.provenSeq;
      },
      get decodedSamples() {
        return track.checkpoint?.decodedSamples ?? settings.originSamples;
      },
      push: (input) => this.#push(track, input),
      close: () => {
        const { shard } = track;
        if (!shard.tracks.delete(track.id)) return;
        shard.suspects = shard.suspects.filter((other) => other !== track);
        this.#enqueue(shard, { type: 'close', track: track.id });
      },
    };
  }

  /** Ends the workers. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const shard of this.#shards) shard.cancelSend?.();
    await Promise.all(this.#shards.map((shard) => shard.worker.close()));
  }

  #push(track: RemoteTrack, offered: TrackInput): 'accepted' | 'full' {
    const input = this.#withoutPoison(track, offered);
    const bytes = costBytes(input);
    // The session itself bounds what is no audio, and waits for its answer.
    if (input.type === 'audio' && track.logBytes + bytes > SESSION_INFLIGHT_MAX_BYTES) return 'full';
    const seq = track.nextInputSeq++;
    track.log.push({ seq, input });
    track.logBytes += bytes;
    track.timed ??= { seq, atMs: this.#options.clock.nowMs() };
    if (!isSuspect(track)) this.#enqueue(track.shard, { type: 'input', track: track.id, seq, input });
    return 'accepted';
  }

  /** The input, or what stands in for a message that is known to end workers, whichever session sent it then. */
  #withoutPoison(track: RemoteTrack, input: TrackInput): TrackInput {
    const { format } = track.settings;
    if (input.type !== 'audio' || !this.#poisonMessages.has(input.bytes, format)) return input;
    this.#options.telemetry.count('audio_poisons_total', { outcome: 'refused' });
    if (!track.hasToldLoss) this.#tellLoss(track);
    return { type: 'audio', bytes: blankAudio(input.bytes, format) };
  }

  #tellLoss(track: RemoteTrack): void {
    track.hasToldLoss = true;
    track.onEvent({ type: 'fault', code: 'undecodable_packet', count: 1 });
  }

  /** Entries for a worker that is not ready are not kept: its tracks are rebuilt from their logs when it is. */
  #enqueue(shard: Shard, entry: TrackEntry): void {
    if (shard.worker.state !== 'ready') return;
    shard.entries.push(entry);
    this.#sendSoon(shard);
  }

  #sendSoon(shard: Shard): void {
    shard.cancelSend ??= this.#options.clock.after(INPUT_COALESCE_MS, () => {
      shard.cancelSend = undefined;
      this.#send(shard);
    });
  }

  /** Sends what waits. While there are suspects they take turns with the others, and each turn waits for its answer. */
  #send(shard: Shard): void {
    if (shard.worker.state !== 'ready') return;
    const hasSuspects = shard.suspects.length > 0;
    if ((hasSuspects || shard.tried !== undefined) && shard.outstanding.size > 0) return;
    shard.tried = undefined;
    if (hasSuspects && (!shard.hasTried || shard.entries.length === 0)) {
      this.#tryNext(shard);
      return;
    }
    shard.hasTried = false;
    this.#sendEntries(shard, shard.entries.splice(0));
    if (shard.suspects.length > 0 && shard.outstanding.size === 0) this.#tryNext(shard);
  }

  #sendEntries(shard: Shard, entries: readonly TrackEntry[]): void {
    if (entries.length === 0) return;
    for (const entry of entries) {
      // Of a track that is gone the worker answers the end, and nothing else.
      if (entry.type === 'close' || shard.tracks.has(entry.track)) {
        shard.outstanding.set(entry.track, seqOf(entry));
      }
    }
    shard.worker.send({ type: 'entries', entries });
  }

  /** Gives what is next of the first suspect to the process, alone. */
  #tryNext(shard: Shard): void {
    const [track] = shard.suspects;
    if (track === undefined) return;
    shard.hasTried = true;
    shard.tried = track;
    const entries = takeTrialEntries(track);
    this.#sendEntries(shard, entries);
    if (entries.length === 0) this.#release(track);
  }

  /** Nothing is held against the track any more: what was kept back follows. */
  #release(track: RemoteTrack): void {
    const { shard, suspectSeq } = track;
    shard.suspects = shard.suspects.filter((other) => other !== track);
    track.provenSeq = Math.max(track.provenSeq, suspectSeq);
    for (const entry of inputEntries(track, suspectSeq, Infinity)) this.#enqueue(shard, entry);
    this.#sendSoon(shard);
  }

  /** The process has survived these inputs. */
  #acknowledge(shard: Shard, taken: AudioReply['taken']): void {
    for (const { track: id, inputSeq } of taken) {
      if (inputSeq >= (shard.outstanding.get(id) ?? Infinity)) shard.outstanding.delete(id);
      const track = shard.tracks.get(id);
      if (track === undefined) continue;
      const tookMs = takeTimed(track, inputSeq, this.#options.clock.nowMs());
      if (tookMs !== undefined) this.#options.telemetry.observe('audio_path_seconds', {}, tookMs / 1_000);
      const wasSuspect = isSuspect(track);
      // Where several workers died and now one has not, chance had a hand in it.
      if (inputSeq > track.provenSeq && track.strikes.deathCount > 1) track.strikes = new Strikes();
      track.provenSeq = Math.max(track.provenSeq, inputSeq);
      if (!wasSuspect || isSuspect(track)) continue;
      track.strikes = new Strikes();
      this.#release(track);
    }
    if (shard.suspects.length > 0 || shard.tried !== undefined) this.#send(shard);
  }

  /** Ends a track from this side. */
  #fail(track: RemoteTrack, code: 'poison' | 'internal'): void {
    const { shard } = track;
    shard.tracks.delete(track.id);
    shard.suspects = shard.suspects.filter((other) => other !== track);
    track.onEvent({ type: 'fault', code, count: 1 });
  }

  /** Killed from outside, or in a time in which workers die that do nothing. */
  #isExcused(death: WorkerDeath): boolean {
    return isFromOutside(death) || this.#options.clock.nowMs() - this.#disturbedAtMs < DISTURBANCE_MS;
  }

  /** Who may have ended the process: every track of which it had not taken all. Who has: the one that was tried alone. */
  #blame(shard: Shard, death: WorkerDeath): void {
    const { outstanding, tried } = shard;
    const isOrderly = death.cause === 'memory';
    if (outstanding.size === 0 && !isOrderly) this.#disturbedAtMs = this.#options.clock.nowMs();
    const isExcused = this.#isExcused(death);
    let culprit: { readonly track: RemoteTrack; readonly seq: number } | undefined;
    for (const [id, sentSeq] of isOrderly ? [] : outstanding) {
      const track = shard.tracks.get(id);
      if (track === undefined) continue;
      if (track === tried || !isExcused) {
        track.strikes.begin();
        track.strikes.end(isExcused ? 'excused' : 'charged');
      }
      const isNamed = suspect(track, sentSeq);
      if (track === tried && isNamed && track.strikes.isPoison) culprit = { track, seq: sentSeq };
    }
    this.#clear(shard);
    if (culprit !== undefined) this.#condemn(culprit.track, culprit.seq);
  }

  #clear(shard: Shard): void {
    shard.entries = [];
    shard.outstanding.clear();
    shard.suspects = [];
    shard.tried = undefined;
    shard.hasTried = true;
  }

  /** Gives up the message that was tried; the session, if it is not the first one soon or was no message. */
  #condemn(track: RemoteTrack, seq: number): void {
    const { clock, telemetry, onPoison } = this.#options;
    const { format } = track.settings;
    const input = track.log.find((entry) => entry.seq === seq)?.input;
    const message = input?.type === 'audio' ? input.bytes : undefined;
    const isRepeated = clock.nowMs() - track.poisonedAtMs < AUDIO_POISON_REPEAT_MS;
    const outcome = message === undefined || isRepeated ? 'ended' : 'concealed';
    track.poisonedAtMs = clock.nowMs();
    telemetry.count('audio_poisons_total', { outcome });
    onPoison?.({ format, outcome, message });
    if (message === undefined) {
      this.#fail(track, 'internal');
      return;
    }
    this.#poisonMessages.remember(message, format);
    const blank = { type: 'audio', bytes: blankAudio(message, format) } as const;
    replaceInputs(track, seq, (other, otherSeq) => (otherSeq === seq ? blank : other));
    if (isRepeated) this.#fail(track, 'poison');
    else this.#tellLoss(track);
  }

  #receive(shard: Shard, reply: AudioReply): void {
    for (const { track: id, seq, event } of reply.events) {
      const track = shard.tracks.get(id);
      if (track === undefined || seq <= track.deliveredSeq) continue;
      track.deliveredSeq = seq;
      track.onEvent(event);
    }
    for (const { track: id, inputSeq, state } of reply.checkpoints) {
      const track = shard.tracks.get(id);
      if (track !== undefined) trimLog(track, { inputSeq, state });
    }
    for (const id of reply.failed) {
      const track = shard.tracks.get(id);
      if (track === undefined) continue;
      this.#options.telemetry.count('track_failures_total', {});
      this.#fail(track, 'internal');
    }
    this.#acknowledge(shard, reply.taken);
    this.#busyMs += reply.stats.busyMs;
    countAudioStats(this.#options.telemetry, reply.stats);
  }

  #createShard(): Shard {
    const { launch, clock, random, rssMaxBytes } = this.#options;
    const shard: Shard = {
      worker: new SupervisedWorker<AudioRequest, AudioReply>({
        launch,
        clock,
        random,
        rssMaxBytes,
        owner: {
          ready: () => {
            this.#rebuild(shard);
            this.#adoptStranded();
            this.#options.onChange();
          },
          message: (reply) => {
            this.#receive(shard, reply);
          },
          lost: (death) => {
            if (this.#isClosed) return;
            this.#options.onDeath(death, shard.tracks.size);
            this.#options.telemetry.count('replays_total', {}, shard.tracks.size);
            this.#blame(shard, death);
            this.#moveTracks(shard);
            this.#options.onChange();
          },
          startFailed: (death) => {
            this.#options.onDeath(death, 0);
            this.#moveTracks(shard);
            this.#options.onChange();
          },
          isBusy: () => false,
          excuses: (death) => {
            const isTrial = shard.tried !== undefined && shard.outstanding.has(shard.tried.id);
            return isTrial && death.cause !== 'memory' && !this.#isExcused(death);
          },
        },
      }),
      tracks: new Map(),
      entries: [],
      cancelSend: undefined,
      outstanding: new Map(),
      suspects: [],
      tried: undefined,
      hasTried: true,
    };
    return shard;
  }

  /**
   * The ready shard with the fewest tracks (any shard if none is ready). Once as many are in use as are meant to
   * share the sessions, the others stay empty: they are the spares.
   */
  #pickShard(): Shard {
    const ready = this.#shards.filter((shard) => shard.worker.state === 'ready');
    const alive = ready.length > 0 ? ready : this.#shards;
    const inUse = alive.filter((shard) => shard.tracks.size > 0);
    const candidates = inUse.length >= this.#options.workerCount ? inUse : alive;
    return candidates.reduce((least, shard) => (shard.tracks.size < least.tracks.size ? shard : least));
  }

  #moveTracks(from: Shard): void {
    this.#clear(from);
    for (const track of [...from.tracks.values()]) {
      const to = this.#pickShard();
      if (to === from || to.worker.state !== 'ready') continue;
      from.tracks.delete(track.id);
      track.shard = to;
      to.tracks.set(track.id, track);
      this.#replay(track);
    }
  }

  /** Tracks whose worker died while no other was ready: their own may be parked for long. */
  #adoptStranded(): void {
    for (const shard of this.#shards) {
      const { state } = shard.worker;
      if (state === 'backoff' || state === 'parked' || state === 'failed') this.#moveTracks(shard);
    }
  }

  #rebuild(shard: Shard): void {
    this.#clear(shard);
    for (const track of shard.tracks.values()) this.#replay(track);
    this.#send(shard);
  }

  #beginTrial(track: RemoteTrack): void {
    beginTrial(track);
    track.shard.suspects.push(track);
    this.#send(track.shard);
  }

  #replay(track: RemoteTrack): void {
    const { shard } = track;
    // Others may have sent what has just been condemned.
    replaceInputs(track, track.provenSeq + 1, (input) => this.#withoutPoison(track, input));
    if (isSuspect(track)) {
      // A worker that was already dying when it took the track over would speak against the track.
      shard.worker.ask(() => {
        if (track.shard === shard && shard.tracks.has(track.id) && isSuspect(track)) this.#beginTrial(track);
      });
      return;
    }
    this.#enqueue(shard, openEntry(track));
    for (const entry of inputEntries(track, 0, Infinity)) this.#enqueue(shard, entry);
  }
}
