/** The sessions of a load that one process takes. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { LOAD_PROGRESS_INTERVAL_MS, LOAD_SENTENCES_MIN_COUNT } from '../../pipeline/limits.ts';
import { Latencies } from './latencies.ts';
import { LOAD_DIALECTS } from './load_dialects.ts';
import { planDurationMs, sessionSlots, type LoadPlan } from './load_plan.ts';
import { LoadSession } from './load_session.ts';
import type { LoadRecord } from './session_record.ts';
import { PAUSE_MIN_MS, SessionScript } from './session_script.ts';
import { prepareMaterial, type SpeechMaterial } from './speech_material.ts';

/** Which sessions: those whose index leaves `remainder` when divided by the plan's `processCount`. */
export interface LoadPart {
  readonly plan: LoadPlan;
  readonly remainder: number;
}

/** What is going on, for whoever watches. */
export interface LoadProgress {
  readonly elapsedMs: number;
  readonly openCount: number;
  readonly refusedCount: number;
  readonly failedCount: number;
  readonly finalCount: number;
}

export interface PartOptions {
  readonly clock: Clock;
  /** The clock's time at which the load begins. */
  readonly originMs: number;
  /** Aborted: sessions end as soon as they have what they are owed. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: LoadProgress) => void;
}

/** Shortest sentence that is expected. */
const SENTENCE_MIN_MS = 2_000;

/** Has the speech there that a plan needs. Every process makes the same; what was synthesised before is read. */
export function materialOf(
  plan: LoadPlan,
  options: { readonly signal: AbortSignal; readonly onProgress: (ready: number, all: number) => void },
): Promise<SpeechMaterial> {
  const { encoding, seed, speechDir, stages, talkRatio } = plan;
  const roundMs = Math.max(SENTENCE_MIN_MS / talkRatio, SENTENCE_MIN_MS + PAUSE_MIN_MS);
  const perSession = Math.ceil(planDurationMs(stages) / roundMs) + 1;
  const sessionCount = sessionSlots(stages).length;
  const sentenceCount = Math.min(perSession * sessionCount, Math.max(LOAD_SENTENCES_MIN_COUNT, sessionCount));
  return prepareMaterial({
    ...{ encoding, seed, sentenceCount, ...options },
    ...(speechDir === undefined ? {} : { speechDir }),
  });
}

/** Runs the sessions to their end, which is bounded. */
export async function runPart(
  { plan, remainder }: LoadPart,
  material: SpeechMaterial,
  options: PartOptions,
): Promise<LoadRecord> {
  const { clock, originMs, signal, onProgress } = options;
  const [lateness, partialGaps] = [new Latencies(), new Latencies()];
  const pacer = new Pacer(clock);
  const sessions = openSessions({ plan, remainder }, material, {
    ...{ clock, originMs, lateness, partialGaps },
    onChange: () => {
      pacer.wake();
    },
  });
  const cpuBefore = process.cpuUsage();
  const interrupt = (): void => {
    for (const session of sessions) session.interrupt();
  };
  const watch = setInterval(() => {
    onProgress(progressOf(sessions, clock.nowMs() - originMs));
  }, LOAD_PROGRESS_INTERVAL_MS);
  signal.addEventListener('abort', interrupt);
  if (signal.aborted) interrupt();
  try {
    await pacer.run(sessions);
  } finally {
    clearInterval(watch);
    signal.removeEventListener('abort', interrupt);
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    sessions: sessions.flatMap(({ record }) => record ?? []),
    lateness: lateness.encode(),
    partialGaps: partialGaps.encode(),
    cpuMs: (user + system) / 1_000,
    elapsedMs: clock.nowMs() - originMs,
  };
}

function openSessions(
  { plan, remainder }: LoadPart,
  material: SpeechMaterial,
  common: {
    readonly clock: Clock;
    readonly originMs: number;
    readonly lateness: Latencies;
    readonly partialGaps: Latencies;
    readonly onChange: () => void;
  },
): LoadSession[] {
  const { encoding, seed, talkRatio, credential, retriesRefusals, processCount, stages } = plan;
  const dialect = LOAD_DIALECTS[plan.dialect];
  const url = new URL(plan.url);
  if (url.pathname === '/') url.pathname = dialect.path;
  const slots = sessionSlots(stages);
  return slots
    .filter(({ index }) => index % processCount === remainder)
    .map((slot) => {
      const durationMs = slot.endAtMs - slot.beginAtMs;
      const { index } = slot;
      return new LoadSession({
        ...common,
        ...{ slot, dialect, encoding, retriesRefusals, url: url.href },
        script: new SessionScript({
          ...{ material, seed, index, durationMs, talkRatio },
          sessionCount: slots.length,
        }),
        headers:
          credential === undefined ? {} : { Authorization: `${dialect.authorizationScheme} ${credential}` },
      });
    });
}

function progressOf(sessions: readonly LoadSession[], elapsedMs: number): LoadProgress {
  const ended = sessions.flatMap(({ record }) => record ?? []);
  return {
    elapsedMs,
    openCount: sessions.filter(({ isOpen }) => isOpen).length,
    refusedCount: ended.filter(({ outcome }) => outcome === 'refused').length,
    failedCount: ended.filter(({ outcome }) => outcome === 'failed').length,
    finalCount: sessions.reduce((sum, { finalCount }) => sum + finalCount, 0),
  };
}

/** Calls every session when it is due, until all have ended. */
class Pacer {
  readonly #clock: Clock;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async run(sessions: readonly LoadSession[]): Promise<void> {
    for (;;) {
      let nextAtMs = Infinity;
      const nowMs = this.#clock.nowMs();
      for (const session of sessions) {
        if (session.dueAtMs <= nowMs) session.step(nowMs);
        nextAtMs = Math.min(nextAtMs, session.dueAtMs);
      }
      if (nextAtMs === Infinity) return;
      await this.#sleep(Math.max(0, nextAtMs - this.#clock.nowMs()));
    }
  }

  /** Something has become due earlier, or not at all. */
  wake(): void {
    this.#wake();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel: Cancel = this.#clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
