import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CLOSE_CODES } from '../../pipeline/errors.ts';
import {
  CREDENTIAL_MAX_BYTES,
  HANDSHAKE_MAX_MS,
  PENDING_TOKEN_MAX_BYTES,
  PENDING_TOKEN_MAX_COUNT,
} from '../../pipeline/limits.ts';
import { updateKeys } from '../../server/access/keys_file.ts';
import { judgeExposure, type Exposure } from '../../server/access/exposure.ts';
import {
  addKey,
  bearer,
  enter,
  LATE,
  NOW,
  PROMPT,
  requestOf,
  startAccess,
  statusOf,
  temporaryKeysFile,
  tokenFor,
} from '../support/access_setting.ts';
import { settle } from '../support/fake_clock.ts';

const START = { type: 'start', version: 1, audio: { encoding: 'opus' } };
const startWith = (token?: string): string =>
  JSON.stringify(token === undefined ? START : { ...START, token });

describe('access', () => {
  it('[ACC1] without keys everybody is let in, whatever they offer; the answer picks the marker', async (test) => {
    const { access } = await startAccess(test);
    assert(!access.asksForKeys);
    for (const request of [
      requestOf(),
      requestOf(bearer('anything')),
      requestOf({ headers: { authorization: 'Basic eHg6eXk=' } }),
      requestOf({ query: 'token=x' }),
    ]) {
      assert.equal(statusOf(await access.judge(request, PROMPT)), 101);
    }
    const admission = await access.judge(requestOf({ protocols: ['token', 'secret'] }), PROMPT);
    assert(admission.isAdmitted);
    assert.equal(admission.protocol, 'token');
  });

  it('[ACC17] a request over HTTP is judged like a stream, and holds its place until it is answered', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret, key } = await addKey(keysFile, { name: 'web', maxSessions: 1 });
    const { access } = await startAccess(test, { keysFile });
    const entrance = await access.enter(requestOf(bearer(secret)));
    assert(entrance.isAdmitted);
    assert.deepEqual(entrance.caller, { keyId: key.id, isToken: false });
    const full = await access.enter(requestOf(bearer(secret)));
    assert(!full.isAdmitted);
    assert.deepEqual(
      [full.status, statusOf(await access.judge(requestOf(bearer(secret)), PROMPT))],
      [429, 429],
    );
    entrance.leave();
    const none = await access.enter(requestOf());
    assert(!none.isAdmitted);
    assert.equal(none.status, 401);
    const foreign = await access.enter(requestOf({ headers: { origin: 'https://evil.example' } }));
    assert.equal(foreign.isAdmitted ? 200 : foreign.status, 403);
    assert.equal(statusOf(await access.judge(requestOf(bearer(secret)), PROMPT)), 101);
  });

  it('[ACC18] a token is made for who has the key; behind ek_ it is taken too; it makes no other', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret } = await addKey(keysFile, { name: 'web' });
    const { access } = await startAccess(test, { keysFile });
    const entrance = await access.enter(requestOf(bearer(secret)));
    assert(entrance.isAdmitted);
    const token = await access.issueToken(entrance.caller, 60_000);
    const holder = await access.enter(requestOf(bearer(`ek_${token}`)));
    assert(holder.isAdmitted);
    await assert.rejects(access.issueToken(holder.caller, 60_000), { code: 'forbidden' });
    const protocols = ['openai-beta.realtime-v1', 'realtime', `openai-insecure-api-key.ek_${token}`];
    const admission = await access.judge(requestOf({ protocols }), PROMPT);
    assert(admission.isAdmitted);
    assert.equal(admission.protocol, 'realtime');
  });

  it('[ACC2] a key or a token is taken from header and subprotocols, and the answer never holds it', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret, key } = await addKey(keysFile, { name: 'web' });
    const token = await tokenFor(keysFile, { keyId: key.id });
    const { access } = await startAccess(test, { keysFile });
    for (const credential of [secret, token]) {
      for (const [request, protocol] of [
        [{ headers: { authorization: `Bearer ${credential}` } }, undefined],
        [{ headers: { authorization: `Token ${credential}` } }, undefined],
        [{ headers: { authorization: `bearer  ${credential}` } }, undefined],
        [{ headers: { 'api-key': credential } }, undefined],
        [{ protocols: ['token', credential] }, 'token'],
        [{ protocols: ['bearer', credential] }, 'bearer'],
        [{ protocols: ['bearer', credential, 'x-deepgram-session-id', '1'] }, 'bearer'],
        [{ protocols: ['realtime', 'x', `openai-insecure-api-key.${credential}`] }, 'realtime'],
        [{ headers: { authorization: `Bearer ${credential}` }, protocols: ['realtime'] }, 'realtime'],
      ] as const) {
        const admission = await access.judge(requestOf(request), PROMPT);
        assert(admission.isAdmitted, JSON.stringify(request));
        assert.equal(admission.protocol, protocol);
      }
    }
  });

  it('[ACC3] [R-33] none, wrong, malformed, expired, oversize: 401 before the upgrade, and nothing of it comes back', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret, key } = await addKey(keysFile, { name: 'web' });
    const gone = await addKey(keysFile, { name: 'gone' });
    const goneToken = await tokenFor(keysFile, { keyId: gone.key.id });
    await updateKeys(keysFile, (keys) => keys.filter(({ id }) => id === key.id));
    const good = await tokenFor(keysFile, { keyId: key.id });
    const expired = await tokenFor(keysFile, { keyId: key.id, now: new Date(NOW.getTime() - 3_600_000) });
    const { access, log } = await startAccess(test, { keysFile });
    const refused = [
      requestOf(),
      requestOf(bearer(`${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`)),
      requestOf(bearer(gone.secret)),
      requestOf(bearer(goneToken)),
      requestOf(bearer(expired)),
      requestOf(bearer('x'.repeat(CREDENTIAL_MAX_BYTES + 1))),
      requestOf(bearer(`${good.split('.').slice(0, 2).join('.')}.`)),
      requestOf({ headers: { authorization: secret } }),
      requestOf({ headers: { authorization: `Basic ${secret}` } }),
      requestOf({ headers: { authorization: `Bearer ${secret}, Bearer ${secret}` } }),
      requestOf({ protocols: ['bearer'] }),
      requestOf({ protocols: [secret] }),
      requestOf({ protocols: ['other', secret] }),
      requestOf({ protocols: ['realtime'] }),
      ...['token', 'access_token', 'key', 'api_key', 'API_KEY', 'jwt'].map((name) =>
        requestOf({ query: `${name}=${secret}`, ...bearer(secret) }),
      ),
    ];
    for (const request of refused) {
      const admission = await access.judge(request, PROMPT);
      assert(!admission.isAdmitted, JSON.stringify([...request.headers]));
      assert.equal(admission.status, 401);
      assert.equal(admission.headers['WWW-Authenticate'], 'Bearer');
      assert.match(admission.message, /key|token|secret|credentials/);
    }
    const told = JSON.stringify([
      log.lines,
      await Promise.all(refused.map((each) => access.judge(each, PROMPT))),
    ]);
    for (const each of [secret, gone.secret, goneToken, expired, good]) assert(!told.includes(each.slice(3)));
  });

  it('[ACC4] [R-33] a token in the first message: nothing of the dialect runs before it is checked', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret, key } = await addKey(keysFile, { name: 'web' });
    const token = await tokenFor(keysFile, { keyId: key.id });
    const { access } = await startAccess(test, { keysFile });
    for (const credential of [secret, token]) {
      const client = enter(await access.judge(requestOf(), LATE));
      client.listener.text(startWith(credential));
      client.listener.binary(new Uint8Array(3));
      client.listener.text('{"type":"stop"}');
      assert(!client.isOpen());
      await until(client.isOpen);
      client.listener.binary(new Uint8Array(4));
      client.listener.drained();
      client.listener.closed(1000);
      const [first, ...rest] = client.dialect.heard;
      assert.equal(first, startWith(credential));
      assert.deepEqual(rest, ['3 bytes', '{"type":"stop"}', '4 bytes', 'drained', 'closed 1000']);
      assert.equal(client.connection.closing, undefined);
    }
  });

  it('[ACC5] [R-33] a first message without a good token, or none in 5 s: 4401, and no session', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret, key } = await addKey(keysFile, { name: 'web' });
    const expired = await tokenFor(keysFile, { keyId: key.id, now: new Date(NOW.getTime() - 3_600_000) });
    const { access, clock, telemetry } = await startAccess(test, { keysFile });
    const unauthorized = { code: 4401, reason: 'unauthorized' };
    for (const [send, closing] of [
      [startWith(), unauthorized],
      [startWith('no'), unauthorized],
      [startWith(expired), unauthorized],
      [startWith(secret.toUpperCase()), unauthorized],
      ['{"type":"keepAlive"}', unauthorized],
      [new Uint8Array(3), unauthorized],
      ['no json', { code: 4400, reason: 'bad_message' }],
      [startWith(''), { code: 4400, reason: 'bad_settings' }],
      [startWith('x'.repeat(CREDENTIAL_MAX_BYTES)), { code: 1009, reason: 'message_too_large' }],
    ] as const) {
      const client = enter(await access.judge(requestOf(), LATE));
      if (typeof send === 'string') client.listener.text(send);
      else client.listener.binary(send);
      await until(() => client.connection.closing !== undefined);
      assert.deepEqual(client.connection.closing, closing, String(send));
      assert.match(client.connection.sent.join(), /"type":"error"/);
      // What comes after the refusal is nobody's.
      client.listener.text(startWith(secret));
      client.listener.closed(4401);
      assert(!client.isOpen());
    }
    const silent = enter(await access.judge(requestOf(), LATE));
    await clock.advance(HANDSHAKE_MAX_MS - 1);
    assert.equal(silent.connection.closing, undefined);
    await clock.advance(1);
    assert.deepEqual(silent.connection.closing, unauthorized);
    // A look at the keys may be under way.
    await until(() => clock.timerCount > 0);
    assert.equal(clock.timerCount, 1, 'the keys are still looked at, and nothing else waits');
    assert.equal(telemetry.total('sessions_refused_total', { reason: 'unauthorized' }), 7);
  });

  it('[ACC6] connections that wait for their token are bounded, in number and in what they send', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret, key } = await addKey(keysFile, { name: 'web' });
    const token = await tokenFor(keysFile, { keyId: key.id });
    const { access } = await startAccess(test, { keysFile, maxSessionsPerIp: 1_000 });
    const waiting = [];
    for (let i = 0; i < PENDING_TOKEN_MAX_COUNT; i++)
      waiting.push(enter(await access.judge(requestOf(), LATE)));
    const refusal = await access.judge(requestOf(), LATE);
    assert.equal(statusOf(refusal), 429);
    assert.equal(
      statusOf(await access.judge(requestOf(bearer(secret)), LATE)),
      101,
      'others are not concerned',
    );
    waiting[0]?.listener.closed(1006);
    assert.equal(statusOf(await access.judge(requestOf(), LATE)), 101);
    const flooding = waiting[1] ?? assert.fail();
    flooding.listener.text(startWith(token));
    for (let i = 0; i < 3; i++) flooding.listener.binary(new Uint8Array(PENDING_TOKEN_MAX_BYTES / 2));
    assert.deepEqual(flooding.connection.closing, { code: 4429, reason: 'too_fast' });
    await settle();
    assert(!flooding.isOpen() || flooding.dialect.heard.at(-1) === 'closed 1006');
  });

  it('[ACC7] sessions at a time: per key, per token, per address; given back at the end', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const web = await addKey(keysFile, { name: 'web' });
    const small = await addKey(keysFile, { name: 'small', maxSessions: 1 });
    const token = await tokenFor(keysFile, { keyId: web.key.id, maxSessions: 1 });
    const { access } = await startAccess(test, { keysFile, maxSessionsPerKey: 3, maxSessionsPerIp: 2 });
    const open = async (credential: string, address: string) => {
      const admission = await access.judge(requestOf({ ...bearer(credential), address }), PROMPT);
      return admission.isAdmitted ? enter(admission) : admission;
    };
    const isOpen = (client: Awaited<ReturnType<typeof open>>): boolean =>
      'isOpen' in client && client.isOpen();
    // A key is exempt from the bound of its address, not from its own.
    const clients = [];
    for (let i = 0; i < 3; i++) clients.push(await open(web.secret, '192.0.2.1'));
    assert(clients.every(isOpen));
    const full = await open(web.secret, '192.0.2.1');
    assert(
      'status' in full && full.status === 429 && full.headers['Retry-After'] === '10',
      'the key is full',
    );
    assert(!isOpen(await open(token, '192.0.2.2')), 'its tokens too');
    const [first] = clients;
    if (first !== undefined && 'listener' in first) first.listener.closed(1000);
    const withToken = await open(token, '192.0.2.2');
    assert(isOpen(withToken));
    assert(!isOpen(await open(token, '192.0.2.3')), 'the token has one session');
    assert(isOpen(await open(small.secret, '192.0.2.1')));
    assert(!isOpen(await open(small.secret, '192.0.2.1')), 'the key’s own number counts');
  });

  it('[ACC7] anonymous sessions count by address; those of this machine do not', async (test) => {
    const { access } = await startAccess(test, { maxSessionsPerIp: 2 });
    const statusAt = async (address: string): Promise<number> => {
      const admission = await access.judge(requestOf({ address }), PROMPT);
      if (admission.isAdmitted) enter(admission);
      return statusOf(admission);
    };
    assert.deepEqual(
      [await statusAt('192.0.2.1'), await statusAt('192.0.2.1'), await statusAt('192.0.2.1')],
      [101, 101, 429],
    );
    assert.equal(await statusAt('192.0.2.2'), 101);
    for (let i = 0; i < 10; i++) assert.equal(await statusAt('127.0.0.1'), 101);
  });

  it('[ACC8] many judged at once do not get in together: the place is taken when the connection opens', async (test) => {
    const { access, telemetry } = await startAccess(test, { maxSessionsPerIp: 2 });
    const admissions = await Promise.all(Array.from({ length: 5 }, () => access.judge(requestOf(), PROMPT)));
    const clients = admissions.map(enter);
    assert.deepEqual(
      clients.map((client) => client.isOpen()),
      [true, true, false, false, false],
    );
    assert.deepEqual(clients[2]?.connection.closing, { code: 4429, reason: 'rate_limited' });
    assert.match(clients[2].connection.sent.join(), /"retryable":true/);
    assert.equal(telemetry.total('sessions_refused_total', { reason: 'rate_limited' }), 3);
    for (const { listener } of clients) listener.closed(1000);
    const again = await Promise.all(Array.from({ length: 2 }, () => access.judge(requestOf(), PROMPT)));
    assert(again.map(enter).every((client) => client.isOpen()));
  });

  it('[ACC8] whatever clients do, no place is lost and none is given twice', async (test) => {
    const { access } = await startAccess(test, { maxSessionsPerIp: 3 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 60 }), async (steps) => {
        const open: ReturnType<typeof enter>[] = [];
        for (const step of steps) {
          if (step < 6) {
            const admission = await access.judge(requestOf(), PROMPT);
            assert.equal(admission.isAdmitted, open.length < 3);
            if (admission.isAdmitted) open.push(enter(admission));
          } else {
            open.splice(step % Math.max(1, open.length), 1)[0]?.listener.closed(1006);
          }
        }
        for (const { listener } of open) listener.closed(1006);
      }),
      { numRuns: 50 },
    );
  });

  it('[ACC9] a revoked key ends its sessions, its tokens’ too, and nobody else’s', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const web = await addKey(keysFile, { name: 'web' });
    const app = await addKey(keysFile, { name: 'app' });
    const token = await tokenFor(keysFile, { keyId: web.key.id });
    const { access } = await startAccess(test, { keysFile });
    const judged = await access.judge(requestOf(bearer(web.secret)), PROMPT);
    const [withKey, withToken, other] = await Promise.all(
      [web.secret, token, app.secret].map(async (each) =>
        enter(await access.judge(requestOf(bearer(each)), PROMPT)),
      ),
    );
    await updateKeys(keysFile, (keys) => keys.filter(({ id }) => id !== web.key.id));
    await access.reload();
    for (const client of [withKey, withToken]) {
      assert.deepEqual(client?.connection.closing, {
        code: CLOSE_CODES.unauthorized,
        reason: 'unauthorized',
      });
      assert.match(client.connection.sent.join(), /revoked/);
    }
    assert.equal(other?.connection.closing, undefined);
    const late = enter(judged);
    assert(!late.isOpen(), 'nor does one that was judged before');
    for (const each of [web.secret, token]) {
      assert.equal(statusOf(await access.judge(requestOf(bearer(each)), PROMPT)), 401);
    }
    await updateKeys(keysFile, () => []);
    await access.reload();
    assert.equal(statusOf(await access.judge(requestOf(), PROMPT)), 401, 'without any key nobody gets in');
  });

  it('[ACC10] a token for one origin is for pages of it', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { key } = await addKey(keysFile, { name: 'web' });
    const origin = 'https://app.example.org';
    const token = await tokenFor(keysFile, { keyId: key.id, origin });
    const { access } = await startAccess(test, {
      keysFile,
      allowedOrigins: [origin, 'https://other.example'],
    });
    const statusFrom = async (headers: Record<string, string>): Promise<number> =>
      statusOf(await access.judge(requestOf({ headers, protocols: ['bearer', token] }), PROMPT));
    assert.equal(await statusFrom({ origin }), 101);
    assert.equal(await statusFrom({ origin: 'https://other.example' }), 403);
    assert.equal(await statusFrom({}), 403);
  });

  it('[ACC11] keys made while the server runs count from then on', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { access } = await startAccess(test, { keysFile });
    assert.equal(statusOf(await access.judge(requestOf(), PROMPT)), 101);
    const { secret } = await addKey(keysFile, { name: 'web' });
    await access.reload();
    assert.equal(statusOf(await access.judge(requestOf(), PROMPT)), 401);
    assert.equal(statusOf(await access.judge(requestOf(bearer(secret)), PROMPT)), 101);
  });

  it('[ACC12] without keys a server listens to this machine only, unless asked otherwise, and then says so', () => {
    const judge = (exposure: Partial<Exposure>): readonly string[] =>
      judgeExposure({
        host: '127.0.0.1',
        adminHost: '127.0.0.1',
        hasKeys: false,
        isInsecure: false,
        hasTls: false,
        allowedOrigins: [],
        ...exposure,
      });
    for (const host of ['127.0.0.1', '::1', 'localhost', '127.1.2.3']) assert.deepEqual(judge({ host }), []);
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org', '127.0.0.1.example.org', '']) {
      assert.throws(() => judge({ host }), /^ConfigError: cannot start as configured: host: /, host);
      assert.match(judge({ host, isInsecure: true }).join(), /^INSECURE/);
      assert.match(judge({ host, hasKeys: true }).join(), /unencrypted/);
      assert.deepEqual(judge({ host, hasKeys: true, hasTls: true }), []);
    }
    assert.match(judge({ allowedOrigins: ['*'] }).join(), /INSECURE: every web page/);
    assert.match(
      judge({ adminHost: '0.0.0.0', hasKeys: true }).join(),
      /^INSECURE: .* 0\.0\.0\.0 can read metrics/,
    );
  });
});

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await settle();
}
