/** Many people talking to one server at once, in real time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../pipeline/clock.ts';
import { seededRandom } from '../support/random.ts';
import { reportLoad, type LoadReport } from './load_report.ts';
import { LoadSession } from './load_session.ts';
import { distinctSentences } from './sentences.ts';
import { PACKET_MS, prepareScript, type SpokenScript } from './spoken_script.ts';

export interface LoadOptions {
  /** `ws://host:port/v1/stream`. */
  readonly url: string;
  readonly sessionCount: number;
  readonly durationMs: number;
  /** Share of the time that each session speaks: 0–1. */
  readonly speakingShare: number;
  /** Shortest silence between two sentences; default PAUSE_MIN_MS. */
  readonly pauseMinMs?: number;
  /** Time over which the sessions come, one after another; default: all at once. */
  readonly arrivalMs?: number;
  /** True if a server may refuse sessions for load: they are counted, and no failure. */
  readonly mayRefuse?: boolean;
  readonly seed: number;
  /** Called when all speech has been made, before the first session comes. */
  readonly onPrepared?: () => void;
  /** Called with one line at a time about what is going on. */
  readonly onProgress: (line: string) => void;
}

/** Packets that are due are looked for this often. */
const TICK_MS = 5;
/** Time that sessions have, after their last packet, for what they are owed: enough to tell late from lost. */
const FINISH_MAX_MS = 120_000;
/** Silence between two sentences, unless another is asked for. */
const PAUSE_MIN_MS = 1_500;
/** Sentences prepared per session: at the shortest, 2 s each. */
const SENTENCE_MIN_MS = 2_000;

/**
 * Runs the load and judges it. Every packet has an absolute time at which it is due, whatever happened before; and
 * latencies count from there, so a server that stalls the load cannot hide it.
 */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const scripts = await prepareScripts(options);
  options.onPrepared?.();
  const sessions: LoadSession[] = [];
  const stopSending = keepSending(sessions, options);
  try {
    // A packet's time apart at least, so that their packets do not bunch.
    const spacingMs = Math.max(options.arrivalMs ?? 0, PACKET_MS) / scripts.length;
    const outcomes = await Promise.all(
      scripts.map(async (script, at) => {
        await sleep(at * spacingMs);
        const session = new LoadSession({ url: options.url, script, clock: systemClock });
        sessions.push(session);
        return talk(session, options.mayRefuse ?? false);
      }),
    );
    const failures = outcomes.filter((outcome) => outcome !== 'done' && outcome !== 'refused');
    const heard = sessions.filter((_, at) => outcomes[at] !== 'refused');
    const refusedCount = outcomes.filter((outcome) => outcome === 'refused').length;
    return { ...reportLoad(heard, failures), refusedCount };
  } finally {
    stopSending();
    for (const session of sessions) session.cut();
  }
}

/** Sends of all sessions what is due, until it is told to stop: one timer for all, for it must cost little. */
function keepSending(sessions: readonly LoadSession[], { durationMs, onProgress }: LoadOptions): () => void {
  const startedAtMs = systemClock.nowMs();
  let toldMs = 0;
  const timer = setInterval(() => {
    const nowMs = systemClock.nowMs();
    for (const session of sessions) session.sendDue(nowMs);
    if (nowMs - startedAtMs < toldMs + 10_000) return;
    toldMs += 10_000;
    onProgress(`${toldMs / 1_000} of ${durationMs / 1_000} s`);
  }, TICK_MS);
  return () => {
    clearInterval(timer);
  };
}

/** A session from its first packet to its last event; returns `done`, `refused`, or what went wrong. */
async function talk(session: LoadSession, mayRefuse: boolean): Promise<string> {
  try {
    await session.ready;
  } catch (error) {
    if (!mayRefuse) throw error;
    return 'refused';
  }
  session.begin(systemClock.nowMs());
  await session.sent;
  return finish(session);
}

async function prepareScripts(options: LoadOptions): Promise<SpokenScript[]> {
  const { sessionCount, durationMs, speakingShare, pauseMinMs = PAUSE_MIN_MS, onProgress } = options;
  const random = seededRandom(options.seed);
  const perSession = Math.ceil((durationMs * speakingShare) / SENTENCE_MIN_MS) + 2;
  const texts = distinctSentences(perSession * sessionCount, random);
  const scripts: SpokenScript[] = [];
  for (let i = 0; i < sessionCount; i++) {
    const own = texts.slice(i * perSession, (i + 1) * perSession);
    // Evenly out of step: at any time about `speakingShare` of the sessions speak, from the beginning.
    const phase = (i + random()) / sessionCount;
    const speech = { texts: own, durationMs, speakingShare, pauseMinMs };
    scripts.push(await prepareScript({ ...speech, phase, random }));
    if ((i + 1) % 10 === 0) onProgress(`speech for ${i + 1} of ${sessionCount} sessions is made`);
  }
  return scripts;
}

/** Ends a session; returns `done`, or what went wrong. */
async function finish(session: LoadSession): Promise<string> {
  session.stop();
  let cancel: () => void = () => undefined;
  const late = new Promise<undefined>((resolve) => {
    const timer = setTimeout(resolve, FINISH_MAX_MS, undefined);
    cancel = () => {
      clearTimeout(timer);
    };
  });
  const code = await Promise.race([session.closed, late]);
  cancel();
  if (code === undefined) return `no end within ${FINISH_MAX_MS} ms`;
  const last = session.received.at(-1)?.message;
  if (code === 1_000 && last?.type === 'done') return 'done';
  return `closed with ${code} after ${JSON.stringify(last)}`;
}
