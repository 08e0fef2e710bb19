import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ServerMessage } from '../../client/protocol.ts';
import { StreamClient } from '../../client/stream_client.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { seededRandom } from '../support/random.ts';
import { finalOf, ScriptedServer, type ScriptedSocket } from '../support/scripted_socket.ts';

const MESSAGE_MS = 20;
const MESSAGES_PER_UTTERANCE = 7;

/**
 * A server that "hears" message numbers and makes a final of them after every seventh, by the audio's content alone,
 * as a real one does. It knows nothing of earlier connections, and both directions lag behind.
 */
class NumberServer {
  readonly #socket: ScriptedSocket;
  readonly #answers: ServerMessage[] = [];
  #readCount = 1;
  #audioMs: number;
  #utteranceId: number;
  #heard: number[] = [];

  constructor(socket: ScriptedSocket, sessionId: string) {
    this.#socket = socket;
    socket.accept(sessionId);
    this.#audioMs = socket.start.resume?.fromAudioMs ?? 0;
    this.#utteranceId = socket.start.resume?.nextUtteranceId ?? 1;
  }

  /** Reads one message of the client, if there is one. */
  read(): void {
    const message = this.#socket.sent[this.#readCount];
    if (message === undefined) return;
    this.#readCount++;
    if (message instanceof Uint8Array) this.#hear(numberOf(message));
    else if (message.type === 'flush') {
      this.#endUtterance();
      this.#answers.push({ type: 'flushed', id: message.id });
    } else if (message.type === 'stop') {
      this.#endUtterance();
      this.#answers.push({ type: 'done' });
    }
  }

  /** Sends one answer, if there is one. */
  write(): void {
    const answer = this.#answers.shift();
    if (answer !== undefined) this.#socket.receive(answer);
  }

  #hear(number: number): void {
    if (this.#heard.length === 0) {
      this.#answers.push({ type: 'speechStart', utteranceId: this.#utteranceId, audioMs: this.#audioMs });
    }
    assert.equal(this.#audioMs, number * MESSAGE_MS, 'the client names the position of what it sends');
    this.#heard.push(number);
    this.#audioMs += MESSAGE_MS;
    if (number % MESSAGES_PER_UTTERANCE === MESSAGES_PER_UTTERANCE - 1) this.#endUtterance();
  }

  #endUtterance(): void {
    if (this.#heard.length === 0) return;
    this.#answers.push(finalOf(this.#utteranceId++, this.#audioMs, this.#heard.join(' ')));
    this.#heard = [];
  }
}

function numbered(number: number): Uint8Array {
  return Uint8Array.of(number >> 8, number & 255);
}

function numberOf(message: Uint8Array): number {
  return (message[0] ?? 0) * 256 + (message[1] ?? 0);
}

/** Runs one session through a net that breaks at random; returns the finals that were shown. */
function playSession(seed: number): { ids: number[]; numbers: number[]; sentCount: number; state: string } {
  const random = seededRandom(seed);
  const clock = new FakeClock();
  const sockets = new ScriptedServer();
  const client = new StreamClient({
    url: 'ws://server',
    audio: { encoding: 'opus' },
    createSocket: sockets.createSocket,
    clock,
    random,
    reconnect: { firstDelayMs: 50, maxDelayMs: 200, maxAttempts: 1_000 },
  });
  const ids: number[] = [];
  const numbers: number[] = [];
  client.on('final', ({ utteranceId, text }) => {
    ids.push(utteranceId);
    numbers.push(...text.split(' ').map(Number));
  });
  void client.start();
  let server: NumberServer | undefined;
  let servedCount = 0;
  let sentCount = 0;
  for (let step = 0; client.state.type !== 'closed'; step++) {
    assert(step < 20_000, 'the session does not end');
    const dice = random();
    if (step === 1_000) {
      void client.stop();
    } else if (dice < 0.01) {
      sockets.socket.drop();
    } else if (dice < 0.015) {
      sockets.socket.receive(goAway());
    } else if (dice < 0.02) {
      void client.flush();
    } else if (dice < 0.2) {
      if (client.send(numbered(sentCount), { durationMs: MESSAGE_MS }) === 'accepted') sentCount++;
    } else if (dice < 0.35) {
      clock.jump(20);
    } else if (dice < 0.6) {
      server?.write();
    } else if (servedCount === sockets.sockets.length) {
      server?.read();
    } else if (sockets.socket.closes.length === 0) {
      server = new NumberServer(sockets.socket, `session ${step}`);
      servedCount = sockets.sockets.length;
    }
  }
  assert.equal(clock.timerCount, 0);
  return { ids, numbers, sentCount, state: JSON.stringify(client.state) };
}

function goAway(): ServerMessage {
  return { type: 'goAway', deadlineMs: 100, resume: { sessionId: 'x', fromAudioMs: 0, nextUtteranceId: 1 } };
}

describe('resuming', () => {
  it('[CLT17] however often the connection breaks, every message is in exactly one final, in order', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { ids, numbers, sentCount, state } = playSession(seed);
        assert.equal(state, '{"type":"closed","reason":"done"}');
        assert.deepEqual(
          numbers,
          Array.from({ length: sentCount }, (_, i) => i),
        );
        assert.deepEqual(
          ids,
          Array.from({ length: ids.length }, (_, i) => i + 1),
        );
      }),
      { numRuns: 200 },
    );
  });
});
