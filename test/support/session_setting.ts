/** A session whose audio path and inference pool the test speaks for, and everything it says. */
import assert from 'node:assert/strict';
import { msToSamples } from '../../pipeline/audio.ts';
import type { TrackSettings } from '../../pipeline/audio_messages.ts';
import type { AudioPool, AudioTrack } from '../../pipeline/audio_pool.ts';
import type { TrackEvent, TrackInput, UtteranceEndReason } from '../../pipeline/contracts.ts';
import { FINAL_OBJECTIVE_MS, IDLE_MAX_MS } from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { Session } from '../../pipeline/session.ts';
import type { SessionSettings } from '../../pipeline/session_settings.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import { FakeClock, settle } from './fake_clock.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from './scripted_pool.ts';

/** An audio path that the test speaks for. */
export class ScriptedTrack implements AudioPool, AudioTrack {
  readonly inputs: TrackInput[] = [];
  settings: TrackSettings | undefined;
  isClosed = false;
  isFull = false;
  isBehind = false;
  decodedSamples = 0;
  #onEvent: (event: TrackEvent) => void = () => undefined;
  #endSamples = 0;
  #startSamples = 0;

  open(settings: TrackSettings, onEvent: (event: TrackEvent) => void): AudioTrack {
    this.settings = settings;
    this.#endSamples = settings.originSamples;
    this.#onEvent = onEvent;
    return this;
  }

  push(input: TrackInput): 'accepted' | 'full' {
    if (input.type === 'audio' && this.isFull) return 'full';
    this.inputs.push(input);
    return 'accepted';
  }

  close(): void {
    this.isClosed = true;
  }

  emit(event: TrackEvent): void {
    this.#onEvent(event);
  }

  /** Somebody begins to speak, here. */
  start(): void {
    this.#startSamples = this.#endSamples;
    this.emit({ type: 'speechStart', startSamples: this.#startSamples, decidedAtSamples: this.#endSamples });
  }

  /** `pauseMs` of it, at its end, is silence that lasts longer than an utterance reaches beyond its voice. */
  speak(ms: number, pauseMs = 0): void {
    const startSamples = this.#endSamples;
    this.#endSamples += msToSamples(ms);
    this.emit({
      type: 'pcm',
      startSamples,
      pcm: new Int16Array(msToSamples(ms)).fill(startSamples % 30_000),
      ...(pauseMs > 0 && { likelyEndSamples: this.#endSamples - msToSamples(pauseMs) }),
    });
  }

  /** The utterance ends `pauseMs` before the end of the audio. */
  end(speechMs = 1_000, pauseMs = 0, reason: UtteranceEndReason = 'silence'): void {
    const [startSamples, endSamples] = [this.#startSamples, this.#endSamples - msToSamples(pauseMs)];
    const ends = {
      startSamples,
      endSamples,
      decidedAtSamples: endSamples,
      speechSamples: msToSamples(speechMs),
    };
    this.emit({ type: 'speechEnd', ...ends, reason });
  }

  /** A whole utterance of one second. */
  utter(): void {
    this.start();
    this.speak(1_000);
    this.end();
  }

  /** Answers every flush that has come in and is not answered. */
  answerFlushes(): void {
    for (const input of this.inputs.splice(0)) {
      if (input.type === 'flush') this.emit({ type: 'flushed', id: input.id, atSamples: this.#endSamples });
    }
  }
}

/** What the setting's session asks for, unless a test says otherwise. */
export const SETTINGS: SessionSettings = {
  format: { encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 },
  endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
  partials: true,
  words: false,
  originAudioMs: 0,
  firstUtteranceId: 1,
  idleMaxMs: IDLE_MAX_MS,
  dialect: 'native',
  finalObjectiveMs: FINAL_OBJECTIVE_MS,
  isPaced: false,
};
/** 20 ms of PCM. */
export const MESSAGE = new Uint8Array(640);

/** One session with everything around it scripted. */
export class SessionSetting {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly track = new ScriptedTrack();
  readonly pool: ScriptedPool;
  readonly scheduler: Scheduler;
  readonly events: SessionEvent[] = [];
  readonly session: Session;
  /** Called inside the session's event, as a dialect is. */
  onEvent: (event: SessionEvent) => void = () => undefined;

  constructor(settings: Partial<SessionSettings> = {}, slotCount = 1) {
    const { clock, telemetry } = this;
    this.pool = new ScriptedPool(slotCount);
    const onPartialsSuspended = (): void => undefined;
    this.scheduler = new Scheduler({
      ...{ pool: this.pool, clock, telemetry, partialIntervalMs: 500, onPartialsSuspended },
    });
    this.session = new Session({
      ...{ id: 'session', settings: { ...SETTINGS, ...settings }, audioPool: this.track },
      ...{ scheduler: this.scheduler, clock, telemetry },
      onEvent: (event) => {
        assert(!this.isOver, `nothing follows the last event, but ${event.type} did`);
        this.events.push(event);
        this.onEvent(event);
      },
    });
  }

  get isOver(): boolean {
    const last = this.events.at(-1);
    return last?.type === 'done' || last?.type === 'failed';
  }

  get types(): readonly string[] {
    return this.events.map(({ type }) => type);
  }

  of<T extends SessionEvent['type']>(type: T): readonly Extract<SessionEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<SessionEvent, { type: T }> => event.type === type);
  }

  async succeed(text: string): Promise<void> {
    this.pool.first.succeed(hypothesisOf(text));
    await settle();
  }

  /** What failed the session. */
  get failure(): string | undefined {
    return this.of('failed')[0]?.error.code;
  }
}
