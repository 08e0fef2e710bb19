import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { StreamClient, type StreamClientOptions } from '../../client/stream_client.ts';
import { RecordingClock } from '../support/client_setting.ts';
import { ScriptedServer } from '../support/scripted_socket.ts';

function setUp(options: Partial<StreamClientOptions>) {
  const clock = new RecordingClock();
  const server = new ScriptedServer();
  const offers: (readonly string[] | undefined)[] = [];
  const client = new StreamClient({
    url: 'ws://server/v1/stream',
    audio: { encoding: 'opus' },
    clock,
    random: () => 0.5,
    createSocket: (url, protocols) => {
      offers.push(protocols);
      return server.createSocket(url);
    },
    ...options,
  });
  return { clock, server, client, offers };
}

describe('the client’s token', () => {
  it('[CTK1] goes as a subprotocol, and nowhere else', () => {
    const { client, server, offers } = setUp({ token: 'ew_key' });
    void client.start();
    server.socket.accept();
    assert.deepEqual(offers, [['bearer', 'ew_key']]);
    assert(!JSON.stringify([server.socket.sent, server.socket.url]).includes('ew_key'));
    client.close();
    const without = setUp({});
    void without.client.start();
    assert.deepEqual(without.offers, [undefined]);
    without.client.on('error', () => undefined);
    without.client.close();
  });

  it('[CTK6] goes into `start` instead, where that is asked for, also after a reconnect', () => {
    const { client, server, clock, offers } = setUp({ token: 'ew_key', tokenIn: 'start' });
    void client.start();
    server.socket.accept();
    assert.equal(server.socket.start.token, 'ew_key');
    server.socket.drop();
    clock.jump(1_000);
    server.socket.accept('again');
    assert.equal(server.socket.start.token, 'ew_key');
    assert.deepEqual(offers, [undefined, undefined]);
    client.close();
  });

  it('[CTK2] is asked for anew before every connection', async () => {
    let count = 0;
    const { client, server, clock, offers } = setUp({ token: () => Promise.resolve(`token${++count}`) });
    void client.start();
    assert.deepEqual(client.state, { type: 'connecting' });
    await turn();
    server.socket.accept();
    server.socket.drop();
    clock.jump(1_000);
    await turn();
    assert.deepEqual(offers, [
      ['bearer', 'token1'],
      ['bearer', 'token2'],
    ]);
    server.socket.accept('again');
    assert.deepEqual(client.state, { type: 'open', sessionId: 'again' });
    client.close();
  });

  it('[CTK3] that cannot be had, at once or in time, is tried for again, and the failure is named', async () => {
    const failures = [
      () => Promise.reject(new Error('no network')),
      () => {
        throw new Error('no login');
      },
      () => new Promise<string>(() => undefined),
    ];
    let count = 0;
    const { client, clock, offers } = setUp({
      token: () => (failures[count++ % 3] ?? assert.fail())(),
      reconnect: { firstDelayMs: 10, maxDelayMs: 10, maxAttempts: 3 },
    });
    const started = assert.rejects(client.start(), { code: 'no_token', message: /no network/ });
    for (let i = 0; i < 8; i++) {
      await turn();
      clock.jump(10_000);
    }
    await started;
    assert.equal(count, 4);
    assert.deepEqual(offers, []);
    assert.equal(clock.timerCount, 0);
  });

  it('[CTK4] that comes after close() opens no socket', async () => {
    let give: (token: string) => void = () => undefined;
    const { client, clock, offers } = setUp({
      token: () =>
        new Promise((resolve) => {
          give = resolve;
        }),
    });
    const started = assert.rejects(client.start(), { code: 'closed' });
    await turn();
    client.close();
    give('late');
    await turn();
    await started;
    assert.deepEqual(offers, []);
    assert.equal(clock.timerCount, 0);
  });

  it('[CTK5] that the platform refuses is not in the error', async () => {
    const { client } = setUp({
      token: 'not,a,token',
      createSocket: (_url, protocols) => {
        throw new SyntaxError(`The subprotocol '${protocols?.[1] ?? ''}' is invalid.`);
      },
    });
    await assert.rejects(client.start(), (error: Error) => {
      assert(!error.message.includes('not,a,token'));
      assert.match(error.message, /subprotocol/);
      return true;
    });
  });
});
