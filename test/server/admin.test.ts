import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { ConfigError } from '../../pipeline/errors.ts';
import { ADMIN_CONNECTION_MAX_COUNT } from '../../pipeline/limits.ts';
import { createAdminServer, type AdminOptions, type AdminServer, type Health } from '../../server/admin.ts';
import { createMetrics } from '../../server/records/metrics.ts';

const READY: Health = { status: 'ready', reasons: [] };

function options(overrides: Partial<AdminOptions> = {}): AdminOptions {
  return {
    host: '127.0.0.1',
    port: 0,
    metrics: { render: () => Promise.resolve({ contentType: 'text/plain', body: 'metrics\n' }) },
    health: () => READY,
    workers: () => [],
    traces: { sessions: () => [], report: () => undefined },
    onError: (error) => assert.fail(String(error)),
    ...overrides,
  };
}

async function started(
  test: TestContext,
  overrides: Partial<AdminOptions> = {},
): Promise<{ readonly admin: AdminServer; readonly port: number }> {
  const admin = createAdminServer(options(overrides));
  test.after(() => admin.close());
  return { admin, ...(await admin.start()) };
}

/** Unlike `once`, takes a reset for an end like any other. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
}

interface Reply {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}
async function ask(port: number, path: string, method = 'GET'): Promise<Reply> {
  const sent = request({ host: '127.0.0.1', port, path, method, agent: false }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let body = '';
  for await (const bytes of response) body += String(bytes);
  return { status: response.statusCode, type: response.headers['content-type'], body };
}

describe('admin port', () => {
  it('[ADM1] /metrics answers what the metrics render', async (test) => {
    const { port } = await started(test, {
      metrics: createMetrics({ version: '0', transport: 'ws', model: 'tiny', device: 'cpu' }),
    });
    const { status, type, body } = await ask(port, '/metrics?x=1');
    assert.equal(status, 200);
    assert.match(type ?? '', /^text\/plain; version=0\.0\.4/);
    assert.match(body, /^earwitness_sessions_active 0$/m);
  });

  it('[ADM2] /healthz says that the process lives, whatever its readiness', async (test) => {
    const { port } = await started(test, { health: () => ({ status: 'failed', reasons: ['no worker'] }) });
    const { status, body } = await ask(port, '/healthz');
    assert.deepEqual([status, JSON.parse(body)], [200, { status: 'live' }]);
  });

  it('[ADM3] /readyz is 200 when ready or degraded, else 503, with the reasons', async (test) => {
    let health = READY;
    const { port } = await started(test, { health: () => health });
    assert.deepEqual(await readiness(), [200, { status: 'ready' }]);
    for (const [status, code] of [
      ['degraded', 200],
      ['starting', 503],
      ['draining', 503],
      ['failed', 503],
    ] as const) {
      health = { status, reasons: ['because'] };
      assert.deepEqual(await readiness(), [code, { status, reasons: ['because'] }]);
    }
    async function readiness(): Promise<unknown> {
      const { status, body } = await ask(port, '/readyz');
      return [status, JSON.parse(body) as unknown];
    }
  });

  it('[ADM4] /workers lists the worker processes', async (test) => {
    const worker = {
      role: 'inference',
      pid: 7,
      state: 'ready',
      restarts: 2,
      rssBytes: 1_000,
      cpuMs: 5,
    } as const;
    const { port } = await started(test, { workers: () => [worker] });
    const { body, type } = await ask(port, '/workers');
    assert.match(type ?? '', /^application\/json/);
    assert.deepEqual(JSON.parse(body), [worker]);
  });

  it('[ADM5] / lists the others, and anything else is 404', async (test) => {
    const { port } = await started(test);
    const { body } = await ask(port, '/');
    for (const path of body.match(/^\/\w+/gm) ?? []) assert.equal((await ask(port, path)).status, 200, path);
    assert.equal(body.match(/^\/\w+/gm)?.length, 5);
    for (const path of ['/nothing', '/metrics/', '//', '/..%2f', '/?x', '*']) {
      assert.equal((await ask(port, path)).status, path === '/?x' ? 200 : 404, path);
    }
  });

  it('[ADM6] only GET and HEAD are taken, and HEAD answers without a body', async (test) => {
    const { port } = await started(test);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      assert.equal((await ask(port, '/metrics', method)).status, 405, method);
    }
    const { status, body } = await ask(port, '/metrics', 'HEAD');
    assert.deepEqual([status, body], [200, '']);
  });

  it('[ADM7] an answer that cannot be made is a 500 without internals, and is told', async (test) => {
    const errors: unknown[] = [];
    const broken = new Error('SECRET');
    const { port } = await started(test, {
      metrics: { render: () => Promise.reject(broken) },
      workers: () => {
        throw broken;
      },
      onError: (error) => errors.push(error),
    });
    for (const path of ['/metrics', '/workers']) {
      const { status, body } = await ask(port, path);
      assert.equal(status, 500);
      assert.doesNotMatch(body, /SECRET/);
    }
    assert.deepEqual(errors, [broken, broken]);
  });

  it('[ADM8] a port that cannot be had is a ConfigError with one line', async (test) => {
    const { port } = await started(test);
    await assert.rejects(createAdminServer(options({ port })).start(), (error) => {
      assert(error instanceof ConfigError);
      assert.match(
        error.message,
        new RegExp(`: adminPort: 127\\.0\\.0\\.1 port ${port} is taken; .* running\\? \\(EADDRINUSE\\)$`),
      );
      return true;
    });
  });

  it('[ADM9] close ends requests that have no answer yet, can be repeated, and may come before start', async (test) => {
    const requests = new EventEmitter();
    const render = (): Promise<never> => {
      requests.emit('asked');
      return new Promise<never>(() => undefined);
    };
    const { admin, port } = await started(test, { metrics: { render } });
    const asked = once(requests, 'asked');
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
    await asked;
    await Promise.all([closed(socket), admin.close(), admin.close()]);
    await createAdminServer(options()).close();
  });

  it('[ADM10] connections beyond the bound are closed', async (test) => {
    const { port } = await started(test);
    const sockets = Array.from({ length: ADMIN_CONNECTION_MAX_COUNT }, () => connect(port, '127.0.0.1'));
    test.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const extra = connect(port, '127.0.0.1').on('error', () => undefined);
    let answer = '';
    extra.on('data', (bytes: Buffer) => (answer += bytes.toString()));
    extra.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await closed(extra);
    assert.equal(answer, '');
    assert(sockets.every((socket) => !socket.destroyed));
  });
});
