import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { STREAM_PATH, type ServerMessage } from '../../client/protocol.ts';
import { StreamClient } from '../../client/stream_client.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import { loadConfig } from '../../server/config.ts';
import { startServer, type RunningServer } from '../../server/gateway.ts';
import { updateKeys } from '../../server/access/keys_file.ts';
import { createLog } from '../../server/records/log.ts';
import { addKey, tokenFor } from '../support/access_setting.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { fetchSample, fetchWorkers } from '../support/real_server.ts';
import { selfSigned } from '../support/self_signed.ts';
import { synthesise } from '../support/speech.ts';

const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
const START = { type: 'start', version: 1, audio: { encoding: 'opus' } };

/** Everything a client can be told, as one text. */
class Outcome {
  status = 101;
  protocol = '';
  code = 0;
  told = '';
}

/** Opens a socket, says `first`, and goes on until the session is ready or refused. */
async function attempt(
  url: string,
  options: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly protocols?: string[];
    readonly query?: string;
    readonly first?: object | Uint8Array;
  } = {},
): Promise<Outcome> {
  const { headers = {}, protocols = [], query = '', first = START } = options;
  const outcome = new Outcome();
  const socket = new WebSocket(`${url.replace('http', 'ws')}${STREAM_PATH}${query}`, protocols, { headers });
  socket.on('error', () => undefined);
  socket.on('unexpected-response', (_request, response: IncomingMessage) => {
    outcome.status = response.statusCode ?? 0;
    outcome.told += JSON.stringify(response.headers);
    response.setEncoding('utf8').on('data', (text: string) => (outcome.told += text));
    response.on('end', () => {
      socket.terminate();
    });
  });
  socket.on('open', () => {
    outcome.protocol = socket.protocol;
    socket.send(first instanceof Uint8Array ? first : JSON.stringify(first));
  });
  socket.on('message', (bytes: Buffer) => {
    outcome.told += bytes.toString();
    if ((JSON.parse(bytes.toString()) as ServerMessage).type === 'ready') socket.close(1000);
  });
  // Not `once`: the error of a refused socket would end the wait.
  outcome.code = await new Promise<number>((resolve) => socket.on('close', resolve));
  return outcome;
}

describe('who is let in', () => {
  let folder: string;
  let keysFile: string;
  let server: RunningServer;
  let secret: string;
  let token: string;
  let revoked: string;
  let expired: string;
  const log = new PassThrough();
  let logged = '';

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    keysFile = join(folder, 'keys.json');
    const web = await addKey(keysFile, { name: 'web' });
    const gone = await addKey(keysFile, { name: 'gone' });
    await updateKeys(keysFile, (keys) => keys.filter(({ id }) => id !== gone.key.id));
    [secret, revoked] = [web.secret, gone.secret];
    token = await tokenFor(keysFile, { keyId: web.key.id, now: new Date(), maxSessions: 5 });
    expired = await tokenFor(keysFile, { keyId: web.key.id });
    const { config } = loadConfig({});
    log.on('data', (bytes: Buffer) => (logged += bytes.toString()));
    const settings = { port: 0, adminPort: 0, keysFile, logLevel: 'debug', logFormat: 'json' } as const;
    server = await startServer(
      { ...config, ...settings, allowedOrigins: ['https://app.example.org'] },
      createLog({ level: 'debug', format: 'json', clock: systemClock, output: log }),
    );
    await server.ready;
  });
  after(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  it('[ACC13] [R-33] by header, subprotocol or first message; nobody without, and before the upgrade where possible', async () => {
    for (const each of [secret, token]) {
      const ways = await Promise.all([
        attempt(server.url, { headers: { Authorization: `Token ${each}` } }),
        attempt(server.url, { protocols: ['bearer', each] }),
        attempt(server.url, {
          protocols: ['token', each],
          query: '?encoding=opus',
          first: { type: 'keepAlive' },
        }),
        attempt(server.url, { first: { ...START, token: each } }),
      ]);
      assert.deepEqual(
        ways.map(({ status, protocol, code }) => [status, protocol, code]),
        [
          [101, '', 1000],
          [101, 'bearer', 1000],
          [101, 'token', 1000],
          [101, '', 1000],
        ],
      );
    }
    for (const each of [revoked, expired, 'ew_', 'x'.repeat(2_000)]) {
      const header = await attempt(server.url, { headers: { Authorization: `Bearer ${each}` } });
      assert.deepEqual([header.status, header.code], [401, 1006]);
      assert.equal((await attempt(server.url, { protocols: ['bearer', each] })).status, 401);
      const late = await attempt(server.url, { first: { ...START, token: each } });
      assert.deepEqual([late.status, late.code], [101, 4401]);
    }
    assert.equal((await attempt(server.url, { query: '?encoding=opus' })).status, 401);
    assert.equal((await attempt(server.url, { query: `?token=${secret}` })).status, 401);
    assert.equal((await attempt(server.url, { first: new Uint8Array(3) })).code, 4401);
    assert.equal((await attempt(server.url)).code, 4401);
  });

  it('[ACC13] [R-32] a page of another origin gets 403 before the upgrade, with the best of keys', async () => {
    const statusFrom = async (origin: string): Promise<number> =>
      (await attempt(server.url, { headers: { Origin: origin, Authorization: `Bearer ${secret}` } })).status;
    assert.equal(await statusFrom('https://app.example.org'), 101);
    assert.equal(await statusFrom(server.url), 101, 'the page that this server serves');
    for (const origin of ['https://app.example.org.evil.example', 'http://app.example.org', 'null']) {
      assert.equal(await statusFrom(origin), 403, origin);
    }
  });

  it('[ACC14] the client library transcribes with a token that it asks for', async () => {
    const client = new StreamClient({
      url: `${server.url.replace('http', 'ws')}${STREAM_PATH}`,
      audio: { encoding: 'opus' },
      token: () => Promise.resolve(token),
      createSocket: (url, protocols) => new WebSocket(url, protocols),
    });
    const texts: string[] = [];
    client.on('final', ({ text }) => texts.push(text));
    await client.start();
    for (const packet of encodeOpus(await synthesise('good morning', { voice: 'rms' }))) client.send(packet);
    await client.stop();
    assert.match(texts.join(' ').toLowerCase(), /good morning/);
  });

  it('[ACC15] [R-33] no credential is in any log line, metric, answer or report of a death', async () => {
    const canary = `ew_${'Canary0'.repeat(7).slice(0, 43)}`;
    const answers = [
      await attempt(server.url, { headers: { Authorization: `Bearer ${canary}` } }),
      await attempt(server.url, { headers: { Authorization: canary } }),
      await attempt(server.url, { headers: { Cookie: canary, 'X-Api-Key': canary } }),
      await attempt(server.url, { protocols: ['bearer', canary] }),
      await attempt(server.url, { protocols: [canary] }),
      await attempt(server.url, { query: `?token=${canary}` }),
      await attempt(server.url, { query: `?encoding=${canary}` }),
      await attempt(server.url, { first: { ...START, token: canary } }),
      await attempt(server.url, { first: { ...START, token: [canary] } }),
      await attempt(server.url, { first: { type: canary, token: canary } }),
    ];
    const [worker] = await fetchWorkers(server);
    process.kill(worker?.pid ?? assert.fail(), 'SIGKILL');
    while (!logged.includes('worker died')) await once(log, 'data');
    const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
    const told = answers.map((each) => each.told);
    assert(
      logged.includes('connection refused') && told.join('').includes('unauthorized'),
      'there is something to search',
    );
    for (const each of [canary, secret, token, revoked, expired]) {
      for (const [place, text] of Object.entries({ logged, metrics, told: told.join('\n') })) {
        // What is in the query was named by the client, and comes back to it alone.
        const echoed = place === 'told' && each === canary ? told.filter((_, i) => i !== 6).join('\n') : text;
        assert(!echoed.includes(each.slice(3)), `${place} has ${each}`);
      }
    }
    assert((await fetchSample(server, 'earwitness_sessions_refused_total{reason="unauthorized"}')) >= 7);
  });
});

