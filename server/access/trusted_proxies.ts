/** Who a client is where proxies stand before the server: what they say of it in `X-Forwarded-For`, as far as they are trusted. */
import { BlockList, isIP } from 'node:net';
import { FORWARDED_HOPS_MAX_COUNT } from '../../pipeline/limits.ts';
import { isLoopback } from './address.ts';
import { plainAddress } from '../transport/request_head.ts';
import type { RequestHead } from '../transport/transport.ts';

/** A name for the addresses of this machine. */
const LOOPBACK = 'loopback';

/** Whether this names proxies: `loopback`, an address, or a network such as 10.0.0.0/8. */
export function isProxyRule(text: string): boolean {
  return text === LOOPBACK || networkOf(text) !== undefined;
}

export class TrustedProxies {
  readonly #networks = new BlockList();
  readonly #trustsLoopback: boolean;

  /** `rules` are such that `isProxyRule` is true. */
  constructor(rules: readonly string[]) {
    this.#trustsLoopback = rules.includes(LOOPBACK);
    for (const rule of rules) {
      const network = networkOf(rule);
      if (network !== undefined) this.#networks.addSubnet(network.address, network.prefix, network.family);
    }
  }

  /**
   * The address of whoever sent the request. Every proxy appends whom it heard it from, so the list is read from its
   * end: the first that is no trusted proxy is the client, and what stands before it is only what that client claims.
   */
  clientAddress({ remoteAddress, headers }: Pick<RequestHead, 'remoteAddress' | 'headers'>): string {
    let nearest = remoteAddress;
    const hops = (headers.get('x-forwarded-for') ?? '').split(',').slice(-FORWARDED_HOPS_MAX_COUNT).reverse();
    for (const hop of hops) {
      if (!this.#trusts(nearest)) return nearest;
      const before = addressOf(hop);
      // Not an address, or one that means something else on the proxy's machine than on this one: nobody is known beyond it.
      if (before === undefined || isLoopback(before)) return nearest;
      nearest = before;
    }
    return nearest;
  }

  #trusts(address: string): boolean {
    if (this.#trustsLoopback && isLoopback(address)) return true;
    const family = isIP(address);
    return family !== 0 && this.#networks.check(address, family === 4 ? 'ipv4' : 'ipv6');
  }
}

function networkOf(
  text: string,
): { readonly address: string; readonly prefix: number; readonly family: 'ipv4' | 'ipv6' } | undefined {
  const [address = '', length, ...others] = text.split('/');
  const family = isIP(address);
  const bits = family === 4 ? 32 : 128;
  if (family === 0 || address.includes('%') || others.length > 0) return undefined;
  if (length !== undefined && !(/^\d{1,3}$/.test(length) && Number(length) <= bits)) return undefined;
  // The whole internet trusted is nobody checked.
  if (length !== undefined && Number(length) === 0) return undefined;
  return { address, prefix: Number(length ?? bits), family: family === 4 ? 'ipv4' : 'ipv6' };
}

/** An entry of the header; some proxies write a port behind the address. */
function addressOf(hop: string): string | undefined {
  const text = hop.trim();
  const bare = /^\[(.+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  return isIP(bare) === 0 ? undefined : plainAddress(bare);
}
