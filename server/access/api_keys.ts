/**
 * API keys: random secrets that are shown once and stored as hashes. SHA-256 without salt or stretching is enough,
 * because a key has 256 random bits: there is no dictionary to try, and no two keys are alike. A slow hash would only
 * let strangers keep the server busy.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** What every key begins with, for scanners that look for leaked secrets: `ew_[A-Za-z0-9_-]{43}`. */
const PREFIX = 'ew_';
const SECRET_BYTES = 32;
const FORM = /^ew_[\w-]{43}$/;
const ID_BYTES = 4;

/** A key as it is stored. */
export interface ApiKey {
  /** Eight hexadecimal digits; not secret. */
  readonly id: string;
  readonly name: string;
  /** Of the key's text, in hexadecimal digits. */
  readonly sha256: string;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Sessions at a time; without it the server's setting counts. */
  readonly maxSessions?: number;
}

/** A new key: the text to hand out, which is nowhere else, and what is stored of it. */
export interface NewKey {
  readonly secret: string;
  readonly key: ApiKey;
}

/** Makes a key. `now` is the time of day. */
export function createKey(
  wanted: { readonly name: string; readonly maxSessions?: number | undefined },
  now: Date,
): NewKey {
  const { name, maxSessions } = wanted;
  const secret = PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
  const key: ApiKey = {
    id: randomBytes(ID_BYTES).toString('hex'),
    name,
    sha256: sha256(secret).toString('hex'),
    createdAt: now.toISOString(),
    ...(maxSessions === undefined ? {} : { maxSessions }),
  };
  return { secret, key };
}

/** Whether a credential is a key; anything else can only be a token. */
export function isKeyForm(credential: string): boolean {
  return FORM.test(credential);
}

/** The key that `credential` is the text of. Takes the same time whether and wherever it is found. */
export function findKey(keys: readonly ApiKey[], credential: string): ApiKey | undefined {
  const hash = sha256(credential);
  let found: ApiKey | undefined;
  for (const key of keys) {
    if (timingSafeEqual(hash, Buffer.from(key.sha256, 'hex'))) found = key;
  }
  return found;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
