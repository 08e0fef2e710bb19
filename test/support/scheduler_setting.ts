/** A scheduler with everything around it scripted. */
import type { TranscriptionError } from '../../pipeline/errors.ts';
import { FINAL_OBJECTIVE_MS } from '../../pipeline/limits.ts';
import type { JobAudio, PartialRequest, PartialSource } from '../../pipeline/job_requests.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { FakeClock, settle } from './fake_clock.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from './scripted_pool.ts';

/** Shortest time between two partials. */
export const INTERVAL_MS = 500;

/** Audio that can be told apart by its length. */
function audioOf(samples: number): JobAudio {
  return { pcm: new Int16Array(samples), draft: [] };
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

  constructor(samples: number) {
    this.samples = samples;
  }

  takePartial(): PartialRequest | undefined {
    this.askedCount++;
    if (this.samples === undefined) return undefined;
    return {
      audio: audioOf(this.samples),
      isWhole: this.isWhole,
      done: ({ text }) => {
        this.texts.push(text);
        return this.isWaiting;
      },
      failed: () => undefined,
    };
  }
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
  final(name: string, samples: number, deadlineInMs = FINAL_OBJECTIVE_MS): void {
    const note = (outcome: string): void => {
      this.outcomes.set(name, [...(this.outcomes.get(name) ?? []), outcome]);
    };
    this.scheduler.submitFinal({
      isWanted: () => true,
      audio: audioOf(samples),
      deadlineAtMs: this.clock.nowMs() + deadlineInMs,
      done: (hypothesis) => {
        note(hypothesis.text);
      },
      failed: (error: TranscriptionError) => {
        note(error.code);
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
