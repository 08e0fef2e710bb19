import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { TRANSPORT_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import { addKey } from '../support/access_setting.ts';
import { FEW_WORKERS, fetchSample, startRealServer, type RealServer } from '../support/real_server.ts';
import { synthesise } from '../support/speech.ts';
import { wavOf } from '../support/wav.ts';

/** What a request for a WebSocket is answered: the protocol that was chosen, or a refusal. */
async function openOf(
  url: string,
  options: {
    readonly protocols?: readonly string[];
    readonly headers?: Readonly<Record<string, string>>;
  } = {},
): Promise<{
  readonly status: number;
  readonly protocol?: string;
  readonly answer?: IncomingMessage;
  readonly body?: string;
}> {
  const socket = new WebSocket(url.replace('http', 'ws'), [...(options.protocols ?? [])], {
    headers: { ...options.headers },
  });
  return new Promise((resolve, reject) => {
    socket.on('open', () => {
      const { protocol } = socket;
      socket.terminate();
      resolve({ status: 101, protocol });
    });
    socket.on('unexpected-response', (_request, answer) => {
      void answer.toArray().then((parts: Buffer[]) => {
        resolve({ status: answer.statusCode ?? 0, answer, body: Buffer.concat(parts).toString() });
      });
    });
    socket.on('error', reject);
  });
}

void describe('dialects on a server with keys', () => {
  let server: RealServer;
  let secret: string;
  let single: string;
  let keysFile: string;
  before(async () => {
    keysFile = join(await mkdtemp(join(tmpdir(), 'earwitness-test-')), 'keys.json');
    ({ secret } = await addKey(keysFile, { name: 'app' }));
    ({ secret: single } = await addKey(keysFile, { name: 'one at a time', maxSessions: 1 }));
    server = await startRealServer({ ...FEW_WORKERS, keysFile, dialects: ['native', 'deepgram', 'openai'] });
  });
  after(async () => {
    await server.close();
    await rm(dirname(keysFile), { recursive: true });
  });

  it('[DG7] without a key a stream is refused as Deepgram does, with one it is opened, in a browser too', async () => {
    const url = `${server.url}/v1/listen?encoding=opus`;
    const refused = await openOf(url);
    assert.equal(refused.status, 401);
    assert.match(String(refused.answer?.headers['dg-error']), /API key/);
    const { err_code, request_id } = JSON.parse(refused.body ?? '') as Record<string, string>;
    assert.equal(err_code, 'INVALID_AUTH');
    assert.match(request_id ?? '', /^[0-9a-f-]{36}$/);
    for (const headers of [{ authorization: `Token ${secret}` }, { authorization: `Bearer ${secret}` }]) {
      assert.equal((await openOf(url, { headers })).status, 101);
    }
    for (const marker of ['token', 'bearer']) {
      const opened = await openOf(url, { protocols: [marker, secret] });
      assert.deepEqual([opened.status, opened.protocol], [101, marker]);
    }
    const wrong = await openOf(`${server.url}/v1/listen?encoding=mp3`, {
      headers: { authorization: `Token ${secret}` },
    });
    assert.equal(wrong.status, 400);
    assert.match(String(wrong.answer?.headers['dg-error']), /^encoding: /);
  });

  it('[OAI6] a key for a browser is made with a key, opens a session, and makes no other key', async () => {
    const post = (credential: string): Promise<Response> =>
      fetch(`${server.url}/v1/realtime/client_secrets`, {
        ...{
          method: 'POST',
          headers: { Authorization: `Bearer ${credential}`, 'Content-Type': 'application/json' },
        },
        body: JSON.stringify({
          expires_after: { anchor: 'created_at', seconds: 60 },
          session: { type: 'transcription' },
        }),
      });
    const made = await post(secret);
    assert.equal(made.status, 200);
    const { value } = (await made.json()) as { value: string };
    assert.match(value, /^ek_/);
    const url = `${server.url}/v1/realtime?intent=transcription`;
    const opened = await openOf(url, { protocols: ['realtime', `openai-insecure-api-key.${value}`] });
    assert.deepEqual([opened.status, opened.protocol], [101, 'realtime']);
    assert.equal((await post(value)).status, 403);
    const refused = await openOf(url, { protocols: ['realtime', 'openai-insecure-api-key.ek_wrong'] });
    assert.equal(refused.status, 401);
    const { error } = JSON.parse(refused.body ?? '') as { error: Record<string, string> };
    assert.deepEqual([error['code'], error['type']], ['invalid_api_key', 'invalid_request_error']);
  });

  it('[BODY5] a file over HTTP is judged like a stream: key, origin, sessions at a time, size', async () => {
    const wav = wavOf(await synthesise('good morning everybody'));
    const listen = (headers: Readonly<Record<string, string>>, body: Uint8Array = wav): Promise<Response> =>
      fetch(`${server.url}/v1/listen`, { method: 'POST', headers, body });
    const key = { Authorization: `Token ${single}` };
    assert.equal((await listen({})).status, 401);
    assert.equal((await listen({ ...key, Origin: 'https://evil.example' })).status, 403);
    assert.equal((await listen(key, new Uint8Array(0))).status, 400);
    assert.equal((await listen(key, new Uint8Array(100))).status, 400);
    assert.equal(
      (await listen({ ...key, 'Content-Type': 'application/json' }, Buffer.from('{"url":"http://x"}')))
        .status,
      400,
    );
    const both = await Promise.all([listen(key), listen(key)]);
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 429]);
    // The place was given back.
    assert.equal((await listen(key)).status, 200);
    const form = (fields: Readonly<Record<string, string | Blob>>): Promise<Response> => {
      const body = new FormData();
      for (const [name, value] of Object.entries(fields)) body.append(name, value);
      return fetch(`${server.url}/v1/audio/transcriptions`, { ...{ method: 'POST', headers: key, body } });
    };
    const file = new Blob([wav]);
    assert.equal((await form({ file })).status, 200);
    for (const [fields, fault] of [
      [{ model: 'x' }, 'file'],
      [{ file: 'text' }, 'file'],
      [{ file, response_format: 'pdf' }, 'response_format'],
      [{ file, stream: 'true' }, 'stream'],
      [{ file, language: 'fr' }, 'language'],
      [{ file: new Blob(['no audio at all']) }, ''],
    ] as const) {
      const answer = await form(fields);
      assert.equal(answer.status, 400, fault);
      const { error } = (await answer.json()) as { error: { message: string } };
      assert.ok(error.message.startsWith(fault), error.message);
    }
    assert.equal(
      (await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', headers: key, body: 'x' }))
        .status,
      400,
    );
    const counted = await fetchSample(
      server,
      'earwitness_admissions_total{dialect="deepgram",form="request"}',
    );
    assert.ok(counted >= 3, String(counted));
  });

  it('[DIA1] a dialect that was switched off is not there', async () => {
    const answer = await openOf(`${server.url}/vosk`, { headers: { authorization: `Bearer ${secret}` } });
    assert.equal(answer.status, 404);
  });

  it('[OAI7] a message beyond the bound ends its own connection', async () => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/realtime`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    await once(socket, 'open');
    socket.on('error', () => undefined);
    const audio = 'A'.repeat(TRANSPORT_MESSAGE_MAX_BYTES);
    socket.send(JSON.stringify({ type: 'input_audio_buffer.append', audio }));
    await once(socket, 'close');
  });
});
