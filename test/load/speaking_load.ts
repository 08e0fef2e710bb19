/** Many people talking to one server at once, in real time. */
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
  readonly seed: number;
  /** Called with one line at a time about what is going on. */
  readonly onProgress: (line: string) => void;
}

/** Packets that are due are looked for this often. */
const TICK_MS = 5;
/** Time that sessions have, after their last packet, for what they are owed: enough to tell late from lost. */
const FINISH_MAX_MS = 120_000;
/** Sentences prepared per session: at the shortest, 2 s each. */
const SENTENCE_MIN_MS = 2_000;

/**
 * Runs the load and judges it. Every packet has an absolute time at which it is due, whatever happened before; and
 * latencies count from there, so a server that stalls the load cannot hide it.
 */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const scripts = await prepareScripts(options);
  const sessions = scripts.map((script) => new LoadSession({ url: options.url, script, clock: systemClock }));
  try {
    await Promise.all(sessions.map(({ ready }) => ready));
    options.onProgress(`${sessions.length} sessions are open`);
    await speak(sessions, options);
    const failures = await Promise.all(sessions.map((session) => finish(session)));
    return reportLoad(
      sessions,
      failures.flatMap((failure) => failure ?? []),
    );
  } finally {
    for (const session of sessions) session.cut();
  }
}

async function prepareScripts(options: LoadOptions): Promise<SpokenScript[]> {
  const { sessionCount, durationMs, speakingShare, onProgress } = options;
  const random = seededRandom(options.seed);
  const perSession = Math.ceil((durationMs * speakingShare) / SENTENCE_MIN_MS) + 2;
  const texts = distinctSentences(perSession * sessionCount, random);
  const scripts: SpokenScript[] = [];
  for (let i = 0; i < sessionCount; i++) {
    const own = texts.slice(i * perSession, (i + 1) * perSession);
    // Evenly out of step: at any time about `speakingShare` of the sessions speak, from the beginning.
    const phase = (i + random()) / sessionCount;
    scripts.push(await prepareScript({ texts: own, durationMs, speakingShare, phase, random }));
    if ((i + 1) % 10 === 0) onProgress(`speech for ${i + 1} of ${sessionCount} sessions is made`);
  }
  return scripts;
}

/** Sends everything when it is due. The sessions begin within one packet's time, so that their packets do not bunch. */
async function speak(
  sessions: readonly LoadSession[],
  { durationMs, onProgress }: LoadOptions,
): Promise<void> {
  const startedAtMs = systemClock.nowMs();
  for (const [i, session] of sessions.entries())
    session.begin(startedAtMs + (i * PACKET_MS) / sessions.length);
  let toldMs = 0;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const nowMs = systemClock.nowMs();
      const isSending = sessions.map((session) => session.sendDue(nowMs)).some(Boolean);
      if (nowMs - startedAtMs >= toldMs + 10_000) {
        toldMs += 10_000;
        onProgress(`${toldMs / 1_000} of ${durationMs / 1_000} s`);
      }
      if (isSending) return;
      clearInterval(timer);
      resolve();
    }, TICK_MS);
  });
}

/** Ends a session; returns what went wrong, if anything did. */
async function finish(session: LoadSession): Promise<string | undefined> {
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
  if (code === 1_000 && last?.type === 'done') return undefined;
  return `closed with ${code} after ${JSON.stringify(last)}`;
}
