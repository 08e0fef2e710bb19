/** Certificate and key of the clients' port. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '../../pipeline/errors.ts';
import type { TlsFiles, TlsIdentity } from './transport.ts';

/** Reads both files and tries them. Throws `ConfigError` (`bad_config`) that says which cannot be used. */
export function readTlsFiles({ certPath, keyPath }: TlsFiles): TlsIdentity {
  const cert = readPem(certPath, 'certificate');
  const key = readPem(keyPath, 'key');
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw new ConfigError(
      'bad_config',
      `the TLS certificate ${certPath} and key ${keyPath} do not work together`,
      {
        cause,
      },
    );
  }
  return { certPath, keyPath, cert, key };
}

/** When a certificate in PEM expires, as Unix time in seconds; of a chain, that of the server itself. */
export function certificateExpirySeconds(cert: Uint8Array): number {
  return Date.parse(new X509Certificate(cert).validTo) / 1_000;
}

function readPem(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new ConfigError('bad_config', `the TLS ${what} ${path} cannot be read`, { cause });
  }
}
