/** `earwitness serve`: a server until it is told to stop. */
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../pipeline/clock.ts';
import { LATE_MESSAGE_GRACE_MS } from '../../pipeline/limits.ts';
import type { CounterName, Telemetry } from '../../pipeline/telemetry.ts';
import type { Config } from '../config.ts';
import { CrashReports } from '../records/crash_reports.ts';
import { startServer, type RunningServer } from '../gateway.ts';
import type { RootLog } from '../records/log.ts';
import { ensureModels, type Output } from './models_command.ts';
import { reportArguments } from '../records/node_report.ts';
import { watchSignals, type SignalWatch } from '../signal_watch.ts';
import { ignoreStraySignals } from '../stray_signals.ts';
import { Supervisor } from '../supervisor.ts';
import { findRecogniser, SILERO_VAD_V5 } from '../../models/catalogue.ts';
import { CPU } from '../workers/devices.ts';
import { ensurePreparedForAccelerators } from '../workers/preparation.ts';

/**
 * Runs the gateway in a process of its own and starts it again when it dies; resolves to the exit status.
 * `args` are those of the command line after `serve`.
 */
export async function superviseServe(args: readonly string[], config: Config, log: RootLog): Promise<number> {
  const written = new WrittenReports();
  const reports = new CrashReports({
    folder: config.crashDir,
    maxCount: config.crashReportsMax,
    clock: systemClock,
    now: () => new Date(),
    telemetry: written,
    log,
  });
  const supervisor = new Supervisor({
    modulePath: fileURLToPath(new URL('../main.js', import.meta.url)),
    args: ['serve', ...args],
    execArgv: reportArguments(config.crashDir),
    clock: systemClock,
    random: Math.random,
    log,
    record: (facts) => {
      reports.record(facts);
    },
    reportCount: () => written.total,
  });
  const stop = (): void => {
    supervisor.stop();
  };
  const reload = (): void => {
    supervisor.reload();
  };
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload);
  const heedAgain = ignoreStraySignals();
  // Between two gateways nothing else keeps this process alive: the clock's timers do not.
  const stayAlive = setInterval(() => undefined, 60_000);
  try {
    await reports.open();
    return await supervisor.run();
  } finally {
    clearInterval(stayAlive);
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload);
    heedAgain();
    await reports.close();
  }
}

/** The supervisor has no metrics of its own; how many reports it wrote is exported by its gateway. */
class WrittenReports implements Telemetry {
  total = 0;

  count(name: CounterName): void {
    if (name === 'crash_reports_total') this.total++;
  }

  set(): void {
    // It has no gauges.
  }

  observe(): void {
    // It has no histograms.
  }
}

/** Where the program speaks, and whether to a supervisor too. */
export interface ServeIo {
  readonly isSupervised: boolean;
  readonly log: RootLog;
  readonly stdout: Output;
  readonly stderr: Output;
}

/**
 * Serves until SIGTERM or SIGINT, which count from the first moment on; resolves to the exit status. A second signal
 * ends the process at once. SIGHUP has keys and certificate read again.
 */
export async function serve(config: Config, io: ServeIo): Promise<number> {
  const signals = watchSignals(io.isSupervised);
  let server: RunningServer | undefined;
  const reload = (): void => {
    // Never rejects: what went wrong is in the log. A server that is only starting reads them anyway.
    void server?.reload();
  };
  process.on('SIGHUP', reload);
  const heedAgain = ignoreStraySignals();
  try {
    const fetched = await unlessStopped(signals, fetchModels(config, io, signals.asked));
    if ('status' in fetched) return fetched.status;
    const { supervisor, asked } = signals;
    const parts = { signal: asked, ...(supervisor === undefined ? {} : { supervisor }) };
    const started = await unlessStopped(signals, startServer(config, io.log, parts));
    if ('status' in started) return started.status;
    server = started.value;
    for (const warning of server.warnings) io.stderr.write(`earwitness: ${warning}\n`);
    return await serveUntil(signals, server, io);
  } finally {
    signals.close();
    process.off('SIGHUP', reload);
    heedAgain();
    // Who asked twice does not want to wait; the workers end when their gateway has gone.
    if (!signals.wasAskedTwice) await server?.close();
  }
}

/** Has the weights there, prepared. Throws the signal's reason. */
async function fetchModels(
  { modelsDir, model, device }: Config,
  { stderr }: ServeIo,
  signal: AbortSignal,
): Promise<void> {
  const ids = [model, SILERO_VAD_V5.id];
  await ensureModels({ modelsDir, ids, quiet: true, stdout: stderr, stderr, signal });
  if (device !== CPU)
    await ensurePreparedForAccelerators(findRecogniser(model), { modelsDir, stderr, signal });
}

/** What the work comes to, or the exit status if the signals end it first. */
function unlessStopped<T>(
  { first, second, asked }: SignalWatch,
  work: Promise<T>,
): Promise<{ readonly value: T } | { readonly status: number }> {
  return Promise.race([
    work.then(
      (value) => ({ value }),
      async (error: unknown) => {
        // A signal to the whole group ends npm and workers too, and what it asks of us may still be on its way.
        await Promise.race([first, pause(LATE_MESSAGE_GRACE_MS)]);
        if (asked.aborted) return { status: 0 };
        throw error;
      },
    ),
    second.then(() => ({ status: 1 })),
  ]);
}

async function serveUntil(
  signals: SignalWatch,
  server: RunningServer,
  { log, stdout }: ServeIo,
): Promise<number> {
  const early = await Promise.race([server.ready, signals.first]);
  if (early !== undefined) return stop(early);
  const { url, adminUrl, voskUrl } = server;
  stdout.write(`Earwitness listens on ${url} (metrics and health on ${adminUrl})\n`);
  if (voskUrl !== undefined) stdout.write(`vosk clients find it on ${voskUrl}\n`);
  signals.supervisor?.ready({
    port: portOf(url),
    adminPort: portOf(adminUrl),
    ...(voskUrl === undefined ? {} : { voskPort: portOf(voskUrl) }),
  });
  return stop(await signals.first);

  async function stop(name: string): Promise<number> {
    log.info('draining', { reason: name });
    const outcome = await Promise.race([server.drain().then(() => 'drained' as const), signals.second]);
    return outcome === 'drained' ? 0 : 1;
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}
