/**
 * Tokens for browsers: JWTs (RFC 7519) with HMAC-SHA-256 that a key's owner hands out. A token belongs to its key and
 * ends with it. It may be used again until it expires, as reconnects need; a session that it opened goes on.
 */
import { randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { AccessError } from '../../pipeline/errors.ts';
import { ACCESS_COUNT_MAX, CREDENTIAL_MAX_BYTES, TOKEN_LIFE_MAX_MS } from '../../pipeline/limits.ts';

const ALGORITHM = 'HS256';
const AUDIENCE = 'earwitness';

/** What a token grants. */
export interface TokenClaims {
  /** Id of the key it belongs to. */
  readonly keyId: string;
  /** Different for every token; not secret. */
  readonly tokenId: string;
  /** Sessions at a time with this token. */
  readonly maxSessions?: number;
  /** The only origin it may be used from; without it, any that the server allows. */
  readonly origin?: string;
}

const PAYLOAD = z.object({
  sub: z.string().min(1).max(64),
  jti: z.string().min(1).max(64),
  exp: z.number(),
  maxSessions: z.int().min(1).max(ACCESS_COUNT_MAX).optional(),
  origin: z.string().min(1).max(255).optional(),
});

/** Signs a token for `lifeMs` from `now` on; at most TOKEN_LIFE_MAX_MS, or it will not be accepted. */
export async function signToken(
  wanted: Omit<TokenClaims, 'tokenId'> & { readonly lifeMs: number; readonly now: Date },
  signingSecret: Uint8Array,
): Promise<string> {
  const { keyId, maxSessions, origin, lifeMs, now } = wanted;
  const issuedAtSeconds = Math.floor(now.getTime() / 1_000);
  return new SignJWT({
    ...(maxSessions === undefined ? {} : { maxSessions }),
    ...(origin === undefined ? {} : { origin }),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT' })
    .setAudience(AUDIENCE)
    .setSubject(keyId)
    .setJti(randomUUID())
    .setIssuedAt(issuedAtSeconds)
    .setExpirationTime(issuedAtSeconds + Math.floor(lifeMs / 1_000))
    .sign(signingSecret);
}

/** Checks a token. Throws `AccessError` (`unauthorized`) whose text says what to do and nothing of the token. */
export async function verifyToken(
  token: string,
  { signingSecret, now }: { readonly signingSecret: Uint8Array; readonly now: Date },
): Promise<TokenClaims> {
  if (Buffer.byteLength(token) > CREDENTIAL_MAX_BYTES) throw invalid();
  const verified = await jwtVerify(token, signingSecret, {
    algorithms: [ALGORITHM],
    audience: AUDIENCE,
    currentDate: now,
  }).catch((error: unknown) => {
    if (error instanceof errors.JWTExpired)
      throw new AccessError('unauthorized', 'the token has expired; get another');
    if (error instanceof errors.JOSEError) throw invalid();
    throw error;
  });
  const payload = PAYLOAD.safeParse(verified.payload);
  if (!payload.success) throw invalid();
  const { sub, jti, exp, maxSessions, origin } = payload.data;
  if (exp * 1_000 - now.getTime() > TOKEN_LIFE_MAX_MS) {
    const hours = TOKEN_LIFE_MAX_MS / 3_600_000;
    throw new AccessError('unauthorized', `a token may be valid for at most ${hours} hours; get another`);
  }
  return {
    keyId: sub,
    tokenId: jti,
    ...(maxSessions === undefined ? {} : { maxSessions }),
    ...(origin === undefined ? {} : { origin }),
  };
}

function invalid(): AccessError {
  return new AccessError('unauthorized', 'the API key or token is not valid');
}
