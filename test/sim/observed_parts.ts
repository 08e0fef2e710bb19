/** The real audio pool and the real scheduler with a witness beside them: what went in, what came out, how much waits. */
import type { AudioReply, TrackSettings } from '../../pipeline/audio_messages.ts';
import type { AudioPool, AudioTrack } from '../../pipeline/audio_pool.ts';
import type { TrackEvent, TrackInput } from '../../pipeline/contracts.ts';
import {
  FINAL_QUEUE_MAX_COUNT,
  INPUT_OVERHEAD_BYTES,
  SESSION_INFLIGHT_MAX_BYTES,
} from '../../pipeline/limits.ts';
import type { FinalRequest } from '../../pipeline/job_requests.ts';
import { Scheduler, type SchedulerOptions } from '../../pipeline/scheduler.ts';
import type { Accuse } from './scripted_audio.ts';

/** One session's audio path, as the session sees it. */
export interface ObservedTrack {
  readonly settings: TrackSettings;
  readonly inputs: TrackInput[];
  readonly events: TrackEvent[];
  /** The session has closed it. */
  isClosed: boolean;
  /** Inputs that a checkpoint includes, and what the others cost: they must be kept for a replay. */
  checkpointedCount: number;
  keptBytes: number;
  keptControlCount: number;
}

/** Inputs that may have to be kept beside audio; audio has its bound in bytes. */
const KEPT_CONTROL_MAX_COUNT = 1_000;

/** Who an audio path was opened for. */
export interface TrackOwner {
  readonly number: number | string;
  /** Set when its session is open. */
  track: ObservedTrack | undefined;
  /** True when something it sent has arrived and waits to be read. */
  readonly hasUnread: boolean;
}

export class ObservedAudioPool implements AudioPool {
  readonly #pool: AudioPool;
  readonly #onOpen: (track: ObservedTrack) => void;
  readonly #onInput: (track: ObservedTrack, input: TrackInput) => void;
  readonly #accuse: Accuse;
  /** By the pool's own numbers, which count from 1. */
  readonly #tracks: ObservedTrack[] = [];
  #openCount = 0;

  constructor(
    pool: AudioPool,
    options: {
      readonly accuse: Accuse;
      readonly onOpen: (track: ObservedTrack) => void;
      /** An input the pool has taken. */
      readonly onInput: (track: ObservedTrack, input: TrackInput) => void;
    },
  ) {
    this.#pool = pool;
    this.#onOpen = options.onOpen;
    this.#onInput = options.onInput;
    this.#accuse = options.accuse;
  }

  get openCount(): number {
    return this.#openCount;
  }

  open(settings: TrackSettings, onEvent: (event: TrackEvent) => void): AudioTrack {
    const observed: ObservedTrack = {
      settings,
      inputs: [],
      events: [],
      isClosed: false,
      checkpointedCount: 0,
      keptBytes: 0,
      keptControlCount: 0,
    };
    this.#tracks.push(observed);
    this.#openCount++;
    const track = this.#pool.open(settings, (event) => {
      if (observed.isClosed) this.#accuse('I1', `a ${event.type} for a closed track`);
      // The samples are checked where they are used; keeping them would only fill the memory.
      observed.events.push(event);
      onEvent(event);
    });
    this.#onOpen(observed);
    return {
      get isBehind() {
        return track.isBehind;
      },
      get decodedSamples() {
        return track.decodedSamples;
      },
      push: (input) => {
        const verdict = track.push(input);
        if (verdict === 'accepted') {
          observed.inputs.push(input);
          observed.keptBytes += costBytes(input);
          if (input.type !== 'audio') observed.keptControlCount++;
          this.#checkKept(observed);
          this.#onInput(observed, input);
        }
        return verdict;
      },
      close: () => {
        if (!observed.isClosed) this.#openCount--;
        observed.isClosed = true;
        track.close();
      },
    };
  }

  /** The pool is about to be given this reply of a living worker. */
  noteReply(reply: AudioReply): void {
    for (const { track: id, inputSeq } of reply.checkpoints) {
      const track = this.#tracks[id - 1];
      if (track === undefined) continue;
      for (const input of track.inputs.slice(track.checkpointedCount, inputSeq)) {
        track.keptBytes -= costBytes(input);
        if (input.type !== 'audio') track.keptControlCount--;
      }
      track.checkpointedCount = Math.max(track.checkpointedCount, inputSeq);
    }
  }

  #checkKept(track: ObservedTrack): void {
    const controlMaxBytes = KEPT_CONTROL_MAX_COUNT * INPUT_OVERHEAD_BYTES;
    if (track.keptControlCount > KEPT_CONTROL_MAX_COUNT) {
      this.#accuse('I5', `${track.keptControlCount} inputs without audio are kept for a replay`);
    } else if (track.keptBytes > SESSION_INFLIGHT_MAX_BYTES + controlMaxBytes) {
      this.#accuse('I5', `inputs of ${track.keptBytes} bytes are kept for a replay`);
    }
  }
}

function costBytes(input: TrackInput): number {
  return INPUT_OVERHEAD_BYTES + (input.type === 'audio' ? input.bytes.length : 0);
}

/** A scheduler that counts what becomes of each final: rules I5 and I8. */
export class ObservedScheduler extends Scheduler {
  readonly #accuse: Accuse;
  readonly #slotCount: number;
  #submittedCount = 0;
  #settledCount = 0;

  constructor(options: SchedulerOptions, witness: { readonly accuse: Accuse; readonly slotCount: number }) {
    super(options);
    this.#accuse = witness.accuse;
    this.#slotCount = witness.slotCount;
  }

  /** Finals that were asked for and neither done nor failed. */
  get unsettledCount(): number {
    return this.#submittedCount - this.#settledCount;
  }

  override submitFinal(request: FinalRequest): void {
    this.#submittedCount++;
    let isSettled = false;
    const settle = (): void => {
      if (isSettled) this.#accuse('I8', 'a final was settled twice');
      isSettled = true;
      this.#settledCount++;
    };
    super.submitFinal({
      ...request,
      done: (hypothesis) => {
        settle();
        request.done(hypothesis);
      },
      failed: (error) => {
        settle();
        request.failed(error);
      },
    });
    // What was running when its worker died comes on top.
    if (this.finalCount > FINAL_QUEUE_MAX_COUNT + this.#slotCount) {
      this.#accuse('I5', `${this.finalCount} finals wait`);
    }
  }
}
