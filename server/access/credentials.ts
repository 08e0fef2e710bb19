/** Where a request carries its API key or token. */
import { AccessError } from '../../pipeline/errors.ts';
import { CREDENTIAL_MAX_BYTES } from '../../pipeline/limits.ts';
import type { RequestHead } from '../transport/transport.ts';

/** A request, of a WebSocket with the subprotocols it offers. */
export interface AccessRequest extends RequestHead {
  readonly protocols?: readonly string[];
}

const SCHEME = /^(?:token|bearer) +([^\s,]+)$/i;
/** What browsers of OpenAI's realtime protocol put before their key, among the subprotocols. */
const OPENAI_PREFIX = 'openai-insecure-api-key.';
/** Query parameters that people try to send a secret in. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set([
  ...['token', 'access_token', 'accesstoken', 'auth_token', 'jwt', 'bearer', 'authorization'],
  ...['key', 'api_key', 'api-key', 'apikey'],
]);
/** What OpenAI's keys for browsers begin with; ours are tokens behind it, for clients that look. */
export const EPHEMERAL_PREFIX = 'ek_';
const ADVICE =
  'send an API key or a token as `Authorization: Bearer …`, as the subprotocols ["bearer", …], or as `token` in `start`';

/**
 * The API key or token of a request, or undefined: from `Authorization: Bearer | Token …` or `api-key`, or from the
 * subprotocols `["bearer" | "token", …]`, the only way that browsers have. Throws `AccessError` (`unauthorized`) for one that is malformed, too
 * large, or in the query, where logs of proxies keep it.
 */
export function credentialOf(request: AccessRequest): string | undefined {
  for (const name of request.query.keys()) {
    if (SECRET_PARAMETERS.has(name.toLowerCase())) {
      throw new AccessError(
        'unauthorized',
        `a secret does not belong into the query, which ends in logs (take \`${name.slice(0, 20)}\` out, and consider the secret leaked); ${ADVICE}`,
      );
    }
  }
  const credential = headerCredential(request) ?? protocolCredential(request);
  if (credential === undefined) return undefined;
  if (credential === 'malformed') {
    throw new AccessError('unauthorized', `the credentials have a form that is not known; ${ADVICE}`);
  }
  if (Buffer.byteLength(credential) > CREDENTIAL_MAX_BYTES) {
    throw new AccessError('unauthorized', `an API key or token has at most ${CREDENTIAL_MAX_BYTES} bytes`);
  }
  return credential.startsWith(EPHEMERAL_PREFIX) ? credential.slice(EPHEMERAL_PREFIX.length) : credential;
}

/** The subprotocol to choose: the marker before a secret, never the secret. Undefined if none of them is offered. */
export function protocolMarker({ protocols = [] }: AccessRequest): string | undefined {
  const [first] = protocols;
  if (first === 'bearer' || first === 'token') return first;
  // What stands beside it has a prefix of its own, and the order is nobody's.
  return protocols.find((protocol) => protocol === 'realtime');
}

/** The answer to a request without credentials. */
export function missingCredential(): AccessError {
  return new AccessError('unauthorized', `an API key or a token is needed: ${ADVICE}`);
}

function headerCredential({ headers }: AccessRequest): string | undefined {
  const header = headers.get('authorization');
  return header === undefined ? headers.get('api-key') : (SCHEME.exec(header)?.[1] ?? 'malformed');
}

function protocolCredential(request: AccessRequest): string | undefined {
  const { protocols = [] } = request;
  const marker = protocolMarker(request);
  if (marker === 'bearer' || marker === 'token') return protocols[1] ?? 'malformed';
  return protocols.find((protocol) => protocol.startsWith(OPENAI_PREFIX))?.slice(OPENAI_PREFIX.length);
}
