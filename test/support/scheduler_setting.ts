/** A scheduler with everything around it scripted. */
import type { TranscriptionError } from '../../pipeline/errors.ts';
import { FINAL_OBJECTIVE_MS } from '../../pipeline/limits.ts';
import type { JobAudio, PartialRequest, PartialSource } from '../../pipeline/job_requests.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { Strikes } from '../../pipeline/strikes.ts';
import { FakeClock, settle } from './fake_clock.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from './scripted_pool.ts';

/** Shortest time between two partials. */
export const INTERVAL_MS = 500;

/** Audio that can be told apart by its length. */
function audioOf(samples: number, strikes?: Strikes): JobAudio {
  return { pcm: new Int16Array(samples), draft: [], ...(strikes && { strikes }) };
}

/** A source whose audio is as long as the test says; undefined while nothing is new. */
export class FakeSource implements PartialSource {
  samples: number | undefined;
  readonly texts: string[] = [];
  askedCount = 0;
  /** What it says of its audio. */
  isWhole = false;
  /** What it says when a text comes. */
  isWaiting = true;
  /** Of its utterance. */
  readonly strikes = new Strikes();

  constructor(samples: number) {
    this.samples = samples;
  }

  takePartial(): PartialRequest | undefined {
    this.askedCount++;
    if (this.samples === undefined) return undefined;
    return {
      audio: audioOf(this.samples, this.strikes),
      isWhole: this.isWhole,
      done: ({ text }) => {
        this.texts.push(text);
        return this.isWaiting;
      },
      failed: () => undefined,
    };
  }
}

interface FinalTraits {
  readonly deadlineInMs?: number;
  /** Of the utterance that it ends. */
  readonly strikes?: Strikes;
  readonly isWanted?: () => boolean;
  /** Called when it is told that it has failed. */
  readonly failed?: () => void;
}

/** A scheduler on a pool whose jobs the test settles. */
export class SchedulerSetting {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly pool: ScriptedPool;
  readonly suspensions: boolean[] = [];
  readonly scheduler: Scheduler;
  /** By name: what became of each final. */
  readonly outcomes = new Map<string, string[]>();

  constructor(slotCount = 1) {
    this.pool = new ScriptedPool(slotCount);
    this.scheduler = new Scheduler({
      pool: this.pool,
      clock: this.clock,
      telemetry: this.telemetry,
      partialIntervalMs: INTERVAL_MS,
      onPartialsSuspended: (suspended) => this.suspensions.push(suspended),
    });
  }

  /** Submits a final whose audio has so many samples. */
  final(
    name: string,
    samples: number,
    { deadlineInMs = FINAL_OBJECTIVE_MS, strikes, isWanted = () => true, failed }: FinalTraits = {},
  ): void {
    const note = (outcome: string): void => {
      this.outcomes.set(name, [...(this.outcomes.get(name) ?? []), outcome]);
    };
    this.scheduler.submitFinal({
      isWanted,
      audio: audioOf(samples, strikes),
      deadlineAtMs: this.clock.nowMs() + deadlineInMs,
      done: (hypothesis) => {
        note(hypothesis.text);
      },
      failed: (error: TranscriptionError) => {
        note(error.code);
        failed?.();
      },
    });
  }

  /** Lengths of the jobs started so far, in order. */
  get started(): readonly number[] {
    return this.pool.started.map(({ pcm }) => pcm.length);
  }

  async succeedAll(): Promise<void> {
    while (this.pool.running.length > 0) {
      this.pool.first.succeed(hypothesisOf('text'));
      await settle();
    }
  }
}
