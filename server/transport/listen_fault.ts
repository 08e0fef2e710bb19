/** Why a port cannot be had, in words. */
import { lookup } from 'node:dns/promises';
import { createServer, isIP } from 'node:net';
import { ConfigError } from '../../pipeline/errors.ts';

/** A port that somebody wanted, and the settings that named it. */
export interface WantedPort {
  readonly settings: { readonly host: string; readonly port: string };
  readonly host: string;
  readonly port: number;
}

/** The settings of the clients' port. */
export const CLIENT_PORT_SETTINGS = { host: 'host', port: 'port' } as const;

/** The `ConfigError` for a failed listen; `cause` is what the system said of it. */
export function listenFault({ settings, host, port }: WantedPort, cause: unknown): ConfigError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no reason given';
  const words: Readonly<Record<string, string>> = {
    EADDRINUSE: `${settings.port}: ${host} port ${port} is taken; is Earwitness already running?`,
    EADDRNOTAVAIL: `${settings.host}: ${host} is no address of this machine`,
    EACCES: `${settings.port}: port ${port} is only for privileged users on this machine`,
    ENOTFOUND: `${settings.host}: the name ${host} cannot be resolved`,
    EAI_AGAIN: `${settings.host}: the name ${host} cannot be resolved`,
  };
  const text = words[code] ?? `${settings.port}: cannot listen on ${host} port ${port}`;
  return new ConfigError('bad_config', `cannot start as configured: ${text} (${code})`, { cause });
}

/** What the system says of a listen that a library failed to do without telling why; undefined if it works by now. */
export function listenCause({ host, port }: WantedPort): Promise<unknown> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve(undefined);
      });
    });
  });
}

/** Passes if the host is an address or a name that has one. Throws `ConfigError`. */
export async function checkHost(wanted: WantedPort): Promise<void> {
  if (isIP(wanted.host) !== 0) return;
  try {
    await lookup(wanted.host);
  } catch (cause) {
    throw listenFault(wanted, cause);
  }
}
