/** What asks `serve` to stop: a signal, or the supervisor above it. */
import { openSupervisorLink, type SupervisorLink } from './supervisor_link.ts';

/** The first two requests to stop, each by its name. */
export interface SignalWatch {
  readonly first: Promise<string>;
  readonly second: Promise<string>;
  /** Aborted by the first. */
  readonly asked: AbortSignal;
  readonly wasAskedTwice: boolean;
  readonly supervisor: SupervisorLink | undefined;
  close(): void;
}

/**
 * Under a supervisor only what it says counts: a signal to the whole group, from a terminal or from systemd, reaches
 * both, and the supervisor passes it on. A supervisor that has gone is a request too.
 */
export function watchSignals(isSupervised: boolean): SignalWatch {
  const resolvers: ((name: string) => void)[] = [];
  const next = (): Promise<string> =>
    new Promise((resolve) => {
      resolvers.push(resolve);
    });
  const [first, second] = [next(), next()];
  const asking = new AbortController();
  const hear = (name: string): void => {
    resolvers.shift()?.(name);
    asking.abort();
  };
  const supervisor = isSupervised ? openSupervisorLink(hear) : undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    if (!isSupervised) hear(name);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  return {
    first,
    second,
    asked: asking.signal,
    get wasAskedTwice() {
      return resolvers.length === 0;
    },
    supervisor,
    close: () => {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
      supervisor?.close();
    },
  };
}
