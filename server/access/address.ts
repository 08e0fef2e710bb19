/** Addresses of clients: what is this machine, and who counts as one. Addresses are as a `RequestHead` has them. */
import { isIPv6 } from 'node:net';

/** Whether only this machine can have this address; names other than `localhost` are not looked up. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address === 'localhost' || /^127(\.\d{1,3}){3}$/.test(address);
}

/**
 * What is counted as one client: an IPv4 address, or the first 64 bits of an IPv6 address, because a line or a
 * machine gets all addresses with the same ones (RFC 6177) and could use a new one for every connection.
 */
export function clientBlock(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const tailCount = tail === undefined || tail === '' ? 0 : tail.split(':').length;
  const zeros = tail === undefined ? 0 : 8 - groups.length - tailCount;
  const all = [...groups, ...Array.from({ length: zeros }, () => '0'), ...(tail ?? '').split(':')];
  return `${all.slice(0, 4).join(':')}::/64`;
}
