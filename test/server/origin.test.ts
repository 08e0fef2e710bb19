import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isOriginAllowed, isOriginRule, ownOrigins } from '../../server/access/origin.ts';
import { bearer, PROMPT, requestOf, startAccess, statusOf } from '../support/access_setting.ts';
import { seededRandom } from '../support/random.ts';

const ALLOWED = ['https://app.example.org', 'http://localhost:5173', 'chrome-extension://abcdefghijklmnop'];

/** Ways in which an origin that is allowed is made into one that looks like it. */
const MUTATIONS: readonly ((origin: string, pick: (count: number) => number) => string)[] = [
  (origin) => `${origin}.evil.example`,
  (origin) => `${origin}evil`,
  (origin) => `${origin}/`,
  (origin) => `${origin}:443`,
  (origin) => `${origin}:80`,
  (origin, pick) => `${origin}:${1 + pick(65_535)}`,
  (origin) => origin.replace('://', '://evil.'),
  (origin) => origin.replace('://', '://evil@'),
  (origin) => origin.replace('://', '://evil.example/?'),
  (origin) => origin.replace('://', ':\\\\'),
  (origin) => origin.toUpperCase(),
  (origin) => ` ${origin}`,
  (origin) => `${origin} `,
  (origin) => `${origin}, ${origin}`,
  (origin) => `${origin},null`,
  (origin) => `null, ${origin}`,
  (origin) => `${origin}.`,
  (origin) => `${origin}%00`,
  (origin) => `${origin}\u0000`,
  (origin) => (origin.startsWith('https:') ? origin.replace('https:', 'http:') : `https${origin}`),
  (origin) => origin.replace('.', 'x'),
  (origin) => origin.replace('o', 'о'),
  (origin) => origin.slice(origin.indexOf('://') + 3),
  () => '*',
  () => 'null',
  () => 'file://',
  () => '',
  (origin, pick) => {
    const at = pick(origin.length);
    return origin.slice(0, at) + origin.slice(at + 1);
  },
  (origin, pick) => {
    const at = pick(origin.length + 1);
    return `${origin.slice(0, at)}${String.fromCharCode(33 + pick(94))}${origin.slice(at)}`;
  },
  (origin, pick) => {
    const at = pick(origin.length);
    return `${origin.slice(0, at)}${origin.charAt(at).toUpperCase()}${origin.slice(at + 1)}`;
  },
];

describe('origins', () => {
  it('[ORI1] [R-32] of 1,000 mutated origins none gets in, before the upgrade; those listed do', async (test) => {
    const { access } = await startAccess(test, { allowedOrigins: ALLOWED });
    const seed = 32;
    const random = seededRandom(seed);
    const pick = (count: number): number => Math.floor(random() * count);
    const statusFor = async (origin: string): Promise<number> =>
      statusOf(await access.judge(requestOf({ headers: { origin } }), PROMPT));
    let mutatedCount = 0;
    for (let i = 0; mutatedCount < 1_000; i++) {
      const origin = ALLOWED[i % ALLOWED.length] ?? '';
      const mutated = MUTATIONS[Math.floor(i / ALLOWED.length) % MUTATIONS.length]?.(origin, pick) ?? '';
      if (ALLOWED.includes(mutated)) continue;
      mutatedCount++;
      assert.equal(await statusFor(mutated), 403, `seed=${seed} ${JSON.stringify(mutated)}`);
    }
    for (const origin of ALLOWED) assert.equal(await statusFor(origin), 101, origin);
    assert.equal(statusOf(await access.judge(requestOf(), PROMPT)), 101, 'no browser, no origin');
  });

  it('[ORI2] null and * count only if they are listed', () => {
    const isAllowed = (origin: string | undefined, ...list: string[]): boolean =>
      isOriginAllowed(origin, new Set(list));
    assert(!isAllowed('null'));
    assert(isAllowed('null', 'null'));
    assert(isAllowed('https://any.example', '*'));
    assert(isAllowed(undefined));
    fc.assert(
      fc.property(fc.string(), fc.array(fc.webUrl()), (origin, list) => {
        assert.equal(isAllowed(origin, ...list), list.includes(origin));
      }),
    );
  });

  it('[ORI3] pages of this server may connect, by its own names; a name from Host is nothing', async (test) => {
    const own = (host: string, port = 8080, isSecure = false): readonly string[] =>
      ownOrigins({ host, port, isSecure });
    assert.deepEqual(own('127.0.0.1'), [
      'http://localhost:8080',
      'http://127.0.0.1:8080',
      'http://[::1]:8080',
    ]);
    assert.deepEqual(own('0.0.0.0', 443, true), ['https://localhost', 'https://127.0.0.1', 'https://[::1]']);
    assert.deepEqual(own('Speech.Example.org', 80), ['http://speech.example.org']);
    assert.deepEqual(own('2001:db8::1'), ['http://[2001:db8::1]:8080']);
    const { access } = await startAccess(test, { allowedOrigins: ['https://app.example.org'] });
    access.listensOn({ host: '127.0.0.1', port: 8080, isSecure: false });
    const statusFor = async (origin: string): Promise<number> =>
      statusOf(await access.judge(requestOf({ headers: { origin, host: 'evil.example:8080' } }), PROMPT));
    assert.equal(await statusFor('http://localhost:8080'), 101);
    assert.equal(await statusFor('https://app.example.org'), 101);
    assert.equal(await statusFor('http://evil.example:8080'), 403);
    assert.equal(await statusFor('https://localhost:8080'), 403);
    assert.equal(await statusFor('http://localhost:8081'), 403);
  });

  it('[ORI4] a rule that no browser could ever match is not taken', () => {
    for (const rule of ['*', 'null', ...ALLOWED, 'capacitor://localhost']) assert(isOriginRule(rule), rule);
    for (const rule of [
      ...['', 'app.example.org', 'https://app.example.org/', 'https://app.example.org:443', 'http://a:80'],
      ...[
        'https://App.example.org',
        'https://*.example.org',
        'https://a b',
        'https://a?b',
        'https://u@a',
        '**',
      ],
    ]) {
      assert(!isOriginRule(rule), rule);
    }
  });

  it('[ORI5] credentials do not make up for a wrong origin', async (test) => {
    const { access } = await startAccess(test);
    const { headers } = bearer('ew_x');
    const request = requestOf({ headers: { ...headers, origin: 'https://evil.example' } });
    assert.equal(statusOf(await access.judge(request, PROMPT)), 403);
  });
});
