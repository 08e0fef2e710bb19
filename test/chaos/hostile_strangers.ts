/** pages of other origins, and credentials that are none. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HANDSHAKE_MAX_MS } from '../../pipeline/limits.ts';
import { addKey, tokenFor } from '../support/access_setting.ts';
import { fetchSample } from '../support/real_server.ts';
import { scenarioOf, type Attack, type Target } from './hostile_attack.ts';
import { RawSocket } from './raw_socket.ts';
import type { Outcome, Scenario, Tier } from './scenario.ts';
import { timeUntil } from './waiting.ts';

const ALLOWED = ['https://app.example.org', 'https://app.example.org:8443', 'http://intranet'] as const;
/** The time for a first message, and a little. */
const SILENT_MAX_MS = HANDSHAKE_MAX_MS + 1_000;
const CANARY = 'canary-of-a-credential';

export const HOSTILE_STRANGERS: readonly Scenario[] = [
  scenarioOf({
    ...{ id: 'R-32', title: 'mutated origins', bystanders: 0, run: comeFromElsewhere },
    settings: { allowedOrigins: [...ALLOWED] },
  }),
  { id: 'R-33', title: 'bad credentials (uws, ws)', run: withKeys },
];

async function comeFromElsewhere({ server, port, tier, random, verdict }: Target): Promise<number> {
  const count = tier === 'p' ? 300 : 1_000;
  let [admittedCount, refusedCount] = [0, 0];
  for (let i = 0; i < count; i++) {
    const origin = mutatedOrigin(random);
    const isAllowed = origin === undefined || (ALLOWED as readonly string[]).includes(origin);
    const raw = await RawSocket.ask(port, '', origin === undefined ? {} : { Origin: origin });
    const { status } = await raw.answer;
    raw.destroy();
    if (isAllowed) admittedCount++;
    else refusedCount++;
    verdict.expect(status === (isAllowed ? 101 : 403), `${origin ?? 'no origin'}: ${status}`);
  }
  const counted = await fetchSample(server, 'earwitness_sessions_refused_total{reason="forbidden"}');
  verdict.expect(counted === refusedCount, `${counted} of ${refusedCount} refusals counted`);
  verdict.figure(`${admittedCount} let in, ${refusedCount} refused`);
  return count;
}

/** Undefined for none at all, as clients that are no browsers have it. */
function mutatedOrigin(random: () => number): string | undefined {
  const base = ALLOWED[Math.floor(random() * ALLOWED.length)] ?? ALLOWED[0];
  const mutations: readonly (string | undefined)[] = [
    base,
    undefined,
    'null',
    '*',
    `${base}.evil.example`,
    base.replace('://', '://evil.'),
    base.replace('://', '://evil-'),
    base.toUpperCase(),
    `${base}/`,
    `${base}:443`,
    `${base}:${Math.floor(random() * 65_536)}`,
    base.replace(/^https?/, 'ftp'),
    base.replace('https', 'http'),
    `${base} https://evil.example`,
    `https://evil.example ${base}`,
    `${base}.`,
    base.replace('://', '://user@'),
    base.slice(0, -1),
  ];
  return mutations[Math.floor(random() * mutations.length)];
}

/** The keys are made for the run. */
async function withKeys(tier: Tier, seed: number): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'earwitness-keys-'));
  try {
    const keysFile = join(folder, 'keys.json');
    const { key, secret } = await addKey(keysFile, { name: 'web' });
    const expired = await tokenFor(keysFile, { keyId: key.id, now: new Date(0) });
    const good = await tokenFor(keysFile, { keyId: key.id, now: new Date() });
    const attack: Attack = {
      ...{ id: 'R-33', title: '', bystanders: 0, settings: { keysFile, logLevel: 'debug' } },
      run: (target) => forge(target, { secret, expired, good }),
    };
    return await scenarioOf(attack).run(tier, seed);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Credentials {
  readonly secret: string;
  readonly good: string;
  readonly expired: string;
}

async function forge(target: Target, credentials: Credentials): Promise<number> {
  const { server, port, tier, verdict } = target;
  const rounds = tier === 'p' ? 20 : 200;
  const forged = forgeries(credentials);
  const late = await Promise.all(Array.from({ length: rounds }, () => RawSocket.open(port)));
  let injected = late.length;
  for (let round = 0; round < rounds; round++) {
    for (const [name, value] of forged) {
      const raw = await RawSocket.ask(port, '?encoding=opus', { Authorization: `Bearer ${value}` });
      const { status, body } = await raw.answer;
      raw.destroy();
      injected++;
      verdict.expect(status === 401, `${name}: ${status}`);
      verdict.expect(!body.includes(value), `${name}: the answer repeats it`);
    }
  }
  const counted = await fetchSample(server, 'earwitness_sessions_refused_total{reason="unauthorized"}');
  verdict.expect(counted >= injected - late.length, `${counted} refusals counted`);
  const isTold = (raw: RawSocket): boolean => raw.text.includes('"unauthorized"');
  const toldMs = await timeUntil(SILENT_MAX_MS, () => late.every(isTold));
  verdict.expect(toldMs < Infinity, 'a connection without a token was not refused in time');
  for (const raw of late) raw.destroy();
  const welcome = await RawSocket.ask(port, '?encoding=opus', {
    Authorization: `Bearer ${credentials.good}`,
  });
  verdict.expect((await welcome.answer).status === 101, 'a good token was refused too');
  welcome.destroy();
  const logged = JSON.stringify(server.log.lines);
  const leaks = [CANARY, credentials.secret, credentials.good].filter((text) => logged.includes(text)).length;
  verdict.expect(leaks === 0, `${leaks} credentials in the log`);
  verdict.figure(`${forged.length} forgeries`);
  return injected;
}

function forgeries({ secret, good, expired }: Credentials): readonly (readonly [string, string])[] {
  const [head = '', claims = '', signature = ''] = good.split('.');
  const encoded = (json: object): string => Buffer.from(JSON.stringify(json)).toString('base64url');
  return [
    ['no key', CANARY],
    ['key with one letter changed', `${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`],
    ['key in other case', secret.toUpperCase()],
    ['key cut short', secret.slice(0, -1)],
    ['expired token', expired],
    ['token without a signature', `${head}.${claims}.`],
    ['algorithm none', `${encoded({ alg: 'none', typ: 'JWT' })}.${claims}.${signature}`],
    ['algorithm RS256', `${encoded({ alg: 'RS256', typ: 'JWT' })}.${claims}.${signature}`],
    ['other claims', `${head}.${encoded({ aud: 'earwitness', sub: 'x', jti: CANARY })}.${signature}`],
    ['too large', `${CANARY}${'x'.repeat(4_096)}`],
  ];
}
