/** All sessions of this server: admission, ids, ticks and drain. */
import { randomUUID } from 'node:crypto';
import type { AudioPool } from '../pipeline/audio_pool.ts';
import type { Cancel, Clock } from '../pipeline/clock.ts';
import { OverloadError, type TranscriptionError } from '../pipeline/errors.ts';
import {
  CROWDED_RETRY_AFTER_SECONDS,
  DRAINING_RETRY_AFTER_SECONDS,
  DRAIN_MAX_MS,
  FULL_RETRY_AFTER_SECONDS,
  LATE_MESSAGE_GRACE_MS,
  OVERLOAD_RETRY_AFTER_SECONDS,
  QUIET_MIN_MS,
  STARTS_AWAITED_MAX_COUNT,
  TICK_INTERVAL_MS,
  UNREADY_RETRY_AFTER_SECONDS,
} from '../pipeline/limits.ts';
import type { Scheduler } from '../pipeline/scheduler.ts';
import { Session } from '../pipeline/session.ts';
import { sessionFault } from '../pipeline/session_fault.ts';
import type { SessionSettings } from '../pipeline/session_settings.ts';
import type { SessionEvent } from '../pipeline/session_events.ts';
import type { Telemetry } from '../pipeline/telemetry.ts';
import { Quietness } from './quietness.ts';
import type { SessionChronicle, SessionOutcome } from './records/session_chronicle.ts';

export interface SessionRegistryOptions {
  readonly audioPool: AudioPool;
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly maxSessions: number;
  /** False while the server cannot serve a session. */
  readonly isReady: () => boolean;
  /** True while the measured load leaves no room for new sessions; default: it always does. */
  readonly isRefusing?: () => boolean;
  /** Told of what was thrown in a session, which has ended for it. */
  readonly onFault?: (error: TranscriptionError, sessionId: string) => void;
  /** Default: nothing is kept of sessions. */
  readonly chronicle?: SessionChronicle;
}

/** Why a connection is refused, and when it may try again. */
export interface Refusal {
  readonly error: OverloadError;
  readonly reason: 'overloaded' | 'crowded' | 'draining' | 'unavailable';
  readonly retryAfterSeconds: number;
}

export class SessionRegistry {
  readonly #options: SessionRegistryOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #quietness = new WeakMap<Session, Quietness>();
  #cancelTick: Cancel | undefined;
  #tickDueAtMs = Infinity;
  #isDraining = false;
  #awaitedCount = 0;
  #resolveEmpty: (() => void) | undefined;

  constructor(options: SessionRegistryOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#sessions.size;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  start(): void {
    this.#tick();
  }

