import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { STARTS_AWAITED_MAX_COUNT } from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { Access } from '../../server/access/access.ts';
import { ClientPort, type ClientPortOptions } from '../../server/client_port.ts';
import { loadConfig } from '../../server/config.ts';
import { TrustedProxies } from '../../server/access/trusted_proxies.ts';
import { createDialects } from '../../server/dialects/dialects.ts';
import { PageFiles } from '../../server/transport/page_files.ts';
import { readTlsFiles } from '../../server/transport/tls_files.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import type {
  HttpAnswer,
  HttpRequest,
  HttpVerdict,
  ListenOptions,
  Transport,
  TransportEvents,
  UpgradeRequest,
} from '../../server/transport/transport.ts';
import { addKey, temporaryKeysFile } from '../support/access_setting.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { KeptLog } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { ScriptedPool } from '../support/scripted_pool.ts';
import { selfSigned } from '../support/self_signed.ts';
import { ScriptedTrack } from '../support/session_setting.ts';

/** Never carries a byte: the test asks its owner itself. */
class AskedTransport implements Transport {
  readonly name = 'ws';
  readonly bufferedBytes = 0;
  events: TransportEvents | undefined;

  listen({ events }: ListenOptions): Promise<{ readonly port: number }> {
    this.events = events;
    return Promise.resolve({ port: 1 });
  }
  renewTls(): Promise<void> {
    return Promise.resolve();
  }
  stopListening(): void {
    this.events = undefined;
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Asked {
  readonly status: number;
  readonly error: unknown;
}

interface PortSettings {
  readonly keysFile?: string;
  readonly isReady?: boolean;
  readonly connectionsPerMinutePerIp?: number;
}

/** A port with these settings, and what it is made of. */
async function createPort(test: TestContext, settings: PortSettings = {}) {
  const { keysFile = '', isReady = false, connectionsPerMinutePerIp = 1_000_000 } = settings;
  const clock = new FakeClock();
  const telemetry = new RecordingTelemetry();
  const log = new KeptLog();
  const { config } = loadConfig({});
  const access = new Access({
    config: { ...config, keysFile, connectionsPerMinutePerIp },
    clock,
    telemetry,
    log,
  });
  await access.start();
  test.after(() => {
    access.close();
  });
  const onPartialsSuspended = (): void => undefined;
  const pool = new ScriptedPool(1);
  const scheduler = new Scheduler({ pool, clock, telemetry, partialIntervalMs: 500, onPartialsSuspended });
  const pools = { audioPool: new ScriptedTrack(), scheduler, clock, telemetry };
  const registry = new SessionRegistry({ ...pools, maxSessions: 1, isReady: () => isReady });
  const transport = new AskedTransport();
  const defaults = { silenceMs: 500, maxUtteranceMs: 20_000, model: config.model, voskSampleRateHz: 8_000 };
  const parts = { registry, clock, telemetry, tokens: access, defaults, now: () => new Date() };
  const dialects = createDialects(config.dialects, parts);
  const options: ClientPortOptions = {
    ...{ transport, access, registry, telemetry, log, dialects },
    page: new PageFiles('/nowhere'),
    trustedProxies: new TrustedProxies([]),
  };
  return { port: new ClientPort(options), transport, registry, telemetry };
}

/** The same, listening, and the owner of its transport. */
async function openPort(test: TestContext, settings: PortSettings = {}) {
  const { port, transport, registry, telemetry } = await createPort(test, settings);
  await port.listen({ host: '127.0.0.1', port: 0 });
  assert(transport.events !== undefined);
  return { events: transport.events, registry, telemetry };
}

type Request = Partial<UpgradeRequest> & { readonly search?: string };

/** A request over HTTP that goes on until `ending` says otherwise. */
function httpOf(request: Request, ending = new AbortController()): HttpRequest {
  return { ...requestOf(request), ended: ending.signal };
}

/** What is answered without the body being read. */
async function answerOf(verdict: HttpVerdict | Promise<HttpVerdict>): Promise<HttpAnswer> {
  const answer = await verdict;
  assert.ok(typeof answer !== 'function', 'the body is wanted');
  return answer;
}

function requestOf({ search, ...request }: Request): UpgradeRequest {
  return {
    ...{ method: 'GET', path: '/v1/stream', protocols: [], headers: new Map(), remoteAddress: '127.0.0.1' },
    query: new URLSearchParams(search),
    ...request,
  };
}

/** Asks a port with these settings for an upgrade that it refuses. */
async function refusalOf(test: TestContext, request: Request, settings: PortSettings = {}): Promise<Asked> {
  const { events } = await openPort(test, settings);
  const answer = await events.upgrade(requestOf(request));
  assert.ok(!answer.accept);
  assert.equal(answer.headers?.['Content-Type'], 'application/json');
  const { error } = JSON.parse(answer.body) as { error: Record<string, unknown> };
  assert.equal(typeof error['message'], 'string');
  return { status: answer.status, error: [error['code'], error['retryable']] };
}

describe('the clients’ port', () => {
  it('[MET12] the expiry of the certificate in use is told, also after a renewal', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const tls = { certPath: join(folder, 'cert.pem'), keyPath: join(folder, 'key.pem') };
    const install = async (notAfter?: string): Promise<void> => {
      const { cert, key } = selfSigned(notAfter);
      await writeFile(tls.certPath, cert);
      await writeFile(tls.keyPath, key);
    };
    const { port, telemetry } = await createPort(test);
    const expirySeconds = (): number | undefined =>
      telemetry.gauge('tls_certificate_expiry_timestamp_seconds', {});
    await install('301231235959Z');
    await port.listen({ host: '127.0.0.1', port: 0, tls: readTlsFiles(tls) });
    assert.equal(expirySeconds(), Date.UTC(2030, 11, 31, 23, 59, 59) / 1_000);
    await install();
    await port.renewTls(readTlsFiles(tls));
    assert.equal(expirySeconds(), Date.UTC(2049, 11, 31, 23, 59, 59) / 1_000);
  });
});

describe('what is refused before the upgrade', () => {
  it('[TRN26] has the code of the error and says whether to try again', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    await addKey(keysFile, { name: 'web' });
    const from = (origin: string): Partial<UpgradeRequest> => ({ headers: new Map([['origin', origin]]) });
    assert.deepEqual(await refusalOf(test, { path: '/v2' }), { status: 404, error: ['not_found', false] });
    assert.deepEqual(await refusalOf(test, { search: 'encoding=mp3' }), {
      ...{ status: 400, error: ['bad_settings', false] },
    });
    assert.deepEqual(await refusalOf(test, from('https://evil.example')), {
      ...{ status: 403, error: ['forbidden', false] },
    });
    assert.deepEqual(await refusalOf(test, { search: 'encoding=opus' }, { keysFile }), {
      ...{ status: 401, error: ['unauthorized', false] },
    });
    assert.deepEqual(await refusalOf(test, {}), { status: 503, error: ['overloaded', true] });
  });

  it('[RAT7] the rate comes first, whatever is asked for, a WebSocket or not', async (test) => {
    const asks: readonly ((events: TransportEvents) => unknown)[] = [
      (events) => events.http(httpOf({ path: '/', remoteAddress: '192.0.2.1' })),
      (events) => events.upgrade(requestOf({ path: '/v2', remoteAddress: '192.0.2.1' })),
      (events) => events.upgrade(requestOf({ search: 'encoding=mp3', remoteAddress: '192.0.2.1' })),
    ];
    for (const ask of asks) {
      const { events, telemetry } = await openPort(test, { connectionsPerMinutePerIp: 4 });
      await ask(events);
      const { status, headers } = (await ask(events)) as HttpAnswer;
      assert.deepEqual([status, headers['Retry-After']], [429, '15']);
      assert.equal(telemetry.total('sessions_refused_total', { reason: 'rate_limited' }), 1);
    }
  });

  it('[TRN27] a body that nobody wants is answered without being read', async (test) => {
    const { events } = await openPort(test);
    const post = (path: string) => answerOf(events.http(httpOf({ method: 'POST', path })));
    assert.equal((await post('/none')).status, 404);
    assert.equal((await post('/v1/stream')).status, 404);
  });

  it('[ACC19] who may not post is refused before the body is read', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret } = await addKey(keysFile, { name: 'web', maxSessions: 1 });
    const { events, telemetry } = await openPort(test, { keysFile, isReady: true });
    const post = (headers: Readonly<Record<string, string>>, path = '/v1/listen', ending?: AbortController) =>
      events.http(httpOf({ method: 'POST', path, headers: new Map(Object.entries(headers)) }, ending));
    const key = { authorization: `Bearer ${secret}` };
    for (const path of ['/v1/listen', '/v1/audio/transcriptions', '/v1/realtime/client_secrets']) {
      assert.equal((await answerOf(post({}, path))).status, 401, path);
      assert.equal(
        (await answerOf(post({ ...key, origin: 'https://evil.example' }, path))).status,
        403,
        path,
      );
      assert.equal((await answerOf(post({ authorization: 'Bearer ew_wrong' }, path))).status, 401, path);
    }
    const ending = new AbortController();
    assert.equal(typeof (await post(key, '/v1/listen', ending)), 'function');
    const full = await answerOf(post(key));
    assert.deepEqual([full.status, typeof full.headers['Retry-After']], [429, 'string']);
    assert.equal(telemetry.total('sessions_refused_total', { reason: 'rate_limited' }), 1);
    // The body never comes.
    ending.abort();
    assert.equal(typeof (await post(key)), 'function');
  });

  it('[ACC19] a place that was given while the client left is given back', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { secret } = await addKey(keysFile, { name: 'web', maxSessions: 1 });
    const { events } = await openPort(test, { keysFile, isReady: true });
    const headers = new Map([['authorization', `Bearer ${secret}`]]);
    const request: Request = { method: 'POST', path: '/v1/listen', headers };
    const ending = new AbortController();
    const judged = events.http(httpOf(request, ending));
    ending.abort();
    await judged;
    assert.equal(typeof (await events.http(httpOf(request))), 'function');
  });

  it('[ACC19] a server without room refuses before the body is read, and again behind it', async (test) => {
    const request: Request = { method: 'POST', path: '/v1/listen' };
    const unready = await openPort(test);
    assert.equal((await answerOf(unready.events.http(httpOf(request)))).status, 503);
    const { events, registry } = await openPort(test, { isReady: true });
    const receive = await events.http(httpOf(request));
    assert.ok(typeof receive === 'function');
    void registry.drain();
    const late = await receive(new Uint8Array(2));
    assert.deepEqual([late.status, typeof late.headers['Retry-After']], [503, 'string']);
  });

  it('[NAT27] connections that have not sent their start are bounded, those with settings are not', async (test) => {
    const { events, registry, telemetry } = await openPort(test, { isReady: true });
    const statusFor = async (search: string): Promise<number> => {
      const answer = await events.upgrade(requestOf({ search }));
      return answer.accept ? 101 : answer.status;
    };
    const leaves = Array.from({ length: STARTS_AWAITED_MAX_COUNT }, () => registry.awaitStart());
    assert.equal(await statusFor(''), 503);
    assert.equal(telemetry.total('sessions_refused_total', { reason: 'crowded' }), 1);
    assert.equal(await statusFor('encoding=opus'), 101);
    leaves[0]?.();
    leaves[0]?.();
    assert.equal(await statusFor(''), 101);
  });
});

