import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { OggOutputFormat, WebMOutputFormat } from 'mediabunny';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { cutInto, muxed } from '../support/containers.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { fetchSample, fetchWorkers, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { wavOf } from '../support/wav.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

/** A refusal for load lasts as long as the load is above its bound, on the mean of five seconds. */
const OPEN_ATTEMPTS = 60;
const OPEN_PAUSE_MS = 500;
const SENTENCE = 'the quick brown fox jumps over the lazy dog';

/** Sends messages in several turns of the event loop, so that the server gets them in several, too. */
async function sendAll(client: RawClient, messages: readonly Uint8Array[]): Promise<void> {
  for (const [i, message] of messages.entries()) {
    client.sendBytes(message);
    if (i % 100 === 99) await new Promise(setImmediate);
  }
}

/** Thousands of tiny messages at once are load, for which the next sessions may be refused: then it is tried again. */
async function open(serverUrl: string, query: string): Promise<RawClient> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await RawClient.enter(serverUrl, query);
    } catch (error) {
      if (attempt === OPEN_ATTEMPTS || !String(error).includes('503')) throw error;
      await new Promise((resolve) => setTimeout(resolve, OPEN_PAUSE_MS));
    }
  }
}

void describe('containers through a whole server', () => {
  let server: RealServer;
  let speech: Int16Array;
  let files: Record<'ogg' | 'webm' | 'live webm', Uint8Array>;
  let expected: readonly string[];
  before(async () => {
    server = await startRealServer({ audioWorkers: 1, audioSpares: 1 });
    const words = await synthesise(SENTENCE, { voice: 'rms' });
    speech = concat(
      silence(300),
      words,
      silence(800),
      await synthesise('good morning', { voice: 'rms' }),
      silence(800),
    );
    const packets = encodeOpus(speech);
    files = {
      ogg: await muxed(packets, new OggOutputFormat({ maximumPageDuration: 0.1 })),
      webm: await muxed(packets, new WebMOutputFormat()),
      'live webm': await muxed(
        packets,
        new WebMOutputFormat({ appendOnly: true, minimumClusterDuration: 0.1 }),
      ),
    };
    const client = await open(server.url, 'encoding=opus');
    await sendAll(client, packets);
    expected = textsOf(client, await client.finish());
    assert.equal(expected.length, 2);
  });
  after(async () => {
    await server.close();
  });

  /** What was heard, and where. */
  function textsOf(client: RawClient, finals: Awaited<ReturnType<RawClient['finish']>>): string[] {
    assert.deepEqual(client.of('error'), []);
    return finals.map(({ text, startAudioMs, endAudioMs }) => `${startAudioMs} ${endAudioMs} ${text}`);
  }

  // Shares of a second; 1 byte; and what Node reads of a file at a time.
  for (const [name, query, sizes] of [
    ['ogg', 'encoding=ogg_opus', ['100 ms', '1000 ms']],
    ['ogg', 'encoding=auto', ['1 byte', '250 ms']],
    ['webm', 'partials=true', ['65536 bytes', '250 ms']],
    ['live webm', 'encoding=webm_opus', ['1 byte', '100 ms', '1000 ms']],
  ] as const) {
    it(`[CON15] ${name} with ?${query}, in messages of ${sizes.join(' or ')}, gives the same finals as bare packets`, async () => {
      const bytes = files[name];
      for (const size of sizes) {
        const count = Number.parseInt(size, 10);
        const messageBytes = size.endsWith('ms')
          ? Math.ceil((count * 16 * bytes.length) / speech.length)
          : count;
        const client = await open(server.url, query);
        await sendAll(client, cutInto(bytes, [messageBytes]));
        assert.deepEqual(textsOf(client, await client.finish()), expected, size);
      }
    });
  }

  it('[CON15] slices of a second in real time are no pause: words that go on over them are one utterance', async () => {
    const words = await synthesise(SENTENCE, { voice: 'rms' });
    const bytes = await muxed(
      encodeOpus(words),
      new WebMOutputFormat({ appendOnly: true, minimumClusterDuration: 0.1 }),
    );
    const client = await open(server.url, '');
    client.send({ type: 'start', version: 1 });
    for (const slice of cutInto(bytes, [Math.ceil((bytes.length * 16_000) / words.length)])) {
      client.sendBytes(slice);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    const finals = await client.finish();
    assert.equal(finals.length, 1);
    assert(wordErrorRate(SENTENCE, joinedText(finals)) <= 0.15, joinedText(finals));
  });

  it('[CON16] an audio worker that dies in the middle of a container changes nothing', async () => {
    for (const name of ['ogg', 'live webm'] as const) {
      const client = await open(server.url, 'encoding=auto');
      const messages = cutInto(files[name], [211]);
      const half = Math.floor(messages.length / 2);
      await sendAll(client, messages.slice(0, half));
      await client.next('speechStart');
      const replays = await fetchSample(server, 'earwitness_replays_total');
      const workers = await fetchWorkers(server);
      for (const { role, state, pid } of workers)
        if (role === 'audio' && state === 'ready') process.kill(pid, 'SIGKILL');
      await sendAll(client, messages.slice(half));
      assert.deepEqual(textsOf(client, await client.finish()), expected, name);
      assert((await fetchSample(server, 'earwitness_replays_total')) > replays);
    }
  });

  it('[ENC7] WAV, floats and G.711 come back as their text', async () => {
    const words = await synthesise(SENTENCE, { voice: 'rms' });
    const floats = Float32Array.from(words, (sample) => sample / 32_768);
    const stereo48 = Int16Array.from({ length: words.length * 6 }, (_, i) => words[Math.floor(i / 6)] ?? 0);
    for (const [query, bytes] of [
      ['', wavOf(words, { dataBytes: 0 })],
      ['encoding=wav', wavOf(stereo48, { sampleRateHz: 48_000, channels: 2, bitsPerSample: 24 })],
      ['encoding=pcm_f32le', new Uint8Array(floats.buffer)],
      ['encoding=mulaw&sampleRateHz=16000', Uint8Array.from(words, compressMuLaw)],
      ['', wavOf(Uint8Array.from(words, compressMuLaw), { tag: 7, bitsPerSample: 8 })],
    ] as const) {
      const client = await open(server.url, query);
      if (query === '') client.send({ type: 'start', version: 1, audio: {} });
      await sendAll(client, cutInto(bytes, [6_401]));
      const finals = await client.finish();
      assert.deepEqual(client.of('error'), []);
      assert(wordErrorRate(SENTENCE, joinedText(finals)) <= 0.15, `${query}: ${joinedText(finals)}`);
    }
  });

  it('[ENC5] MP4, bare packets and nothing known end with 4415 and with what to do', async () => {
    for (const [bytes, words] of [
      [Buffer.from('\0\0\0\x20ftypM4A '), /audio\/webm;codecs=opus/],
      [encodeOpus(speech)[0] ?? new Uint8Array(1), /name `audio.encoding`/],
      [Buffer.from('fLaC'), /FLAC/],
    ] as const) {
      const client = await open(server.url, 'encoding=auto');
      for (const message of cutInto(bytes, [1])) client.sendBytes(message);
      assert.equal((await client.closed).code, 4415);
      assert.match(client.of('error')[0]?.message ?? '', words);
    }
  });

  it('[CON12] a recording of half a minute may come at once, one of several minutes is too fast', async () => {
    const packets = encodeOpus(speech);
    const repeated = async (times: number): Promise<Uint8Array[]> => {
      const all = Array.from({ length: times }, () => packets).flat();
      return cutInto(await muxed(all, new OggOutputFormat()), [65_536]);
    };
    const short = await open(server.url, 'encoding=auto');
    await sendAll(short, await repeated(4));
    assert.equal((await short.finish()).length, 8);
    assert.deepEqual(short.of('notice'), []);
    const long = await open(server.url, 'encoding=auto');
    await sendAll(long, await repeated(12));
    for (;;) {
      // What is decoded counts at the next message: a client that goes on is told.
      if (long.socket.readyState !== long.socket.OPEN) break;
      long.sendBytes(Uint8Array.of(0));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(await long.closed, { code: 4429, reason: 'too_fast' });
  });
});

/** ITU-T G.711 mu-law: sign, the place of the highest bit, and the four bits behind it. */
function compressMuLaw(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(32_635, Math.abs(sample)) + 0x84;
  const exponent = 24 - Math.clz32(magnitude);
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)) & 0xff;
}
