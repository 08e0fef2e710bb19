/** A server for the length of a load test, in processes of its own, so that what loads it does not slow it down. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { InferenceError } from '../../pipeline/errors.ts';
import type { GatewayReady } from '../supervisor.ts';

export interface OwnServer {
  readonly url: string;
  close(): Promise<void>;
}

/** It hears only this machine and asks for no keys; what else is configured counts. */
const ARGS = [
  ...['serve', '--no-supervise', '--host', '127.0.0.1', '--port', '0', '--admin-host', '127.0.0.1'],
  ...['--admin-port', '0', '--keys-file', '', '--tls-cert', '', '--tls-key', '', '--log-level', 'error'],
];

/** Starts one; resolves when it is ready. Throws `InferenceError` if it ends instead: it has told why on stderr. */
export async function startOwnServer(signal: AbortSignal): Promise<OwnServer> {
  const child = fork(fileURLToPath(new URL('../main.js', import.meta.url)), ARGS, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  // Its workers, and its last words, are its own affair: it ends as `serve` does.
  const close = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exited;
  };
  // Only while it starts: afterwards the load ends first, and then the server.
  const stop = (): void => {
    child.kill('SIGTERM');
  };
  signal.addEventListener('abort', stop);
  const first = await Promise.race([once(child, 'message'), exited.then(() => undefined)]);
  signal.removeEventListener('abort', stop);
  if (first === undefined) throw new InferenceError('worker_died', 'the server did not start');
  const [{ port }] = first as [GatewayReady];
  return { url: `ws://127.0.0.1:${port}`, close };
}
