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

/** From the gateway: `pong` for each `ping`, `ready` once, when sessions can be served. */
export type GatewayMessage =
  | { readonly type: 'pong'; readonly rssBytes: number }
  | { readonly type: 'ready'; readonly port: number; readonly adminPort: number }
  /** The exception that is about to end it. */
  | { readonly type: 'lastWords'; readonly words: string };

export interface SupervisorLink {
  /** False where nobody is above this process. */
  readonly isSupervised: boolean;
  /** As the supervisor last told them. */
  readonly counts: { readonly restarts: number; readonly reports: number };
  ready(ports: { readonly port: number; readonly adminPort: number }): void;
  close(): void;
}

/** Answers the supervisor, if there is one. `onStop` hears that it wants an end, or that it has gone. */
export function openSupervisorLink(onStop: (reason: string) => void): SupervisorLink {
  const isSupervised = process.send !== undefined;
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
  return {
    isSupervised,
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