describe('what is said of the server without a session', () => {
  const statusOf = async (test: TestContext, settings: PortSettings, method = 'GET') => {
    const { events } = await openPort(test, settings);
    return answerOf(events.http(httpOf({ method, path: '/v1/status', remoteAddress: '192.0.2.1' })));
  };

  it('[PAGE21] is whether a new session would be let in, and whether it needs a key', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    await addKey(keysFile, { name: 'one' });
    const ready = await statusOf(test, { isReady: true });
    assert.deepEqual(JSON.parse(String(ready.body)), { status: 'ready', needsKey: false });
    assert.equal(ready.headers['Cache-Control'], 'no-store');
    const busy = JSON.parse(String((await statusOf(test, { keysFile })).body)) as Record<string, unknown>;
    assert.deepEqual([busy['status'], busy['needsKey']], ['busy', true]);
    assert.ok(Number(busy['retryAfterSeconds']) > 0);
    assert.equal((await statusOf(test, {}, 'POST')).status, 405);
  });

  it('[PAGE10] without the page, / says what listens here', async (test) => {
    const { events } = await openPort(test);
    const answer = (path: string) => answerOf(events.http(httpOf({ path })));
    const index = await answer('/');
    assert.equal(index.status, 200);
    assert.match(String(index.body), /Open a WebSocket at/);
    assert.equal((await answer('/assets/x.js')).status, 404);
  });
});