/** Fingerprint of the certificate that a new connection is shown. */
async function certificateOf(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

describe('the program with keys and TLS', () => {
  it('[ACC16] reads keys and certificate again on SIGHUP, and refuses to be open to everybody', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const keysFile = join(folder, 'keys.json');
    const common = ['serve', '--port', '0', '--admin-port', '0', '--keys-file', keysFile];
    const open = spawn(process.execPath, [MAIN, ...common, '--host', '0.0.0.0'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let why = '';
    open.stderr.on('data', (bytes: Buffer) => (why += bytes.toString()));
    assert.deepEqual(await once(open, 'close'), [EXIT_CONFIG, null]);
    assert.match(why, /host: expected a loopback address/);

    const { secret, key } = await addKey(keysFile, { name: 'web' });
    const certPath = join(folder, 'cert.pem');
    const keyPath = join(folder, 'key.pem');
    const install = async (): Promise<void> => {
      const { cert, key: tlsKey } = selfSigned();
      await writeFile(certPath, cert);
      await writeFile(keyPath, tlsKey);
    };
    await install();
    const tls = ['--tls-cert', certPath, '--tls-key', keyPath];
    const child = spawn(process.execPath, [MAIN, ...common, ...tls], { stdio: ['ignore', 'pipe', 'ignore'] });
    test.after(() => child.kill('SIGKILL'));
    const exited = once(child, 'exit');
    let printed = '';
    while (!/https:\S+/.test(printed)) printed += String((await once(child.stdout, 'data'))[0]);
    const url = /https:\S+/.exec(printed)?.[0] ?? assert.fail();
    const first = await certificateOf(url);
    const headers = { Authorization: `Bearer ${secret}` };
    const socket = new WebSocket(`${url.replace('http', 'ws')}${STREAM_PATH}?encoding=opus`, {
      headers,
      rejectUnauthorized: false,
    });
    await once(socket, 'message');
    const closed = once(socket, 'close') as Promise<[number]>;
    await updateKeys(keysFile, (keys) => keys.filter(({ id }) => id !== key.id));
    await install();
    child.kill('SIGHUP');
    assert.equal((await closed)[0], 4401);
    while ((await certificateOf(url)) === first) await turn();
    child.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
  });
});
