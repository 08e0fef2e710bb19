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

export interface SupervisorLink {
  /** False where nobody is above this process. */
  readonly isSupervised: boolean;
  /** As the supervisor last told them. */
  readonly counts: { readonly restarts: number; readonly reports: number };
  ready(ports: GatewayPorts): void;
  close(): void;
}

/** Answers the supervisor, if there is one. `onStop` hears that it wants an end, or that it has gone. */
export function openSupervisorLink(onStop: (reason: string) => void): SupervisorLink {
  // Others may have started us with a channel of their own (PM2, a test): ours is who asks for signs of life.
  let isSupervised = false;
  let counts = { restarts: 0, reports: 0 };
  const tell = (message: GatewayMessage): void => {
    if (process.connected) process.send?.(message);
  };
  const hear = (message: SupervisorMessage | null): void => {
    switch (message?.type) {
      case 'ping':
        isSupervised = true;
        counts = { restarts: message.restarts, reports: message.reports };
        tell({ type: 'pong', rssBytes: process.memoryUsage.rss() });
        return;
      case 'stop':
        onStop('the supervisor asks');
        return;
      case undefined:
      // Said by somebody else.
    }
  };
  const mourn = (): void => {
    if (isSupervised) onStop('the supervisor has gone');
  };
  const confess = (error: unknown): void => {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (isSupervised) tell({ type: 'lastWords', words: words.slice(0, LAST_WORDS_MAX_LENGTH) });
  };
  process.on('message', hear).on('disconnect', mourn).on('uncaughtExceptionMonitor', confess);
  return {
    get isSupervised() {
      return isSupervised;
    },
    get counts() {
      return counts;
    },
    ready: (ports) => {
      if (isSupervised) tell({ type: 'ready', ...ports });
    },
    close: () => {
      process.off('message', hear).off('disconnect', mourn).off('uncaughtExceptionMonitor', confess);
    },
  };
}
