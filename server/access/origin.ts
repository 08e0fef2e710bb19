/**
 * Which web pages may connect. Browsers send the page's origin (RFC 6454) with every WebSocket and let every page
 * open one to every server, this machine's own included: the server has to refuse.
 */
import { isLoopback } from './address.ts';

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

/** Allows every origin. */
export const ANY_ORIGIN = '*';

/** Whether text is an origin exactly as browsers write it, `null`, or `*`. */
export function isOriginRule(text: string): boolean {
  if (text === ANY_ORIGIN || text === 'null') return true;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*\\]+$/.test(text)) return false;
  // Of other schemes (extensions, apps in a shell) the URL standard knows no origin; they are taken as they are.
  return !/^https?:/.test(text) || (URL.canParse(text) && new URL(text).origin === text);
}

/**
 * Whether a request with this `Origin` header may go on: compared as a whole, never by part or pattern. Without the
 * header it is no browser, and may. `null`, which any page can make itself have, must be listed; `*` allows it too.
 */
export function isOriginAllowed(origin: string | undefined, allowed: ReadonlySet<string>): boolean {
  return origin === undefined || allowed.has(ANY_ORIGIN) || allowed.has(origin);
}

/**
 * The origins of the pages that this server serves itself, as far as it knows its names. Never taken from the `Host`
 * header: a page can have any name point to this machine (DNS rebinding), and would be of the same origin.
 */
export function ownOrigins(address: {
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
}): readonly string[] {
  const { host, port, isSecure } = address;
  const isEverywhere = host === '0.0.0.0' || host === '::';
  const named = host.includes(':') ? `[${host}]` : host;
  const hosts = isEverywhere || isLoopback(host) ? LOOPBACK_HOSTS : [named];
  return hosts
    .map((name) => `${isSecure ? 'https' : 'http'}://${name}:${port}`)
    .flatMap((url) => (URL.canParse(url) ? [new URL(url).origin] : []));
}
