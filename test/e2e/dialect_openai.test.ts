import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { OpenAIRealtimeWebSocket } from '@openai/agents-realtime';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import OpenAI6 from 'openai-sdk-6';
import { OpenAIRealtimeWS as OpenAIRealtimeWS6 } from 'openai-sdk-6/realtime/ws';
import { WebSocket } from 'ws';
import { pcmMessages, play } from '../support/pcm_messages.ts';
import { FEW_WORKERS, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { wavOf } from '../support/wav.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'the quick brown fox jumps over the lazy dog';
const OTHER = 'the museum shows paintings of horses';

/** What the tests look at in an event, of whatever SDK. */
interface Event {
  readonly type: string;
  readonly item_id?: string;
  readonly previous_item_id?: string | null;
  readonly delta?: string;
  readonly transcript?: string;
  readonly item?: {
    readonly id: string;
    readonly content: readonly { readonly transcript: string | null }[];
  };
}
const COMPLETED = 'conversation.item.input_audio_transcription.completed';
const DELTA = 'conversation.item.input_audio_transcription.delta';

/** Everything an SDK heard, and a way to wait for more of it. */
class Heard {
  readonly events: Event[] = [];
  #wake: (() => void)[] = [];

  readonly push = (event: unknown): void => {
    this.events.push(event as Event);
    for (const wake of this.#wake.splice(0)) wake();
  };

  of(type: string): readonly Event[] {
    return this.events.filter((event) => event.type === type);
  }

  async count(type: string, count: number): Promise<readonly Event[]> {
    while (this.of(type).length < count) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.of(type);
  }
}

/** The SDK insists on TLS; its own options of `ws` can leave that out. */
const plainTcp = {
  createConnection: (options: unknown): Socket => {
    const { host, port } = options as { host: string; port: string };
    return connect({ host, port: Number(port) });
  },
};

/** What the two SDKs have in common; their types only overlap. */
interface RealtimeClient {
  on(event: 'event' | 'error', listener: (event: unknown) => void): unknown;
  send(event: object): void;
  close(): void;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

async function speech(text: string, rate: number, pauseMs = 0): Promise<Uint8Array[]> {
  return pcmMessages(concat(await synthesise(text, { voice: 'rms' }), silence(pauseMs)), {
    rate,
    channels: 1,
  });
}

void describe('clients of OpenAI', () => {
  let server: RealServer;
  before(async () => {
    server = await startRealServer(FEW_WORKERS);
  });
  after(async () => {
    await server.close();
  });

  const SDKS = {
    'openai 7': () =>
      new OpenAIRealtimeWS(
        { intent: 'transcription', options: plainTcp },
        new OpenAI({ apiKey: 'k', baseURL: `${server.url}/v1` }),
      ),
    'openai 6': () =>
      new OpenAIRealtimeWS6(
        { model: 'gpt-4o-transcribe', options: plainTcp },
        new OpenAI6({ apiKey: 'k', baseURL: `${server.url}/v1` }),
      ),
  };
  for (const [name, open] of Object.entries(SDKS)) {
    it(`[OAI1] ${name}: two turns by voice activity, partials as deltas, no error`, async () => {
      const client = open() as unknown as RealtimeClient;
      const heard = new Heard();
      const errors: unknown[] = [];
      client.on('event', heard.push);
      client.on('error', (error: unknown) => errors.push(error));
      await heard.count('session.created', 1);
      client.send({ type: 'session.update', session: { type: 'transcription', audio: { input: {} } } });
      await heard.count('session.updated', 1);
      for (const said of [SENTENCE, OTHER]) {
        await play(await speech(said, 24_000, 900), (bytes) => {
          client.send({ type: 'input_audio_buffer.append', audio: base64(bytes) });
        });
      }
      const completed = await heard.count(COMPLETED, 2);
      client.close();
      assert.ok(wordErrorRate(SENTENCE, completed[0]?.transcript ?? '') <= 0.15, completed[0]?.transcript);
      assert.ok(wordErrorRate(OTHER, completed[1]?.transcript ?? '') <= 0.2, completed[1]?.transcript);
      const [one, two] = heard.of('input_audio_buffer.committed');
      assert.deepEqual([one?.previous_item_id, two?.previous_item_id], [null, one?.item_id]);
      const first = heard.events.filter(({ item_id, item }) => (item_id ?? item?.id) === one?.item_id);
      const types = first.map(({ type }) => type);
      assert.deepEqual(
        types.filter((type) => type !== DELTA),
        [
          'input_audio_buffer.speech_started',
          'input_audio_buffer.speech_stopped',
          'input_audio_buffer.committed',
          'conversation.item.added',
          'conversation.item.done',
          COMPLETED,
        ],
      );
      assert.ok(
        types.indexOf(DELTA) < types.indexOf('input_audio_buffer.committed'),
        'deltas come while one speaks',
      );
      assert.deepEqual(errors, []);
    });
  }

  it('[OAI2] @openai/agents-realtime: without turn detection a turn ends where the client commits', async () => {
    const client = new OpenAIRealtimeWebSocket({
      ...{ url: `${server.url.replace('http', 'ws')}/v1/realtime?intent=transcription` },
    });
    const heard = new Heard();
    const errors: unknown[] = [];
    client.on('*', heard.push);
    client.on('error', (error) => errors.push(error));
    await client.connect({
      apiKey: 'k',
      initialSessionConfig: {
        providerData: { type: 'transcription' },
        audio: { input: { transcription: { model: 'whatever' }, turnDetection: null } },
      },
    });
    // A pause of two seconds ends nothing.
    await play(
      [...(await speech(SENTENCE, 24_000, 2_000)), ...(await speech(OTHER, 24_000))],
      (bytes) => {
        client.sendAudio(bytes.slice().buffer);
      },
      4,
    );
    client.sendEvent({ type: 'input_audio_buffer.commit' });
    const [completed] = await heard.count(COMPLETED, 1);
    await heard.count('conversation.item.retrieved', 1);
    client.close();
    const said = `${SENTENCE} ${OTHER}`;
    assert.ok(wordErrorRate(said, completed?.transcript ?? '') <= 0.2, completed?.transcript);
    assert.equal(heard.of('input_audio_buffer.committed').length, 1);
    assert.deepEqual(heard.of('input_audio_buffer.speech_started'), []);
    const [retrieved] = heard.of('conversation.item.retrieved');
    assert.equal(retrieved?.item?.content[0]?.transcript, completed?.transcript);
    assert.deepEqual(errors, []);
  });

  it('[OAI3] the form of the beta: its own session, one event for a new item', async () => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/realtime?intent=transcription`, {
      headers: { 'OpenAI-Beta': 'realtime=v1' },
    });
    const heard = new Heard();
    socket.on('message', (bytes: Buffer) => {
      heard.push(JSON.parse(bytes.toString()));
    });
    await heard.count('transcription_session.created', 1);
    const send = (event: object): void => {
      socket.send(JSON.stringify(event));
    };
    send({
      type: 'transcription_session.update',
      session: {
        input_audio_format: 'pcm16',
        turn_detection: null,
        input_audio_transcription: { language: 'en' },
      },
    });
    await heard.count('transcription_session.updated', 1);
    for (const bytes of await speech(SENTENCE, 24_000)) {
      send({ type: 'input_audio_buffer.append', audio: base64(bytes) });
    }
    send({ type: 'input_audio_buffer.commit' });
    const [completed] = await heard.count(COMPLETED, 1);
    assert.ok(wordErrorRate(SENTENCE, completed?.transcript ?? '') <= 0.15, completed?.transcript);
    assert.equal(heard.of('conversation.item.created').length, 1);
    assert.deepEqual(heard.of('error'), []);
    socket.close();
  });

  it('[OAI4] G.711 as base64', async () => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/realtime`);
    const heard = new Heard();
    socket.on('message', (bytes: Buffer) => {
      heard.push(JSON.parse(bytes.toString()));
    });
    await heard.count('session.created', 1);
    const send = (event: object): void => {
      socket.send(JSON.stringify(event));
    };
    const input = { format: { type: 'audio/pcmu' }, turn_detection: null };
    send({ type: 'session.update', session: { audio: { input } } });
    for (const bytes of await speech(SENTENCE, 8_000)) {
      send({ type: 'input_audio_buffer.append', audio: base64(muLaw(bytes)) });
    }
    send({ type: 'input_audio_buffer.commit' });
    const [completed] = await heard.count(COMPLETED, 1);
    // Telephone bandwidth costs words, over the native protocol too.
    assert.ok(wordErrorRate(SENTENCE, completed?.transcript ?? '') <= 0.35, completed?.transcript);
    socket.close();
  });

  it('[OAI5] a recorded file over HTTP, in every form', async () => {
    const wav = wavOf(
      concat(await synthesise(SENTENCE, { voice: 'rms' }), silence(800), await synthesise(OTHER)),
    );
    const client = new OpenAI({ apiKey: 'k', baseURL: `${server.url}/v1` });
    const file = (): File => new File([wav], 'speech.wav', { type: 'audio/wav' });
    const said = `${SENTENCE} ${OTHER}`;
    const { text } = await client.audio.transcriptions.create({ file: file(), model: 'whisper-1' });
    assert.ok(wordErrorRate(said, text) <= 0.2, text);
    const verbose = await client.audio.transcriptions.create({
      ...{ file: file(), model: 'whisper-1', response_format: 'verbose_json' },
      timestamp_granularities: ['word', 'segment'],
    });
    assert.equal(verbose.segments?.length, 2);
    assert.ok((verbose.words?.length ?? 0) >= 13);
    assert.ok(verbose.duration > 4);
    const srt = await client.audio.transcriptions.create({
      ...{ file: file(), model: 'whisper-1', response_format: 'srt' },
    });
    assert.match(srt, /^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n/);
    const vtt = await client.audio.transcriptions.create({
      ...{ file: file(), model: 'whisper-1', response_format: 'vtt' },
    });
    assert.match(vtt, /^WEBVTT\n/);
  });
});

/** ITU-T G.711, mu-law, of 16-bit samples. */
function muLaw(bytes: Uint8Array): Uint8Array {
  const samples = new Int16Array(bytes.slice().buffer);
  return Uint8Array.from(samples, (sample) => {
    const magnitude = Math.min(32_635, Math.abs(sample)) + 132;
    const exponent = Math.floor(Math.log2(magnitude)) - 7;
    const mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | mantissa) & 0xff;
  });
}
