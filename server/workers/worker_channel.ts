/** The child's end of the IPC channel: sign of life, orderly stop, and an end when the parent has gone. */
import { EXIT_ORPHANED } from '../../pipeline/errors.ts';
import type { ControlReply, ControlRequest } from '../../pipeline/worker_process.ts';
import { ignoreStraySignals } from '../stray_signals.ts';

export interface WorkerChannel<Reply> {
  send(message: Reply | ControlReply): void;
}

/**
 * Connects a worker's `main` to its parent. `receive` gets everything but control messages; `exit` ends the process.
 * A worker whose parent dies must not live on: it would hold the device.
 */
export function openWorkerChannel<Reply>(options: {
  /** What the parent's launcher is typed to send. */
  readonly receive: (request: never) => void;
  readonly exit: (status: number) => void;
}): WorkerChannel<Reply> {
  const channel: WorkerChannel<Reply> = {
    send(message) {
      if (process.connected) process.send?.(message);
    },
  };
  process.on('message', (message: { readonly type: string }) => {
    if (isControl(message, 'ping'))
      channel.send({ type: 'pong', rssBytes: process.memoryUsage.rss(), cpuMs: cpuMs() });
    else if (isControl(message, 'stop')) options.exit(0);
    else options.receive(message as never);
  });
  process.once('disconnect', () => {
    options.exit(EXIT_ORPHANED);
  });
  // A terminal's Ctrl-C and end, and systemd's SIGTERM, reach the whole group; the gateway decides when its workers end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
  ignoreStraySignals();
  return channel;
}

/** Processor time of this process so far. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function isControl(message: { readonly type: string }, type: ControlRequest['type']): boolean {
  return message.type === type;
}
