import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_RECONNECT } from '../../client/reconnect.ts';
import type { ClientState } from '../../client/stream_events.ts';
import { failWith, outcomes, refuseAll, setUp } from '../support/client_setting.ts';
import { finalOf } from '../support/scripted_socket.ts';

describe('the life of a StreamClient', () => {
  it('[CLT7] goAway is followed soon, as the session it names', () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    server.socket.accept('one');
    say(3);
    const resume = { sessionId: 'other', fromAudioMs: 0, nextUtteranceId: 1 };
    server.socket.receive({ type: 'goAway', deadlineMs: 100, resume });
    assert.deepEqual(server.socket.closes, [1_000]);
    server.socket.receive(finalOf(1, 60));
    clock.jump(250);
    assert.equal(server.sockets.length, 2);
    server.socket.accept();
    assert.deepEqual(server.socket.start.resume, resume, 'what came after the goodbye does not count');
    assert.deepEqual(server.socket.audio, [0, 1, 2]);
    client.close();
  });

  it('[CLT8] a flush goes out after the audio before it, again if the connection was lost', async () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    say(1);
    const first = client.flush();
    server.socket.accept();
    say(1);
    const second = client.flush();
    say(1);
    server.socket.receive({ type: 'flushed', id: '1' });
    assert.deepEqual(await outcomes([first, second]), ['kept', 'pending']);
    server.socket.drop();
    clock.jump(1_000);
    server.socket.accept();
    assert.deepEqual(server.socket.types, ['start', 'audio', 'audio', 'flush', 'audio']);
    server.socket.receive({ type: 'flushed', id: '2' });
    assert.deepEqual(await outcomes([second]), ['kept']);
    client.close();
  });

  it('[CLT9] stop is carried through a reconnect and kept by done', async () => {
    const { clock, server, client, seen, say } = setUp();
    void client.start();
    server.socket.accept();
    say(3);
    const stopped = client.stop();
    assert.equal(client.stop(), stopped);
    assert.equal(client.send(Uint8Array.of(9)), 'closed');
    assert.deepEqual(client.state, { type: 'stopping' });
    server.socket.drop();
    assert.deepEqual(client.state, { type: 'stopping' });
    clock.jump(1_000);
    server.socket.accept();
    assert.deepEqual(server.socket.types, ['start', 'audio', 'audio', 'audio', 'stop']);
    server.socket.receive(finalOf(1, 60));
    assert.deepEqual(await outcomes([stopped]), ['pending']);
    server.socket.receive({ type: 'done' });
    server.socket.drop(1000);
    assert.deepEqual(await outcomes([stopped]), ['kept']);
    assert.deepEqual(client.state, { type: 'closed', reason: 'done' });
    assert.deepEqual(seen, ['final 1']);
    assert.equal(clock.timerCount, 0);
  });

  for (const [path, end, code] of [
    [
      'close()',
      ({ client }) => {
        client.close();
      },
      'closed',
    ],
    [
      'an error',
      ({ server }) => {
        failWith(server, false);
      },
      'bad_settings',
    ],
    [
      'the last attempt',
      ({ server, clock }) => {
        refuseAll(server, clock);
      },
      'connection_lost',
    ],
    [
      'a refused session',
      ({ server }) => {
        server.socket.drop(4400);
      },
      'close_4400',
    ],
    [
      'garbled text',
      ({ server }) => {
        server.socket.receiveRaw('{');
      },
      'bad_message',
    ],
    [
      'bytes',
      ({ server }) => {
        server.socket.receiveRaw(new ArrayBuffer(1));
      },
      'bad_message',
    ],
    [
      'a message without type',
      ({ server }) => {
        server.socket.receiveRaw('[]');
      },
      'bad_message',
    ],
  ] as [string, (setting: ReturnType<typeof setUp>) => void, string][]) {
    it(`[CLT10] every promise settles on ${path}`, async () => {
      const setting = setUp();
      const { clock, server, client, say } = setting;
      const started = client.start();
      say(1);
      server.socket.open();
      const promises = [started, client.flush(), client.drained(), client.flush(), client.stop()];
      end(setting);
      assert.deepEqual(await outcomes(promises), Array<string>(5).fill(code));
      assert.deepEqual(await outcomes([client.flush(), client.drained()]), ['closed', 'closed']);
      assert.equal(client.send(Uint8Array.of(1)), 'closed');
      assert.equal(client.state.type, 'closed');
      assert.equal(clock.timerCount, 0, 'no timer is left');
    });
  }

  it('[CLT10] a client that was never started can be stopped and closed', async () => {
    const { client } = setUp();
    const stopped = client.stop();
    client.close();
    assert.deepEqual(await outcomes([stopped, client.stop(), client.start()]), ['kept', 'kept', 'closed']);
    const other = setUp().client;
    other.close();
    assert.deepEqual(await outcomes([other.stop(), other.flush()]), ['kept', 'closed']);
  });

  it('[CLT10] a socket that cannot be made fails the client', async () => {
    const { client, seen } = setUp({
      createSocket: () => {
        throw new SyntaxError('no URL');
      },
    });
    assert.deepEqual(await outcomes([client.start()]), ['bad_url']);
    assert.deepEqual(seen, ['error bad_url']);
  });

  it('[CLT11] attempts start over after a final, and after a connection that lasted', () => {
    const { clock, server, client } = setUp();
    void client.start();
    server.socket.drop();
    const delays: number[] = [];
    const lose = (): void => {
      server.socket.drop();
      delays.push(clock.lastDelayMs);
      clock.jump(clock.lastDelayMs);
    };
    clock.jump(clock.lastDelayMs);
    lose();
    server.socket.accept();
    lose();
    server.socket.accept();
    clock.jump(10_000);
    lose();
    server.socket.accept();
    server.socket.receive(finalOf(1, 0));
    lose();
    assert.deepEqual(delays, [375, 750, 187.5, 187.5], 'half to whole of 500, 1000, 250, 250 ms');
    client.close();
  });

  it('[CLT12] an error that is retryable is followed by another attempt, and named when there are no more', () => {
    const { clock, server, client, seen } = setUp();
    const states: ClientState['type'][] = [];
    client.on('state', ({ type }) => states.push(type));
    void client.start();
    failWith(server, true);
    assert.deepEqual(states, ['connecting', 'reconnecting']);
    refuseAll(server, clock);
    assert.deepEqual(seen, ['error bad_settings']);
    assert.equal(server.sockets.length, 1 + DEFAULT_RECONNECT.maxAttempts);
  });
});
