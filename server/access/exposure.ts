/** Whether a server may listen where it was told to, given what protects it. */
import { ConfigError } from '../../pipeline/errors.ts';
import { isLoopback } from './address.ts';
import { ANY_ORIGIN } from './origin.ts';

/** What protects a server, or does not. */
export interface Exposure {
  readonly host: string;
  readonly adminHost: string;
  readonly hasKeys: boolean;
  readonly isInsecure: boolean;
  readonly hasTls: boolean;
  readonly allowedOrigins: readonly string[];
}

/**
 * What an operator should know about a server before it listens, one sentence each. Throws `ConfigError`
 * (`bad_config`) when others than this machine could reach it without a key and nobody asked for that.
 */
export function judgeExposure(exposure: Exposure): readonly string[] {
  const { host, adminHost, hasKeys, isInsecure, hasTls, allowedOrigins } = exposure;
  const warnings: string[] = [];
  if (!isLoopback(host) && !hasKeys) {
    if (!isInsecure) {
      throw new ConfigError(
        'bad_config',
        `cannot start as configured: host: expected a loopback address as long as there are no API keys, got '${host}'; create one with ` +
          '`earwitness keys create --name …`, or set insecure to let everybody in who can reach this machine',
      );
    }
    warnings.push(`INSECURE: everybody who can reach ${host} can use this server; create an API key`);
  }
  if (!isLoopback(host) && hasKeys && !hasTls) {
    warnings.push('keys and speech travel unencrypted unless something before this server adds TLS');
  }
  if (allowedOrigins.includes(ANY_ORIGIN) && !hasKeys) {
    warnings.push('INSECURE: every web page that a browser on this network shows can use this server');
  }
  if (!isLoopback(adminHost)) {
    const what = 'read metrics, health and workers, for the admin port asks for no key';
    warnings.push(`INSECURE: everybody who can reach ${adminHost} can ${what}; keep adminHost private`);
  }
  return warnings;
}
