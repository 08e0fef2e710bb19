/** The inside of an audio worker: all its tracks, their frames judged together in one run of the voice detector. */
import {
  GONE_SEQ,
  OPENING_SEQ,
  type AudioReply,
  type AudioRequest,
  type TrackEntry,
} from './audio_messages.ts';
import type { AudioStats } from './audio_stats.ts';
import { RunningTrack, type TrackOutput, type TrackParts } from './audio_track.ts';
import type { Clock } from './clock.ts';
import { BUSY_TOLD_INTERVAL_MS } from './limits.ts';

export interface AudioWorkerOptions {
  readonly parts: TrackParts;
  readonly clock: Clock;
  /** Processor time of this process so far. */
  readonly cpuMs: () => number;
  readonly reply: (message: AudioReply) => void;
  /** A track was given up because of this; the others go on. */
  readonly onTrackFailed: (error: unknown) => void;
}

type MutableStats = { -readonly [K in keyof AudioStats]: AudioStats[K] };

export class AudioWorker {
  readonly #options: AudioWorkerOptions;
  readonly #tracks = new Map<number, RunningTrack>();
  /** Tracks that have inputs. */
  readonly #pending = new Set<number>();
  #events: AudioReply['events'][number][] = [];
  #taken: AudioReply['taken'][number][] = [];
  #failed: number[] = [];
  #stats = emptyStats();
  #isRunning = false;
  /** Processor time that was told, and when. */
  #toldCpuMs: number;
  #toldAtMs = -Infinity;

  constructor(options: AudioWorkerOptions) {
    this.#options = options;
    this.#toldCpuMs = options.cpuMs();
  }

  /** Counts a trap of the codec, which has been rebuilt; told with the next reply. */
  noteOpusTrap(): void {
    this.#stats.opusTrapCount++;
  }

  /** Takes entries and works until every track has used up its inputs. Rejects only on a fault that ends the worker. */
  async receive(request: AudioRequest): Promise<void> {
    for (const entry of request.entries) {
      this.#attempt(entry.track, () => {
        this.#apply(entry);
      });
    }
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#pending.size > 0) await this.#step();
    this.#isRunning = false;
    if (this.#taken.length > 0 || this.#failed.length > 0) this.#reply([]);
  }

  /** An exception is the end of one track, not of its neighbours. */
  #attempt<T>(id: number, act: () => T): T | undefined {
    try {
      return act();
    } catch (error) {
      this.#options.onTrackFailed(error);
      this.#failed.push(id);
      this.#taken.push({ track: id, inputSeq: GONE_SEQ });
      this.#pending.delete(id);
      const track = this.#tracks.get(id);
      this.#tracks.delete(id);
      try {
        track?.close();
      } catch (closeError) {
        this.#options.onTrackFailed(closeError);
      }
      return undefined;
    }
  }

  #apply(entry: TrackEntry): void {
    const { track: id } = entry;
    switch (entry.type) {
      case 'open': {
        const options = entry.state === undefined ? {} : { state: entry.state };
        this.#tracks.set(
          id,
          new RunningTrack(entry.settings, this.#options.parts, {
            output: this.#outputOf(id),
            ...options,
          }),
        );
        this.#taken.push({ track: id, inputSeq: OPENING_SEQ });
        return;
      }
      case 'input': {
        const track = this.#tracks.get(id);
        if (track === undefined) return;
        track.enqueue(entry.seq, entry.input);
        this.#pending.add(id);
        return;
      }
      case 'close':
        this.#taken.push({ track: id, inputSeq: GONE_SEQ });
        this.#tracks.get(id)?.close();
        this.#tracks.delete(id);
        this.#pending.delete(id);
    }
  }

  #outputOf(id: number): TrackOutput {
    return {
      emit: (event, seq) => {
        this.#events.push({ track: id, seq, event });
      },
      decoded: ({ decoded, concealed, ignored }, samples) => {
        this.#stats.samples += samples;
        this.#stats.decodedCount += decoded;
        this.#stats.concealedCount += concealed;
        this.#stats.ignoredCount += ignored;
      },
    };
  }

  /** One frame of every track that has one. */
  async #step(): Promise<void> {
    const { clock } = this.#options;
    const startedAtMs = clock.nowMs();
    const ready: { readonly track: RunningTrack; readonly id: number; readonly frame: Int16Array }[] = [];
    const checkpoints: AudioReply['checkpoints'][number][] = [];
    const noteCheckpoint = (id: number, track: RunningTrack): void => {
      const checkpoint = track.checkpoint();
      if (checkpoint !== undefined) checkpoints.push({ track: id, ...checkpoint });
    };
    for (const id of this.#pending) {
      this.#attempt(id, () => {
        const track = this.#tracks.get(id);
        const frame = track?.nextFrame();
        if (track !== undefined && frame !== undefined) {
          ready.push({ track, id, frame });
          return;
        }
        this.#pending.delete(id);
        if (track === undefined) return;
        this.#taken.push({ track: id, inputSeq: track.inputSeq });
        // Inputs without audio count too.
        noteCheckpoint(id, track);
      });
    }
    const decodedAtMs = clock.nowMs();
    this.#stats.decodeMs += decodedAtMs - startedAtMs;
    const probabilities =
      ready.length === 0
        ? new Float32Array(0)
        : await this.#options.parts.detector.detect(
            ready.map(({ frame }) => frame),
            ready.map(({ track }) => track.voice),
          );
    this.#stats.vadMs += clock.nowMs() - decodedAtMs;
    this.#stats.vadFrameCount += ready.length;
    this.#stats.vadRunCount += ready.length === 0 ? 0 : 1;
    for (const [index, { track, id, frame }] of ready.entries()) {
      // Closed while the detector ran.
      if (this.#tracks.get(id) !== track) continue;
      this.#attempt(id, () => {
        track.judge(frame, probabilities[index] ?? 0);
        noteCheckpoint(id, track);
      });
    }
    this.#reply(checkpoints);
  }

  #reply(checkpoints: AudioReply['checkpoints']): void {
    if (this.#events.length === 0 && checkpoints.length === 0 && this.#pending.size > 0) return;
    this.#tellBusy();
    const reply: AudioReply = {
      type: 'outputs',
      events: this.#events,
      checkpoints,
      taken: this.#taken,
      failed: this.#failed,
      stats: this.#stats,
    };
    this.#events = [];
    this.#taken = [];
    this.#failed = [];
    this.#stats = emptyStats();
    // The next request may come before this returns.
    this.#options.reply(reply);
  }

  #tellBusy(): void {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#toldAtMs < BUSY_TOLD_INTERVAL_MS) return;
    const cpuMs = this.#options.cpuMs();
    this.#stats.busyMs = cpuMs - this.#toldCpuMs;
    this.#toldCpuMs = cpuMs;
    this.#toldAtMs = nowMs;
  }
}

function emptyStats(): MutableStats {
  return {
    busyMs: 0,
    decodeMs: 0,
    vadMs: 0,
    vadFrameCount: 0,
    vadRunCount: 0,
    samples: 0,
    decodedCount: 0,
    concealedCount: 0,
    ignoredCount: 0,
    opusTrapCount: 0,
  };
}
