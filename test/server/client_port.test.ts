import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Access } from '../../server/access.ts';
import { ClientPort, type ClientPortOptions } from '../../server/client_port.ts';
import { loadConfig } from '../../server/config.ts';
import { TrustedProxies } from '../../server/trusted_proxies.ts';
import { createDialects } from '../../server/dialects.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import type { ListenOptions, Transport, TransportEvents, UpgradeRequest } from '../../server/transport.ts';
import { addKey, temporaryKeysFile } from '../support/access_setting.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { KeptLog } from '../support/real_server.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';

/** Never carries a byte: the test asks its owner itself. */
class AskedTransport implements Transport {
  readonly name = 'ws';
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

/** Asks a port with these parts for an upgrade that it refuses. */
async function refusalOf(
  test: TestContext,
  request: Partial<UpgradeRequest> & { readonly search?: string },
  { keysFile = '', isReady = false }: { readonly keysFile?: string; readonly isReady?: boolean } = {},
): Promise<Asked> {
  const clock = new FakeClock();
  const telemetry = new RecordingTelemetry();
  const log = new KeptLog();
  const { config } = loadConfig({});
  const access = new Access({ config: { ...config, keysFile }, clock, telemetry, log });
  await access.start();
  test.after(() => {
    access.close();
  });
  // A session is never opened here, so that these parts are never asked.
  const unasked = {} as ConstructorParameters<typeof SessionRegistry>[0];
  const registry = new SessionRegistry({
    ...unasked,
    ...{ clock, telemetry, maxSessions: 1, isReady: () => isReady },
  });
  const transport = new AskedTransport();
  const defaults = { silenceMs: 500, maxUtteranceMs: 20_000, model: config.model, voskSampleRateHz: 8_000 };
  const parts = { registry, clock, telemetry, tokens: access, defaults, now: () => new Date() };
  const dialects = createDialects(config.dialects, parts);
  const trustedProxies = new TrustedProxies([]);
  const options: ClientPortOptions = {
    ...{ transport, access, registry, telemetry, log, dialects, trustedProxies },
  };
  await new ClientPort(options).listen({ host: '127.0.0.1', port: 0 });
  const answer = await transport.events?.upgrade({
    ...{ method: 'GET', path: '/v1/stream', protocols: [], headers: new Map(), remoteAddress: '127.0.0.1' },
    query: new URLSearchParams(request.search),
    ...request,
  });
  assert.ok(answer?.accept === false);
  assert.equal(answer.headers?.['Content-Type'], 'application/json');
  const { error } = JSON.parse(answer.body) as { error: Record<string, unknown> };
  assert.equal(typeof error['message'], 'string');
  return { status: answer.status, error: [error['code'], error['retryable']] };
}

describe('what is refused before the upgrade', () => {
  it('[TRN26] has the code of the error and says whether to try again', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    await addKey(keysFile, { name: 'web' });
    const from = (origin: string): Partial<UpgradeRequest> => ({ headers: new Map([['origin', origin]]) });
    assert.deepEqual(await refusalOf(test, { path: '/v2' }), { status: 404, error: ['not_found', false] });
    assert.deepEqual(await refusalOf(test, { search: 'encoding=mp3' }), {
      ...{ status: 400, error: ['bad_message', false] },
    });
    assert.deepEqual(await refusalOf(test, from('https://evil.example')), {
      ...{ status: 403, error: ['forbidden', false] },
    });
    assert.deepEqual(await refusalOf(test, { search: 'encoding=opus' }, { keysFile }), {
      ...{ status: 401, error: ['unauthorized', false] },
    });
    assert.deepEqual(await refusalOf(test, {}), { status: 503, error: ['overloaded', true] });
  });
});
