/** `earwitness load`: many people who talk to a server at once, and how they fared. */
import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { UsageError } from '../../pipeline/errors.ts';
import {
  CREDENTIAL_MAX_BYTES,
  LOAD_MAX_MS,
  LOAD_PROCESSES_MAX_COUNT,
  LOAD_SESSIONS_MAX_COUNT,
  LOAD_STAGES_MAX_COUNT,
  LOAD_TRIAL_PAUSE_MS,
} from '../../pipeline/limits.ts';
import { isLoopback } from '../access/address.ts';
import { parseDuration } from './duration.ts';
import { LiveLine, type TerminalStream } from './live_line.ts';
import { missed, parseAssertions, type Assertion } from '../load/assertions.ts';
import { capacityOf, nextTrial, type Trial } from '../load/capacity_search.ts';
import { planDurationMs, shownUrl, type LoadPlan, type LoadStage } from '../load/load_plan.ts';
import type { LoadReport } from '../load/load_report.ts';
import { runLoad } from '../load/load_run.ts';
import { startOwnServer } from '../load/own_server.ts';
import { renderHtml } from '../load/report_html.ts';
import { bar, renderProgress, renderReport, seconds } from '../load/report_text.ts';
import type { LoadFlags } from './load_flags.ts';

export interface LoadCommandOptions {
  readonly flags: LoadFlags;
  readonly stdout: TerminalStream;
  readonly stderr: TerminalStream;
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

/** Stands for a server that is not there yet. */
const OWN_URL = 'ws://127.0.0.1';
/**
 * What a server has to keep, where nothing else is asserted. It counts from the last sound: a server that is late with
 * everything is late in deciding on ends too, and then sends its finals at once.
 */
const OBJECTIVE = 'true_end_p95<1s,lost=0,repeated=0,crossed=0,refused=0,failed=0';

/** Runs the load; 0 if every assertion was kept, else 1. Throws `UsageError` for options that make no sense. */
export async function loadTest(options: LoadCommandOptions): Promise<number> {
  const { flags, signal } = options;
  // What is wrong with the options is told before a server is started.
  const plan = planOf(flags);
  const assertions = parseAssertions(flags.assert ?? (flags.findCapacity ? OBJECTIVE : ''));
  if (flags.url !== undefined) return runAgainst(plan, assertions, options);
  const own = await startOwnServer(signal);
  try {
    return await runAgainst({ ...plan, url: own.url }, assertions, options);
  } finally {
    await own.close();
  }
}

async function runAgainst(
  plan: LoadPlan,
  assertions: readonly Assertion[],
  options: LoadCommandOptions,
): Promise<number> {
  const { flags, stdout, stderr } = options;
  const { hostname } = new URL(plan.url);
  const isHere = isLoopback(hostname.replaceAll(/[[\]]/g, ''));
  const where = flags.url === undefined ? 'a server of its own' : isHere ? 'this machine' : 'ANOTHER HOST';
  stderr.write(`earwitness: the load goes to ${shownUrl(plan.url)} (${where})\n`);
  if (flags.findCapacity) return findCapacity({ ...options, plan, assertions });
  const report = await runShown(plan, options);
  stdout.write(renderReport(report));
  return finish(report, assertions, options);
}

async function finish(
  report: LoadReport,
  assertions: readonly Assertion[],
  { flags, stderr, now }: LoadCommandOptions,
): Promise<number> {
  const misses = missed(report, assertions);
  for (const { text } of misses) stderr.write(`earwitness: missed: ${text}\n`);
  if (flags.json !== undefined) {
    const result = { ...report, missed: misses.map(({ text }) => text) };
    await write(flags.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  if (flags.html !== undefined) {
    const asserted = assertions.map(({ text }) => text);
    await write(flags.html, renderHtml(report, { now: now(), asserted, missed: misses }));
  }
  return misses.length === 0 ? 0 : 1;
}

/** Tries loads until the capacity is known; the report is that of the largest load that was borne. */
async function findCapacity(
  options: LoadCommandOptions & { readonly plan: LoadPlan; readonly assertions: readonly Assertion[] },
): Promise<number> {
  const { plan, assertions, stdout, stderr, signal } = options;
  const [stage] = plan.stages;
  const trials: Trial[] = [];
  let best: LoadReport | undefined;
  for (;;) {
    const sessionCount = nextTrial(trials, stage?.sessionCount ?? 1);
    if (sessionCount === undefined || signal.aborted) break;
    if (trials.length > 0) await pause(LOAD_TRIAL_PAUSE_MS, undefined, { signal }).catch(() => undefined);
    const stages = plan.stages.map((own) => ({ ...own, sessionCount }));
    const report = await runShown({ ...plan, stages }, options);
    if (report.wasInterrupted) break;
    const misses = missed(report, assertions);
    const isBorne = misses.length === 0;
    trials.push({ sessionCount, isBorne });
    const why = misses.map(({ text }) => text).join('; ');
    stderr.write(`earwitness: ${sessionCount} sessions: ${isBorne ? 'borne' : why}\n`);
    if (isBorne && sessionCount === capacityOf(trials)) best = report;
  }
  const capacity = capacityOf(trials);
  stdout.write(`capacity: ${capacity} sessions with ${assertions.map(({ text }) => text).join(',')}\n`);
  if (best === undefined) return 1;
  stdout.write(renderReport(best));
  return finish(best, assertions, options);
}

async function runShown(plan: LoadPlan, { stderr, signal }: LoadCommandOptions): Promise<LoadReport> {
  const live = new LiveLine(stderr);
  const durationMs = planDurationMs(plan.stages);
  try {
    return await runLoad(plan, {
      signal,
      onPreparing: (readyCount, sentenceCount) => {
        live.show(
          `${bar(readyCount / sentenceCount)} ${readyCount} of ${sentenceCount} sentences are spoken`,
        );
      },
      onProgress: (progress) => {
        live.show(renderProgress(progress, durationMs));
      },
    });
  } finally {
    live.clear();
  }
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`the report cannot be written: ${reason}`);
  });
}

