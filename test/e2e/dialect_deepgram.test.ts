import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DeepgramClient } from '@deepgram/sdk';
import { createClient } from 'deepgram-sdk-4';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { element, liveWebm, webmBlock } from '../support/containers.ts';
import { pcmMessages, play } from '../support/pcm_messages.ts';
import { FEW_WORKERS, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { wavOf } from '../support/wav.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'the quick brown fox jumps over the lazy dog';

/** What the tests look at in a message, of whatever SDK. */
interface Message {
  readonly type: string;
  readonly is_final?: boolean;
  readonly speech_final?: boolean;
  readonly from_finalize?: boolean;
  readonly start?: number;
  readonly duration?: number;
  readonly channel?: { readonly alternatives: readonly { readonly transcript: string }[] };
  readonly channel_index?: readonly number[];
  readonly sha256?: string;
}

function textOf(messages: readonly Message[], isFinal: boolean): string {
  return messages
    .filter((message) => message.type === 'Results' && message.is_final === isFinal)
    .map((message) => message.channel?.alternatives[0]?.transcript ?? '')
    .filter((text) => text !== '')
    .join(' ');
}

/** A stream of the present SDK, with everything that happened on it. */
async function openStream(server: RealServer, parameters: Readonly<Record<string, unknown>>) {
  const client = new DeepgramClient({ apiKey: 'k', baseUrl: server.url.replace('http', 'ws') });
  const socket = await client.listen.v1.connect({
    ...{ model: 'nova-3', interim_results: 'true' },
    ...parameters,
  });
  const messages: Message[] = [];
  const errors: unknown[] = [];
  let openCount = 0;
  socket.on('message', (message) => messages.push(message as unknown as Message));
  socket.on('error', (error) => errors.push(error));
  socket.on('open', () => openCount++);
  const closed = new Promise<number>((resolve) => {
    socket.on('close', (event) => {
      resolve((event as unknown as { code: number }).code);
    });
  });
  socket.connect();
  await socket.waitForOpen();
  return { socket, messages, errors, closed, openCount: () => openCount };
}

void describe('clients of Deepgram', () => {
  let server: RealServer;
  before(async () => {
    server = await startRealServer(FEW_WORKERS);
  });
  after(async () => {
    await server.close();
  });

  it('[DG1] the present SDK gets interims, the text, and an end without an error or a reconnect', async () => {
    const pcm = concat(await synthesise(SENTENCE, { voice: 'rms' }), silence(700));
    const stream = await openStream(server, {
      encoding: 'linear16',
      sample_rate: 16_000,
      vad_events: 'true',
    });
    await play(pcmMessages(pcm, { rate: 16_000, channels: 1 }), (bytes) => {
      stream.socket.sendMedia(bytes);
    });
    stream.socket.sendKeepAlive({ type: 'KeepAlive' });
    stream.socket.sendCloseStream({ type: 'CloseStream' });
    assert.equal(await stream.closed, 1000);
    const { messages } = stream;
    assert.ok(messages.some(({ type }) => type === 'SpeechStarted'));
    assert.ok(
      messages.some((message) => message.is_final === false),
      'there are interims',
    );
    assert.ok(
      messages.some((message) => message.speech_final === true),
      'the pause is told',
    );
    assert.ok(wordErrorRate(SENTENCE, textOf(messages, true)) <= 0.15, textOf(messages, true));
    assert.equal(textOf(messages, true), textOf(messages, true).toLowerCase());
    assert.equal(messages.at(-1)?.type, 'Metadata');
    assert.match(messages.at(-1)?.sha256 ?? '', /^[0-9a-f]{64}$/);
    assert.deepEqual(stream.errors, []);
    // It opens another stream 1 to 5 s after an end that it takes for a failure.
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    assert.equal(stream.openCount(), 1);
    stream.socket.close();
  });

  it('[DG2] bare Opus packets are heard, formatted on request', async () => {
    const stream = await openStream(server, { encoding: 'opus', smart_format: 'true' });
    const packets = encodeOpus(await synthesise(SENTENCE, { voice: 'rms' }));
    await play(
      packets,
      (packet) => {
        stream.socket.sendMedia(packet);
      },
      5,
    );
    stream.socket.sendCloseStream({ type: 'CloseStream' });
    assert.equal(await stream.closed, 1000);
    const text = textOf(stream.messages, true);
    assert.ok(wordErrorRate(SENTENCE, text) <= 0.15, text);
    assert.match(text, /^[A-Z].*\.$/);
    stream.socket.close();
  });

  it('[DG3] Finalize gives the text at once and the stream goes on, also where there is none', async () => {
    const stream = await openStream(server, { encoding: 'linear16', sample_rate: 16_000 });
    const answers = (): number =>
      stream.messages.filter(({ from_finalize }) => from_finalize === true).length;
    const until = async (count: number): Promise<void> => {
      while (answers() < count) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    stream.socket.sendFinalize({ type: 'Finalize' });
    await until(1);
    assert.equal(textOf(stream.messages, true), '');
    for (const sentence of ['good morning everybody', 'the museum shows paintings of horses']) {
      const count = answers();
      await play(
        pcmMessages(await synthesise(sentence), { rate: 16_000, channels: 1 }),
        (bytes) => {
          stream.socket.sendMedia(bytes);
        },
        5,
      );
      stream.socket.sendFinalize({ type: 'Finalize' });
      await until(count + 1);
    }
    stream.socket.sendCloseStream({ type: 'CloseStream' });
    assert.equal(await stream.closed, 1000);
    const said = 'good morning everybody the museum shows paintings of horses';
    assert.ok(wordErrorRate(said, textOf(stream.messages, true)) <= 0.2, textOf(stream.messages, true));
    assert.equal(answers(), 3);
    stream.socket.close();
  });

  it('[DG4] two channels are heard each by itself', async () => {
    const left = await synthesise('good morning everybody', { voice: 'rms' });
    const right = await synthesise('the museum shows paintings of horses', { voice: 'slt' });
    const frames = new Int16Array(2 * Math.max(left.length, right.length));
    for (let i = 0; i < frames.length / 2; i++) {
      frames[2 * i] = left[i] ?? 0;
      frames[2 * i + 1] = right[i] ?? 0;
    }
    const stream = await openStream(server, {
      ...{ encoding: 'linear16', sample_rate: 16_000, channels: 2, multichannel: 'true' },
    });
    const bytes = new Uint8Array(frames.buffer);
    // An odd cut, in the middle of a sample.
    for (let start = 0; start < bytes.length; start += 6_401) {
      stream.socket.sendMedia(bytes.slice(start, start + 6_401));
    }
    stream.socket.sendCloseStream({ type: 'CloseStream' });
    assert.equal(await stream.closed, 1000);
    for (const [channel, said] of [
      'good morning everybody',
      'the museum shows paintings of horses',
    ].entries()) {
      const own = stream.messages.filter(({ channel_index }) => channel_index?.[0] === channel);
      assert.ok(wordErrorRate(said, textOf(own, true)) <= 0.2, textOf(own, true));
    }
    stream.socket.close();
  });

  it('[DG5] the SDK before it, still in use, gets the same', async () => {
    const url = server.url.replace('http', 'ws');
    const client = createClient('k', { global: { websocket: { options: { url } } } });
    const live = client.listen.live({
      ...{ model: 'nova-2', interim_results: true, encoding: 'linear16', sample_rate: 16_000 },
    });
    const messages: Message[] = [];
    const unhandled: unknown[] = [];
    live.on('Results', (message: Message) => messages.push(message));
    live.on('Metadata', (message: Message) => messages.push(message));
    live.on('Unhandled', (message) => unhandled.push(message));
    live.on('error', (error) => unhandled.push(error));
    await new Promise((resolve) => {
      live.on('open', resolve);
    });
    await play(
      pcmMessages(await synthesise(SENTENCE, { voice: 'rms' }), { rate: 16_000, channels: 1 }),
      (bytes) => {
        live.send(bytes.slice().buffer);
      },
    );
    live.keepAlive();
    const closed = new Promise((resolve) => {
      live.on('close', resolve);
    });
    live.requestClose();
    await closed;
    assert.ok(
      messages.some((message) => message.is_final === false),
      'there are interims',
    );
    assert.ok(wordErrorRate(SENTENCE, textOf(messages, true)) <= 0.15, textOf(messages, true));
    assert.equal(messages.at(-1)?.type, 'Metadata');
    assert.deepEqual(unhandled, []);
  });

  it('[DG6] a recorded file is answered whole, by either SDK', async () => {
    const wav = wavOf(await synthesise(SENTENCE, { voice: 'rms' }));
    const client = new DeepgramClient({
      ...{ apiKey: 'k', baseUrl: server.url },
    });
    const answer = await client.listen.v1.media.transcribeFile(wav, { model: 'nova-3', punctuate: true });
    assert.ok('results' in answer);
    const alternative = answer.results.channels[0]?.alternatives?.[0];
    assert.ok(wordErrorRate(SENTENCE, alternative?.transcript ?? '') <= 0.15, alternative?.transcript);
    assert.ok((alternative?.words?.length ?? 0) >= 8);
    const older = createClient('k', { global: { fetch: { options: { url: server.url } } } });
    const { result, error } = await older.listen.prerecorded.transcribeFile(wav, { model: 'nova-2' });
    assert.equal(error, null);
    const text = result.results.channels[0]?.alternatives[0]?.transcript ?? '';
    assert.ok(wordErrorRate(SENTENCE, text) <= 0.15, text);
  });

  it('[DG8] what a MediaRecorder sends is heard without a word about its encoding', async () => {
    const stream = await openStream(server, {});
    const recorded = liveWebm(
      encodeOpus(await synthesise(SENTENCE, { voice: 'rms' })).map((packet) =>
        element(0xa3, webmBlock(packet)),
      ),
    );
    // Slices are cut anywhere.
    for (let start = 0; start < recorded.length; start += 777) {
      stream.socket.sendMedia(recorded.subarray(start, start + 777));
    }
    stream.socket.sendCloseStream({ type: 'CloseStream' });
    assert.equal(await stream.closed, 1000);
    assert.ok(wordErrorRate(SENTENCE, textOf(stream.messages, true)) <= 0.15, textOf(stream.messages, true));
    stream.socket.close();
  });
});
