/** `earwitness serve`: a server until it is told to stop. */
import { fileURLToPath } from 'node:url';
import { systemClock } from '../pipeline/clock.ts';
import type { Config } from './config.ts';
import { startServer, type RunningServer } from './gateway.ts';
import type { RootLog } from './log.ts';
import { ensureModels, type Output } from './models_command.ts';
import { Supervisor, type GatewayReady } from './supervisor.ts';
import { SILERO_VAD_V5 } from '../models/catalogue.ts';

/**
 * Runs the gateway in a process of its own and starts it again when it dies; resolves to the exit status.
 * `args` are those of the command line after `serve`.
 */
export async function superviseServe(args: readonly string[], log: RootLog): Promise<number> {
  const supervisor = new Supervisor({
    modulePath: fileURLToPath(new URL('./main.js', import.meta.url)),
    args: ['serve', ...args],
    clock: systemClock,
    random: Math.random,
    log,
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
    return await supervisor.run();
  } finally {
    clearInterval(stayAlive);
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload);
    heedAgain();
  }
}

/** Tools send these for purposes of their own; by default each ends the process. Returns what undoes it. */
function ignoreStraySignals(): () => void {
  const stray = ['SIGALRM', 'SIGUSR2'] as const;
  const ignore = (): void => undefined;
  for (const signal of stray) process.on(signal, ignore);
  return () => {
    for (const signal of stray) process.off(signal, ignore);
  };
}

/** Where the program speaks. */
export interface ServeStreams {
  readonly log: RootLog;
  readonly stdout: Output;
  readonly stderr: Output;
}

/**
 * Serves until SIGTERM or SIGINT, which count from the first moment on; resolves to the exit status. A second signal
 * ends the process at once. SIGHUP has keys and certificate read again.
 */
export async function serve(config: Config, io: ServeStreams): Promise<number> {
  const signals = watchSignals();
  let server: RunningServer | undefined;
  const reload = (): void => {
    // Never rejects: what went wrong is in the log. A server that is only starting reads them anyway.
    void server?.reload();
  };
  process.on('SIGHUP', reload);
  const heedAgain = ignoreStraySignals();
  try {
    const ended = await fetchModels(config, io, signals);
    if (ended !== undefined) return ended;
    server = await startServer(config, io.log);
    for (const warning of server.warnings) io.stderr.write(`earwitness: ${warning}\n`);
    return await serveUntil(signals, server, io);
  } finally {
    signals.close();
    process.off('SIGHUP', reload);
    heedAgain();
    await server?.close();
  }
}

/** Has the weights there, prepared. Resolves to the exit status if the signals end it first. */
async function fetchModels(
  { modelsDir, model }: Config,
  { stderr }: ServeStreams,
  signals: SignalWatch,
): Promise<number | undefined> {
  const ids = [model, SILERO_VAD_V5.id];
  const { asked } = signals;
  const fetching = ensureModels({ modelsDir, ids, quiet: true, stdout: stderr, stderr, signal: asked });
  return Promise.race([
    fetching.then(
      () => undefined,
      (error: unknown) => {
        if (asked.aborted) return 0;
        throw error;
      },
    ),
    signals.second.then(() => 1),
  ]);
}

async function serveUntil(
  signals: SignalWatch,
  server: RunningServer,
  { log, stdout }: ServeStreams,
): Promise<number> {
  const early = await Promise.race([server.ready, signals.first]);
  if (early !== undefined) return stop(early);
  const { url, adminUrl, voskUrl } = server;
  stdout.write(`Earwitness listens on ${url} (metrics and health on ${adminUrl})\n`);
  if (voskUrl !== undefined) stdout.write(`vosk clients find it on ${voskUrl}\n`);
  process.send?.({
    type: 'gatewayReady',
    port: portOf(url),
    adminPort: portOf(adminUrl),
    ...(voskUrl === undefined ? {} : { voskPort: portOf(voskUrl) }),
  } satisfies GatewayReady);
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

/** The first two requests to stop. */
interface SignalWatch {
  readonly first: Promise<string>;
  readonly second: Promise<string>;
  /** Aborted by the first. */
  readonly asked: AbortSignal;
  close(): void;
}

/**
 * Under a supervisor only SIGTERM counts, since Ctrl-C reaches the whole group and the supervisor passes it on; a
 * supervisor that has gone is a request too.
 */
function watchSignals(): SignalWatch {
  const resolvers: ((name: string) => void)[] = [];
  const next = (): Promise<string> =>
    new Promise((resolve) => {
      resolvers.push(resolve);
    });
  const first = next();
  const second = next();
  const asking = new AbortController();
  const hear = (name: string): void => {
    resolvers.shift()?.(name);
    asking.abort();
  };
  const isSupervised = process.send !== undefined;
  const onTerm = (): void => {
    hear('SIGTERM');
  };
  const onInterrupt = (): void => {
    if (!isSupervised) hear('SIGINT');
  };
  const onOrphaned = (): void => {
    hear('the supervisor has gone');
  };
  process.on('SIGTERM', onTerm).on('SIGINT', onInterrupt).on('disconnect', onOrphaned);
  return {
    first,
    second,
    asked: asking.signal,
    close: () => {
      process.off('SIGTERM', onTerm).off('SIGINT', onInterrupt).off('disconnect', onOrphaned);
    },
  };
}
