/** What a session is made of. */
import type { AudioPool } from './audio_pool.ts';
import type { Clock } from './clock.ts';
import type { Scheduler } from './scheduler.ts';
import type { SessionEvent } from './session_events.ts';
import type { SessionSettings } from './session_settings.ts';
import type { SessionTrace } from './session_trace.ts';
import type { Telemetry } from './telemetry.ts';

/** A session's name, what it is to be like, and what it works with. */
export interface SessionOptions {
  readonly id: string;
  readonly settings: SessionSettings;
  readonly audioPool: AudioPool;
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Default: one of its own. */
  readonly trace?: SessionTrace;
  /** Called in order; `done` or `failed` is the last. Must not throw. */
  readonly onEvent: (event: SessionEvent) => void;
}
