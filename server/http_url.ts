/** Where a port can be reached. */

/** `http://host:port`, or `https:`; an IPv6 address in brackets. */
export function httpUrl(address: {
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
}): string {
  const { host, port, isSecure } = address;
  return `${isSecure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
