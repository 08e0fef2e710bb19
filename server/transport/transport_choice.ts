/** Which library carries the clients' port, and why. */
import { ConfigError } from '../../pipeline/errors.ts';
import type { Transport } from './transport.ts';
import { TRANSPORT_OPTIONS } from './transport_bounds.ts';
import { findUws, type UwsSearch } from './uws_module.ts';
import { UwsTransport } from './uws_transport.ts';
import { WsTransport } from './ws_transport.ts';

/** What was chosen; `reason` is one line for the log. */
export interface TransportChoice {
  readonly name: Transport['name'];
  readonly reason: string;
  readonly create: () => Transport;
}

const INSTALL_ADVICE =
  'Install the official one, `npm install uNetworking/uWebSockets.js#` with its latest tag (Linux: glibc 2.38 or later), ' +
  'use Node 20 with the optional dependency (glibc 2.27 or later), or set the transport to `auto` or `ws`.';

export interface ChoiceOptions {
  /** Whether the transport itself does TLS. Default false. */
  readonly hasTls?: boolean;
  readonly findNative?: () => UwsSearch;
}

/**
 * `auto` takes uWebSockets.js where its native binary loads and TLS is not its task, else `ws`. Throws `ConfigError` (`bad_config`) when
 * `uws` is asked for and cannot be had.
 */
export function chooseTransport(
  wanted: 'auto' | 'uws' | 'ws',
  { hasTls = false, findNative = findUws }: ChoiceOptions = {},
): TransportChoice {
  if (wanted === 'ws') return wsChoice('asked for');
  if (wanted === 'auto' && hasTls) return wsChoice('it can take a new certificate while it runs');
  const search = findNative();
  if (search.found) {
    const reason = wanted === 'uws' ? 'asked for' : 'its native binary loads';
    return { name: 'uws', reason, create: () => new UwsTransport(search.module, TRANSPORT_OPTIONS) };
  }
  if (wanted === 'auto') return wsChoice(search.reason);
  throw new ConfigError(
    'bad_config',
    `the transport \`uws\` cannot be had: ${search.reason}. ${INSTALL_ADVICE}`,
  );
}

function wsChoice(reason: string): TransportChoice {
  return { name: 'ws', reason, create: () => new WsTransport(TRANSPORT_OPTIONS) };
}
