/** What a gateway and the supervisor above it tell each other, and the gateway's end of it. */
import { LAST_WORDS_MAX_LENGTH } from '../pipeline/limits.ts';

/** From the supervisor. `restarts` and `reports` count since it was started. */
export type SupervisorMessage =
  | {
      readonly type: 'ping';
      /** Gateways started in place of one that died. */
      readonly restarts: number;
      /** Crash reports written of those. */
      readonly reports: number;
    }
  | { readonly type: 'stop' };

/** Where a gateway listens; one that takes its place is to be found there too. */
export interface GatewayPorts {
  readonly port: number;
  readonly adminPort: number;
  /** Where every path speaks vosk, if there is such a port. */
  readonly voskPort?: number;
}

/** From the gateway: `pong` for each `ping`, `ready` once, when sessions can be served. */
export type GatewayMessage =
  | { readonly type: 'pong'; readonly rssBytes: number }
  | ({ readonly type: 'ready' } & GatewayPorts)
  /** The exception that is about to end it. */
  | { readonly type: 'lastWords'; readonly words: string };

/** What a supervisor adds to the arguments of its gateway. */
export const SUPERVISED_ARGUMENT = '--supervised';

/**
 * Whether a supervisor of ours is above this process: it says so in the arguments, for others may have started us with
 * a channel of their own (PM2, a test); and who gave the argument by hand has none.
 */
export function isSupervised(hasArgument: boolean): boolean {
  return hasArgument && process.send !== undefined;
}

export interface SupervisorLink {
  /** As the supervisor last told them. */
  readonly counts: { readonly restarts: number; readonly reports: number };
  ready(ports: GatewayPorts): void;
  close(): void;
}

/** Answers the supervisor above this process. `onStop` hears that it wants an end, or that it has gone. */
export function openSupervisorLink(onStop: (reason: string) => void): SupervisorLink {
  let counts = { restarts: 0, reports: 0 };
  const tell = (message: GatewayMessage): void => {
    if (process.connected) process.send?.(message);
  };
  const hear = (message: SupervisorMessage): void => {
    switch (message.type) {
      case 'ping':
        counts = { restarts: message.restarts, reports: message.reports };
        tell({ type: 'pong', rssBytes: process.memoryUsage.rss() });
        return;
      case 'stop':
        onStop('the supervisor asks');
    }
  };
  const mourn = (): void => {
    onStop('the supervisor has gone');
  };
  const confess = (error: unknown): void => {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    tell({ type: 'lastWords', words: words.slice(0, LAST_WORDS_MAX_LENGTH) });
  };
  process.on('message', hear).on('disconnect', mourn).on('uncaughtExceptionMonitor', confess);
  // While this process was loading nobody heard it go.
  if (!process.connected) mourn();
  return {
    get counts() {
      return counts;
    },
    ready: (ports) => {
      tell({ type: 'ready', ...ports });
    },
    close: () => {
      process.off('message', hear).off('disconnect', mourn).off('uncaughtExceptionMonitor', confess);
    },
  };
}
