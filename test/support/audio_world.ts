/** An audio pool over real audio workers in fake processes that are killed at chosen moments, and what is heard of it. */
import assert from 'node:assert/strict';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import { WorkerAudioPool, type AudioTrack } from '../../pipeline/audio_pool.ts';
import type { AudioFormat } from '../../pipeline/audio.ts';
import type { TrackEvent, TrackInput } from '../../pipeline/contracts.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import { FakeClock } from './fake_clock.ts';
import { FakeLauncher, type FakeProcess } from './fake_worker.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';
import { actAudioWorker, POISON_BYTE, poisonableDecoders, type PoisonPlace } from './scripted_audio.ts';

/** A place between two messages: the how-manieth that crosses, from 0, and whether it gets through before the kill. */
export interface Kill {
  readonly at: number;
  readonly side: 'before' | 'after';
  /** Default `killed`. */
  readonly how?: 'killed' | 'stopped';
}

export interface AudioWorldOptions {
  readonly workerCount?: number;
  readonly spareCount?: number;
  readonly kills?: readonly Kill[];
  /** What poison does to its worker; `throws` is an exception while it is worked on. */
  readonly poison?: 'kills' | 'hangs' | 'throws';
  /** Default `message`. */
  readonly poisonPlace?: PoisonPlace;
}

export const FORMAT = { encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 } as const;
export const ENDPOINTING = { silenceMs: 200, maxUtteranceMs: 1_000 };

export class AudioWorld {
  readonly clock = new FakeClock();
  readonly launcher = new FakeLauncher<AudioRequest, AudioReply>();
  readonly telemetry = new RecordingTelemetry();
  readonly deaths: { readonly death: WorkerDeath; readonly trackCount: number }[] = [];
  readonly pool: WorkerAudioPool;
  readonly #kills: readonly Kill[];
  /** Messages that have crossed between the pool and its workers, both ways. */
  crossedCount = 0;

  constructor({ workerCount = 1, spareCount = 0, kills = [], poison, poisonPlace }: AudioWorldOptions = {}) {
    this.#kills = kills;
    this.launcher.onLaunch = (process) => {
      const { cross, doom } = this.#gate(process);
      const decoders = poisonableDecoders(() => {
        if (poison === 'throws') throw new Error('poison');
        doom(() => {
          if (poison === 'kills') process.end({ signal: 'SIGSEGV' });
          else process.onMessage = () => undefined;
        });
      }, poisonPlace);
      actAudioWorker(process, { clock: this.clock, cross, decoders, onTrackFailed: () => undefined });
    };
    this.pool = new WorkerAudioPool({
      launch: this.launcher.launch,
      clock: this.clock,
      random: () => 0.5,
      telemetry: this.telemetry,
      workerCount,
      spareCount,
      rssMaxBytes: 1_000,
      onChange: () => undefined,
      onDeath: (death, trackCount) => this.deaths.push({ death, trackCount }),
    });
    this.pool.start();
  }

  /** Opens a track and returns it with what it says, each event as one line of text. */
  open(
    originSamples = 0,
    format: AudioFormat = FORMAT,
  ): { readonly track: AudioTrack; readonly heard: readonly string[] } {
    const heard: string[] = [];
    const track = this.pool.open({ format, endpointing: ENDPOINTING, originSamples }, (event) =>
      heard.push(describeEvent(event)),
    );
    return { track, heard };
  }

  /** Lets time pass until `isDone`; workers may have to be restarted on the way. */
  async until(isDone: () => boolean): Promise<void> {
    for (let i = 0; !isDone(); i++) {
      assert(i < 5_000, 'it comes to an end');
      // Small steps at first; later, parked workers are waited for.
      await this.clock.advance(i < 200 ? 1 : 50);
    }
  }

  /** Decides, message by message, what gets through, and ends the process where it was asked to. */
  #gate(process: FakeProcess<AudioRequest, AudioReply>): {
    readonly cross: (pass: () => void) => void;
    /** Lets nothing more through; the end comes a moment later, never inside of a call of the pool's. */
    readonly doom: (end: () => void) => void;
  } {
    let isDoomed = false;
    const doom = (end: () => void): void => {
      isDoomed = true;
      queueMicrotask(end);
    };
    const cross = (pass: () => void): void => {
      if (isDoomed || process.hasExited) return;
      const at = this.crossedCount++;
      const kill = this.#kills.find((candidate) => candidate.at === at);
      if (kill?.side !== 'before') pass();
      if (kill === undefined) return;
      doom(() => {
        if (kill.how !== 'stopped') {
          process.end({ signal: 'SIGKILL' });
          return;
        }
        process.onMessage = () => undefined;
        process.fakeActivity = { isStopped: true, isRunnable: false, cpuMs: 0 };
      });
    };
    return { cross, doom };
  }
}

/** One line that is equal for equal events and hardly ever for others. */
export function describeEvent(event: TrackEvent): string {
  if (event.type !== 'pcm') return JSON.stringify(event);
  const { pcm, startSamples } = event;
  let hash = 0;
  for (const sample of pcm) hash = (Math.imul(hash, 31) + sample) | 0;
  return `pcm ${startSamples} +${pcm.length} ${hash}`;
}

/** What a client does, as inputs: 20 ms messages of voice, silence, damage, poison and nothing, flushes, and pauses. */
export function inputsOf(script: string): readonly TrackInput[] {
  let seed = 1;
  return Array.from(script, (step, index): TrackInput => {
    if (step === 'f') return { type: 'flush', id: `f${index}` };
    if (step === 'p') return { type: 'audioStopped' };
    seed = (seed * 48_271) % 2_147_483_647;
    // A length that is no multiple of a frame, so that frames and messages never line up for long.
    const length = 4 + (seed % 3);
    const base = step === 'v' ? 128 : 0;
    const bytes = Uint8Array.from({ length }, (_, at) => base + ((seed + at * 7) % 100));
    if (step === 'x') bytes[0] = 255;
    if (step === 'k') bytes[0] = POISON_BYTE;
    if (step === 'b') bytes.fill(0);
    return { type: 'audio', bytes };
  });
}
