import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { numbers, resumeOf, setUp } from '../support/client_setting.ts';
import { finalOf } from '../support/scripted_socket.ts';

describe('StreamClient', () => {
  it('[CLT1] names its settings, then sends audio in order, also what was given before', async () => {
    const { server, client, say } = setUp({ words: true, endpointing: { silenceMs: 300 } });
    say(2);
    const started = client.start();
    say(1);
    assert.deepEqual(client.state, { type: 'connecting' });
    assert.deepEqual(server.socket.sent, []);
    server.socket.accept('one');
    await started;
    say(1);
    assert.deepEqual(server.socket.start, {
      type: 'start',
      version: 1,
      audio: { encoding: 'opus' },
      endpointing: { silenceMs: 300 },
      words: true,
    });
    assert.deepEqual(server.socket.audio, [0, 1, 2, 3]);
    assert.deepEqual(client.state, { type: 'open', sessionId: 'one' });
    client.close();
  });

  it('[CLT2] a lost connection is resumed where the acknowledged audio ends', () => {
    const { clock, server, client, seen, say } = setUp();
    void client.start();
    server.socket.accept('one');
    say(10);
    server.socket.receive(finalOf(1, 120));
    server.socket.drop();
    assert.deepEqual(client.state, { type: 'reconnecting', attempt: 1 });
    say(1);
    clock.jump(1_000);
    server.socket.accept('two');
    assert.equal(server.sockets.length, 2);
    assert.deepEqual(server.socket.start.resume, {
      sessionId: 'one',
      fromAudioMs: 120,
      nextUtteranceId: 2,
    });
    assert.deepEqual(server.socket.audio, numbers(6, 11));
    assert.deepEqual(seen, ['final 1']);
    client.close();
  });

  it('[CLT3] a message that is acknowledged in part is sent again as a whole', () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    server.socket.accept();
    say(10);
    server.socket.receive(finalOf(1, 119));
    server.socket.drop();
    clock.jump(1_000);
    server.socket.accept();
    assert.equal(resumeOf(server).fromAudioMs, 100);
    assert.deepEqual(server.socket.audio, numbers(5, 10));
    client.close();
  });

  it('[CLT4] audio beyond the bound is forgotten, and said to be lost only if it may have held words', () => {
    const { clock, server, client, seen, say } = setUp({ unackedMaxMs: 200 });
    void client.start();
    server.socket.accept();
    say(20);
    server.socket.drop();
    clock.jump(1_000);
    server.socket.accept();
    assert.equal(resumeOf(server).fromAudioMs, 200, 'the last 200 of 400 ms');
    assert.deepEqual(server.socket.audio, numbers(10, 20));
    assert.deepEqual(seen, [], 'silence that the server heard is no loss');

    server.socket.receive({ type: 'speechStart', utteranceId: 1, audioMs: 340 });
    say(1);
    server.socket.drop();
    say(10);
    clock.jump(2_000);
    server.socket.accept();
    assert.equal(resumeOf(server).fromAudioMs, 420);
    assert.deepEqual(seen, ['start 1', 'lost 340-420'], 'a part of an utterance without final');

    server.socket.receive(finalOf(1, 620));
    server.socket.drop();
    say(15);
    clock.jump(4_000);
    server.socket.accept();
    assert.equal(resumeOf(server).fromAudioMs, 720);
    const all = ['start 1', 'lost 340-420', 'final 1', 'lost 620-720'];
    assert.deepEqual(seen, all, 'audio that was never sent');
    client.close();
  });

  it('[CLT5] while there is a connection unsent audio is not forgotten but refused', async () => {
    const { clock, server, client } = setUp({ unackedMaxMs: 200 });
    const send = (number: number) => client.send(Uint8Array.of(number), { durationMs: 20 });
    void client.start();
    assert.deepEqual(numbers(0, 20).map(send), Array<string>(20).fill('accepted'));
    assert.equal(send(20), 'full');
    server.socket.bufferedAmount = 100_000;
    server.socket.accept();
    assert.equal(send(21), 'full');
    assert.equal(client.unsentMs, 400);
    const drained = client.drained();
    server.socket.bufferedAmount = 0;
    clock.jump(50);
    await drained;
    assert.deepEqual(server.socket.audio, numbers(0, 20));
    assert.equal(send(22), 'accepted');
    client.close();
  });

  it('[CLT6] no utterance is begun, ended or made final twice; revisions go on after a resume', () => {
    const { clock, server, client, seen, say } = setUp();
    void client.start();
    for (let connection = 0; connection < 2; connection++) {
      server.socket.accept();
      say(5);
      for (const id of [1, 2]) {
        const span = { utteranceId: id, startAudioMs: 0, endAudioMs: 100 };
        server.socket.receive({ type: 'speechStart', utteranceId: id, audioMs: 0 });
        server.socket.receive({ type: 'partial', ...span, revision: 1, text: 'a', stableLength: 0 });
        server.socket.receive({ type: 'speechEnd', utteranceId: id, audioMs: 100 });
        if (id === 1 || connection === 1) server.socket.receive(finalOf(id, id * 40));
      }
      if (connection === 0) server.socket.drop();
      clock.jump(1_000);
    }
    assert.deepEqual(seen, [
      ...['start 1', 'partial 1.1', 'end 1', 'final 1'],
      ...['start 2', 'partial 2.1', 'end 2', 'partial 2.2', 'final 2'],
    ]);
    client.close();
  });

  it('[CLT13] audio runs ahead of real time no further than the server takes', () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    say(250);
    server.socket.accept('one', { aheadOfRealtimeMaxMs: 3_000 });
    assert.equal(server.socket.audio.length, 100, '2 s of the 3, the rest is spare');
    clock.jump(1_000);
    assert.equal(server.socket.audio.length, 150, 'then in real time');
    clock.jump(10_000);
    assert.equal(server.socket.audio.length, 250);
    client.close();
  });

  it('[CLT26] what came together in an outage is worked off, until the client is back in real time', () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    say(2_000);
    server.socket.accept('one', { aheadOfRealtimeMaxMs: 21_000, catchUpRatio: 1.5 });
    const behindMs = (): number => client.unsentMs;
    assert.equal(behindMs(), 20_000);
    for (let second = 0; second < 45; second++) {
      say(50);
      clock.jump(1_000);
    }
    assert.ok(behindMs() < 100, `${behindMs()} ms behind`);
    client.close();
  });

  it('[CLT14] keepAlive is sent when nothing else is', () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    server.socket.accept('one', { idleMaxMs: 9_000 });
    clock.jump(3_000);
    say(1);
    clock.jump(3_000);
    clock.jump(3_000);
    assert.deepEqual(server.socket.types, ['start', 'keepAlive', 'audio', 'keepAlive']);
    client.close();
  });

  it('[CLT15] a connection that does not open, or moves no byte, is given up for another', () => {
    const { clock, server, client, say } = setUp();
    void client.start();
    server.socket.open();
    clock.jump(10_000);
    assert.equal(client.state.type, 'reconnecting');
    clock.jump(1_000);
    server.socket.accept('one', { idleMaxMs: 9_000 });
    say(1);
    server.socket.bufferedAmount = 2;
    for (let check = 0; check < 6; check++) {
      assert.equal(client.state.type, 'open', 'slow is not dead');
      clock.jump(3_000);
      say(1);
    }
    server.socket.isStuck = true;
    clock.jump(12_000);
    assert.equal(client.state.type, 'reconnecting');
    client.close();
  });

  it('[CLT16] a listener is called until it is taken off', () => {
    const { server, client } = setUp();
    let count = 0;
    const off = client.on('final', () => count++);
    void client.start();
    server.socket.accept();
    server.socket.receive(finalOf(1, 0));
    off();
    off();
    server.socket.receive(finalOf(2, 0));
    assert.equal(count, 1);
    client.close();
  });

  it('[CLT16] a client can be closed from within any event', () => {
    for (const event of ['state', 'ready', 'final', 'goAway'] as const) {
      const { clock, server, client } = setUp();
      client.on(event, () => {
        client.close();
      });
      void client.start();
      if (server.sockets.length > 0) {
        server.socket.accept();
        server.socket.receive(finalOf(1, 0));
        const resume = { sessionId: 'x', fromAudioMs: 0, nextUtteranceId: 1 };
        server.socket.receive({ type: 'goAway', deadlineMs: 100, resume });
      }
      assert.deepEqual(client.state, { type: 'closed', reason: 'closed' }, event);
      assert.equal(clock.timerCount, 0, event);
      assert.deepEqual(
        server.sockets.map(({ closes }) => closes.length),
        server.sockets.map(() => 1),
        event,
      );
    }
  });
});
