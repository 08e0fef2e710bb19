import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { pcmMessages } from '../support/pcm_messages.ts';
import { FEW_WORKERS, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { wavOf } from '../support/wav.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'the quick brown fox jumps over the lazy dog';
const OTHER = 'the museum shows paintings of horses';

interface Reply {
  readonly partial?: string;
  readonly text?: string;
  readonly result?: readonly { readonly word: string; readonly start: number; readonly end: number }[];
}

/** A client as vosk's own samples are: it sends, waits for the answer, and sends again. */
class LockStep {
  readonly replies: Reply[] = [];
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;
  readonly #unread: Reply[] = [];
  #wake: () => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (bytes: Buffer) => {
      this.#unread.push(JSON.parse(bytes.toString()) as Reply);
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', resolve);
    });
  }

  static async open(url: string, protocols: readonly string[] = []): Promise<LockStep> {
    const socket = new WebSocket(url.replace('http', 'ws'), [...protocols]);
    const client = new LockStep(socket);
    await once(socket, 'open');
    assert.equal(socket.protocol, protocols[0] ?? '');
    return client;
  }

  tell(message: object): void {
    this.#socket.send(JSON.stringify(message));
  }

  async ask(message: Uint8Array | object): Promise<Reply> {
    if (message instanceof Uint8Array) this.#socket.send(message);
    else this.tell(message);
    while (this.#unread.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    const [reply = {}, ...more] = this.#unread.splice(0);
    assert.deepEqual(more, [], 'one answer to one message');
    this.replies.push(reply);
    return reply;
  }

  get text(): string {
    return this.replies
      .map(({ text }) => text ?? '')
      .filter((text) => text !== '')
      .join(' ');
  }
}

/** Messages of 200 ms, as vosk's samples send them. */
function messagesOf(pcm: Int16Array, rate: number): Uint8Array[] {
  const small = pcmMessages(pcm, { rate, channels: 1 });
  const messages: Uint8Array[] = [];
  for (let i = 0; i < small.length; i += 10) messages.push(Buffer.concat(small.slice(i, i + 10)));
  return messages;
}

void describe('clients of vosk-server', () => {
  let server: RealServer;
  before(async () => {
    server = await startRealServer({ ...FEW_WORKERS, voskPort: 0 });
  });
  after(async () => {
    await server.close();
  });

  it('[VOSK1] one answer to each message, partials, results, a last result and close 1000', async () => {
    const client = await LockStep.open(`${server.url}/vosk`);
    client.tell({ config: { sample_rate: 16_000.0 } });
    const pcm = concat(await synthesise(SENTENCE, { voice: 'rms' }), silence(1_000), await synthesise(OTHER));
    for (const message of messagesOf(pcm, 16_000)) {
      await client.ask(message);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await client.ask({ eof: 1 });
    assert.equal(await client.closed, 1000);
    assert.ok(
      client.replies.some(({ partial }) => partial !== undefined && partial !== ''),
      'there are partials',
    );
    assert.ok(wordErrorRate(`${SENTENCE} ${OTHER}`, client.text) <= 0.2, client.text);
    const results = client.replies.filter(({ result }) => result !== undefined);
    assert.equal(results.length, 2);
    assert.ok(results.every(({ result }) => result?.every(({ start, end }) => start < end)));
  });

  it('[VOSK2] a telephone system that configures nothing is heard at any path of a port of its own', async () => {
    assert.ok(server.voskUrl !== undefined);
    const client = await LockStep.open(`${server.voskUrl}/some/path`, ['ws']);
    for (const message of messagesOf(await synthesise(SENTENCE, { voice: 'rms' }), 8_000))
      await client.ask(message);
    await client.ask({ eof: 1 });
    assert.equal(await client.closed, 1000);
    assert.ok(wordErrorRate(SENTENCE, client.text) <= 0.35, client.text);
  });

  it('[VOSK3] a WAV file as it is, much faster than real time, loses nothing', async () => {
    const client = await LockStep.open(`${server.url}/vosk`);
    const sentence = await synthesise(SENTENCE, { voice: 'rms' });
    const pcm = concat(...Array.from({ length: 25 }, () => concat(sentence, silence(800))));
    const wav = wavOf(pcm);
    assert.ok(pcm.length / 16_000 > 70, 'longer than a client may be ahead of real time');
    for (let start = 0; start < wav.length; start += 16_000)
      await client.ask(wav.subarray(start, start + 16_000));
    await client.ask({ eof: 1 });
    assert.equal(await client.closed, 1000);
    const said = Array.from({ length: 25 }, () => SENTENCE).join(' ');
    assert.ok(wordErrorRate(said, client.text) <= 0.15, client.text);
  });

  it('[VOSK4] reset ends the utterance and the stream goes on', async () => {
    const client = await LockStep.open(`${server.url}/vosk`);
    client.tell({ config: { sample_rate: 16_000, words: false } });
    for (const message of messagesOf(await synthesise(SENTENCE, { voice: 'rms' }), 16_000))
      await client.ask(message);
    const reset = await client.ask({ reset: 1 });
    assert.ok(wordErrorRate(SENTENCE, reset.text ?? '') <= 0.15, reset.text);
    assert.equal(reset.result, undefined);
    for (const message of messagesOf(await synthesise(OTHER), 16_000)) await client.ask(message);
    const last = await client.ask({ eof: 1 });
    assert.ok(wordErrorRate(OTHER, last.text ?? '') <= 0.2, last.text);
  });
});
