import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SignJWT, UnsecuredJWT } from 'jose';
import { AccessError } from '../../pipeline/errors.ts';
import { CREDENTIAL_MAX_BYTES, TOKEN_LIFE_MAX_MS } from '../../pipeline/limits.ts';
import { readKeySet } from '../../server/access/keys_file.ts';
import { printToken } from '../../server/commands/token_command.ts';
import { signToken, verifyToken } from '../../server/access/tokens.ts';
import { addKey, NOW, temporaryKeysFile } from '../support/access_setting.ts';

const SECRET = new Uint8Array(randomBytes(32));
const MINUTE = 60_000;
const NOW_SECONDS = NOW.getTime() / 1_000;
const GOOD = { aud: 'earwitness', sub: 'key', jti: 'one', exp: NOW_SECONDS + 60 };

const verify = (token: string, now = NOW) => verifyToken(token, { signingSecret: SECRET, now });
const later = (ms: number): Date => new Date(NOW.getTime() + ms);

async function refused(token: string, pattern = /not valid/, now = NOW): Promise<void> {
  await assert.rejects(verify(token, now), (error) => {
    assert(error instanceof AccessError, String(error));
    assert.equal(error.code, 'unauthorized');
    assert.match(error.message, pattern);
    assert(token.length < 20 || !error.message.includes(token.slice(0, 20)), 'the token is quoted');
    return true;
  });
}

/** A token of any header and payload, rightly signed. */
function forge(header: object, payload: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part(header)}.${part(payload)}`;
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
}

describe('tokens', () => {
  it('[TOK1] a token says whose it is and what it grants', async () => {
    const claims = { keyId: 'abc', maxSessions: 2, origin: 'https://app.example.org' };
    const token = await signToken({ ...claims, lifeMs: MINUTE, now: NOW }, SECRET);
    const { tokenId, ...verified } = await verify(token);
    assert.deepEqual(verified, claims);
    const other = await verify(await signToken({ ...claims, lifeMs: MINUTE, now: NOW }, SECRET));
    assert.notEqual(other.tokenId, tokenId);
    const plain = await verify(forge({ alg: 'HS256' }, GOOD));
    assert.deepEqual(plain, { keyId: 'key', tokenId: 'one' });
  });

  it('[TOK2] [R-33] an expired token is refused, to the second, however often it is replayed', async () => {
    const token = await signToken({ keyId: 'a', lifeMs: MINUTE, now: NOW }, SECRET);
    await verify(token, later(MINUTE - 1_000));
    await verify(token, later(MINUTE - 1_000));
    for (const ms of [MINUTE, MINUTE + 1, 1_000 * MINUTE]) await refused(token, /expired/, later(ms));
  });

  it('[TOK3] [R-33] only HS256 with this secret is a signature', async () => {
    const sign = (alg: string, key: Parameters<SignJWT['sign']>[0]): Promise<string> =>
      new SignJWT(GOOD).setProtectedHeader({ alg }).sign(key);
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    await verify(await sign('HS256', SECRET));
    await refused(await sign('HS384', new Uint8Array([...SECRET, ...SECRET])));
    await refused(await sign('HS512', new Uint8Array([...SECRET, ...SECRET])));
    await refused(await sign('RS256', privateKey));
    await refused(await sign('HS256', new Uint8Array(randomBytes(32))));
    await refused(new UnsecuredJWT(GOOD).encode());
    for (const alg of ['none', 'NONE', 'hs256', 'HS256 ', '', null, 1]) await refused(forge({ alg }, GOOD));
    await refused(forge({}, GOOD));
    await refused(forge({ alg: 'HS256', crit: ['exp'] }, GOOD));
  });

  it('[TOK4] a token without one of its claims, for another audience, or longer than a day is refused', async () => {
    for (const claim of ['aud', 'sub', 'jti', 'exp'] as const) {
      await refused(forge({ alg: 'HS256' }, { ...GOOD, [claim]: undefined }));
    }
    const change = (claims: object): string => forge({ alg: 'HS256' }, { ...GOOD, ...claims });
    await verify(change({}));
    for (const claims of [
      { aud: 'other' },
      { sub: '' },
      { sub: 7 },
      { jti: 'x'.repeat(65) },
      { exp: String(GOOD.exp) },
      { maxSessions: 0 },
      { maxSessions: 1e9 },
      { maxSessions: '1' },
      { origin: '' },
      { origin: ['https://a.example'] },
      { nbf: GOOD.exp },
    ]) {
      await refused(change(claims));
    }
    await refused(change({ exp: NOW_SECONDS + TOKEN_LIFE_MAX_MS / 1_000 + 1 }), /at most 24 hours/);
    await verify(change({ exp: NOW_SECONDS + TOKEN_LIFE_MAX_MS / 1_000 }));
  });

  it('[TOK5] [R-33] a token of more than 4 KB is refused, even if it is signed', async () => {
    const padded = forge({ alg: 'HS256' }, { ...GOOD, padding: 'x'.repeat(CREDENTIAL_MAX_BYTES) });
    await refused(padded);
    await verify(forge({ alg: 'HS256' }, { ...GOOD, padding: 'x'.repeat(CREDENTIAL_MAX_BYTES / 2) }));
  });

  it('[TOK6] no text but a token is one: changed, cut or invented', async () => {
    const token = await signToken({ keyId: 'a', lifeMs: MINUTE, now: NOW }, SECRET);
    const mutation = fc.tuple(fc.nat(token.length - 1), fc.string({ minLength: 1, maxLength: 1 }));
    await fc.assert(
      fc.asyncProperty(mutation, async ([at, character]) => {
        fc.pre(token[at] !== character);
        const changed = token.slice(0, at) + character + token.slice(at + 1);
        // The last character of a base64url text holds bits that mean nothing.
        fc.pre(!Buffer.from(changed, 'base64url').equals(Buffer.from(token, 'base64url')));
        await refused(changed, /not valid|expired|hours/);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.nat(token.length - 1), async (text, length) => {
        await refused(text, /not valid/);
        await refused(token.slice(0, length), /not valid/);
      }),
      { numRuns: 200 },
    );
  });

  it('[TOK7] the command signs for a key that there is, for at most a day', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { key } = await addKey(keysFile, { name: 'web' });
    const stdout = new PassThrough();
    const wanted = {
      keysFile,
      keyName: 'web',
      ttl: '10m',
      maxSessions: undefined,
      origin: undefined,
      stdout,
    };
    await printToken({ ...wanted, maxSessions: '2', origin: 'https://app.example.org' });
    const { signingSecret } = (await readKeySet(keysFile)) ?? assert.fail();
    const token = String(stdout.read()).trim();
    const { tokenId, ...claims } = await verifyToken(token, { signingSecret, now: new Date() });
    assert(tokenId.length > 8);
    assert.deepEqual(claims, { keyId: key.id, maxSessions: 2, origin: 'https://app.example.org' });
    await assert.rejects(printToken({ ...wanted, keyName: 'app' }), /expected the name of a key/);
    await assert.rejects(printToken({ ...wanted, keysFile: `${keysFile}x` }), /expected the name of a key/);
    for (const ttl of ['0s', '10', '25h', '86401s', '-1m', '1d', '', '1.5h']) {
      await assert.rejects(printToken({ ...wanted, ttl }), /--ttl: expected/, ttl);
    }
    for (const origin of ['*', 'example.org', 'https://a.example/']) {
      await assert.rejects(printToken({ ...wanted, origin }), /--origin: expected/);
    }
    assert.equal(stdout.read(), null);
  });
});