  /** Why no session can be opened now, or undefined if one can. */
  refusal(): Refusal | undefined {
    if (this.#isDraining)
      return refuse('draining', 'the server is shutting down; connect again', DRAINING_RETRY_AFTER_SECONDS);
    if (!this.#options.isReady())
      return refuse('unavailable', 'the server is not ready yet; try again', UNREADY_RETRY_AFTER_SECONDS);
    if (this.#sessions.size >= this.#options.maxSessions) {
      return refuse(
        'overloaded',
        `all ${this.#options.maxSessions} sessions are taken; try again later`,
        FULL_RETRY_AFTER_SECONDS,
      );
    }
    if (this.#options.scheduler.isOverloaded || this.#options.isRefusing?.() === true)
      return refuse(
        'overloaded',
        'the server is at its capacity; try again later',
        OVERLOAD_RETRY_AFTER_SECONDS,
      );
    return undefined;
  }

  /** Why no connection may be opened now that has yet to say what it wants. */
  crowdRefusal(): Refusal | undefined {
    if (this.#awaitedCount < STARTS_AWAITED_MAX_COUNT) return undefined;
    return refuse(
      'crowded',
      'too many connections have not sent their `start`; send settings in the query, or try again',
      CROWDED_RETRY_AFTER_SECONDS,
    );
  }

  /** Counts a connection that has yet to say what it wants, until what this returns is called. */
  awaitStart(): () => void {
    this.#awaitedCount++;
    let isAwaited = true;
    return () => {
      if (isAwaited) this.#awaitedCount--;
      isAwaited = false;
    };
  }

  /** Opens a session. Throws `OverloadError` when there is a refusal. */
  open(settings: SessionSettings, onEvent: (event: SessionEvent) => void): Session {
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal.error;
    const id = randomUUID();
    const { audioPool, scheduler, clock, telemetry, chronicle } = this.#options;
    const trace = chronicle?.begin(id, settings);
    const quietness = new Quietness(clock.nowMs());
    const session = new Session({
      id,
      settings,
      audioPool,
      scheduler,
      clock,
      telemetry,
      ...(trace === undefined ? {} : { trace }),
      onEvent: (event) => {
        chronicle?.note(id, event);
        if (event.type === 'done') this.#remove(id, 'completed');
        else if (event.type === 'failed') this.#fail(id, event.error);
        quietness.note(event, clock.nowMs());
        onEvent(event);
      },
    });
    this.#sessions.set(id, session);
    this.#quietness.set(session, quietness);
    return session;
  }

  /** Ends a session that has not come to its own end: the client has gone or has opened another in its place, or its connection had to be closed. */
  abandon(session: Session, outcome: 'completed' | 'abandoned' | 'failed'): void {
    session.close();
    this.#remove(session.id, outcome);
  }

  /** Tells a new session what the others have been told. */
  greet(session: Session): void {
    if (this.#options.scheduler.partialsSuspended) session.notePartialsSuspended(true);
  }

  tellPartialsSuspended(suspended: boolean): void {
    this.#each((session) => {
      session.notePartialsSuspended(suspended);
    });
  }

  /** Ends the session in which nobody has spoken for longest, for load; false if none is quiet. */
  shedQuietest(): boolean {
    const nowMs = this.#options.clock.nowMs();
    const [quietest] = [...this.#sessions.values()]
      // What is on its way may be speech.
      .filter((session) => !session.hasInputOnItsWay)
      .map((session) => ({ session, quietMs: this.#quietness.get(session)?.quietMs(nowMs) ?? 0 }))
      .filter(({ quietMs }) => quietMs > QUIET_MIN_MS)
      .sort((a, b) => b.quietMs - a.quietMs);
    if (quietest === undefined) return false;
    // Where to go on comes first, then that it should be elsewhere.
    quietest.session.drain();
    const what = 'the server needs its room for people who speak; connect again';
    quietest.session.fail(new OverloadError('shed', what, { retryable: true }));
    this.#options.telemetry.count('sessions_shed_total', {});
    return true;
  }

  /** Refuses new sessions and lets the others come to their end; resolves when all have, or the deadline has passed. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    const empty = new Promise<void>((resolve) => {
      this.#resolveEmpty = resolve;
    });
    this.#each((session) => {
      session.drain();
    });
    if (this.#sessions.size === 0) return;
    let cancelDeadline: Cancel | undefined;
    const deadline = new Promise<void>((resolve) => {
      cancelDeadline = this.#options.clock.after(DRAIN_MAX_MS, resolve);
    });
    await Promise.race([empty, deadline]);
    cancelDeadline?.();
  }

  close(): void {
    this.#cancelTick?.();
    for (const session of [...this.#sessions.values()]) {
      session.fail(new OverloadError('draining', 'the server is shutting down', { retryable: true }));
    }
  }

  /** A late tick means that we stood still: what clients sent meanwhile waits to be read, and comes before judgement. */
  #tick(): void {
    const { clock } = this.#options;
    const lateMs = clock.nowMs() - this.#tickDueAtMs;
    this.#each((session) => {
      if (lateMs > LATE_MESSAGE_GRACE_MS) session.forgive(lateMs);
      else session.tick();
    });
    this.#tickDueAtMs = clock.nowMs() + TICK_INTERVAL_MS;
    this.#cancelTick = clock.after(TICK_INTERVAL_MS, () => {
      this.#tick();
    });
  }

  /** What is thrown for one session ends that one; the others get their turn. */
  #each(act: (session: Session) => void): void {
    for (const session of [...this.#sessions.values()]) {
      try {
        act(session);
      } catch (cause) {
        session.fail(sessionFault(cause));
      }
    }
  }

  #fail(id: string, error: TranscriptionError): void {
    this.#remove(id, 'failed', error);
    if (error.cause !== undefined) this.#options.onFault?.(error, id);
  }

  #remove(id: string, outcome: SessionOutcome, error?: TranscriptionError): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    this.#options.chronicle?.end(id, outcome, error);
    this.#options.telemetry.count('sessions_total', { dialect: session.dialect, outcome });
    if (this.#sessions.size === 0) this.#resolveEmpty?.();
  }
}

function refuse(reason: Refusal['reason'], message: string, retryAfterSeconds: number): Refusal {
  const code = reason === 'draining' ? 'draining' : 'overloaded';
  return { error: new OverloadError(code, message, { retryable: true }), reason, retryAfterSeconds };
}
