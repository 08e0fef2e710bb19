/** A server for the length of a load test, in processes of its own, so that what loads it does not slow it down. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { InferenceError } from '../../pipeline/errors.ts';
import {
  SUPERVISED_ARGUMENT,
  type GatewayMessage,
  type GatewayPorts,
  type SupervisorMessage,
} from '../supervisor_link.ts';

export interface OwnServer {
  readonly url: string;
  close(): Promise<void>;
}

/** It ends with us, leaves a terminal's Ctrl-C to us, hears only this machine and asks for no keys. */
const ARGS = [
  ...['serve', SUPERVISED_ARGUMENT, '--host', '127.0.0.1', '--port', '0', '--admin-host', '127.0.0.1'],
  ...['--admin-port', '0', '--keys-file', '', '--tls-cert', '', '--tls-key', '', '--log-level', 'error'],
];

/** Starts one; resolves when it is ready. Throws `InferenceError` if it ends instead: it has told why on stderr. */
export async function startOwnServer(signal: AbortSignal): Promise<OwnServer> {
  const child = fork(fileURLToPath(new URL('../main.js', import.meta.url)), ARGS, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit').then(() => undefined);
  const ready = new Promise<GatewayPorts>((resolve) => {
    child.on('message', (message: GatewayMessage) => {
      if (message.type === 'ready') resolve(message);
    });
  });
  const tell = (message: SupervisorMessage): void => {
    if (child.connected) child.send(message);
  };
  const stop = (): void => {
    tell({ type: 'stop' });
  };
  // Only while it starts: afterwards the load ends first, and then the server.
  signal.addEventListener('abort', stop);
  const ports = await Promise.race([ready, exited]);
  signal.removeEventListener('abort', stop);
  if (ports === undefined) throw new InferenceError('worker_died', 'the server did not start');
  return {
    url: `ws://127.0.0.1:${ports.port}`,
    close: async () => {
      stop();
      await exited;
    },
  };
}