function planOf(flags: LoadFlags): LoadPlan {
  const { url = OWN_URL, token = '', dialect, encoding, retry, speech } = flags;
  if (!/^wss?:\/\//.test(url.replace(/^http/, 'ws')) || !URL.canParse(url)) {
    throw fault('--url', 'an address such as ws://127.0.0.1:8080', url);
  }
  const stages = stagesOf(flags);
  if (planDurationMs(stages) > LOAD_MAX_MS) {
    throw fault(
      '--duration, --stages',
      `at most ${seconds(LOAD_MAX_MS)} in all`,
      seconds(planDurationMs(stages)),
    );
  }
  if (token.length > CREDENTIAL_MAX_BYTES || !/^[\x21-\x7e]*$/.test(token)) {
    // Told without a word of it.
    throw new UsageError('--token: expected an API key or token, got something else');
  }
  return {
    ...{ url: url.replace(/^http/, 'ws'), dialect, encoding, stages, retriesRefusals: retry },
    talkRatio: shareOf(flags.talkRatio),
    seed: wholeNumber('--seed', flags.seed, { min: 0, max: 2 ** 31 }),
    processCount: wholeNumber('--processes', flags.processes, { min: 1, max: LOAD_PROCESSES_MAX_COUNT }),
    ...(speech === undefined ? {} : { speechDir: speech }),
    ...(token === '' ? {} : { credential: token }),
  };
}

/** `--stages 10:30s,50:2m:20s` is a list of COUNT:HOLD or COUNT:HOLD:RAMP; without it there is one stage. */
function stagesOf({ stages, sessions, duration, ramp }: LoadFlags): LoadStage[] {
  if (stages === undefined) {
    const bounds = { min: 1, max: LOAD_SESSIONS_MAX_COUNT };
    const sessionCount = wholeNumber('--sessions', sessions, bounds);
    return [{ sessionCount, rampMs: timeOf('--ramp', ramp), holdMs: timeOf('--duration', duration) }];
  }
  const parts = stages.split(',');
  if (parts.length > LOAD_STAGES_MAX_COUNT) {
    throw fault('--stages', `at most ${LOAD_STAGES_MAX_COUNT} stages`, String(parts.length));
  }
  return parts.map((part) => {
    const [count = '', hold = '', stageRamp = '0s', ...others] = part.trim().split(':');
    if (others.length > 0) throw fault('--stages', 'COUNT:HOLD or COUNT:HOLD:RAMP', part);
    return {
      sessionCount: wholeNumber('--stages', count, { min: 0, max: LOAD_SESSIONS_MAX_COUNT }),
      rampMs: timeOf('--stages', stageRamp),
      holdMs: timeOf('--stages', hold),
    };
  });
}

function timeOf(flag: string, text: string): number {
  const timeMs = parseDuration(text);
  if (timeMs === undefined) throw fault(flag, 'a time such as 30s, 10m or 1h', text);
  return timeMs;
}

function shareOf(text: string): number {
  const share = Number(text);
  if (!(share > 0 && share <= 1)) throw fault('--talk-ratio', 'a number above 0 and at most 1', text);
  return share;
}

function wholeNumber(
  flag: string,
  text: string,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (!(number >= min && number <= max)) throw fault(flag, `a whole number from ${min} to ${max}`, text);
  return number;
}

function fault(flag: string, rule: string, value: string): UsageError {
  return new UsageError(`${flag}: expected ${rule}, got '${value.slice(0, 100)}'`);
}
