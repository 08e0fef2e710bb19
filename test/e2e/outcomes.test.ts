import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { seededRandom } from '../support/random.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { fetchSample, startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { transportsHere } from '../support/transports.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'the quick brown fox jumps over the lazy dog';

for (const transport of transportsHere()) {
  void describe(`what becomes of unusual audio and unusual clients (${transport})`, () => {
    let server: RealServer;
    before(async () => {
      server = await startRealServer({ transport });
    });
    after(async () => {
      await server.close();
    });

    it('[OUT1] a microphone muted in mid-word: the final comes by the wall clock, the session lives', async () => {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      const pcm = await synthesise(SENTENCE, { voice: 'rms' });
      client.sendOpus(pcm.subarray(0, pcm.length / 2));
      const final = await client.next('final');
      assert.match(final.text.toLowerCase(), /quick brown/);
      client.sendOpus(await synthesise('good morning', { voice: 'rms' }));
      const finals = await client.finish();
      assert.equal(finals.length, 2);
      assert.match(joinedText(finals).toLowerCase(), /good morning/);
    });

    it('[OUT2] a client that vanishes frees its session, and nothing else notices', async () => {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      client.sendOpus(await synthesise('good morning'));
      await client.next('speechStart');
      const abandoned = 'earwitness_sessions_total{dialect="native",outcome="abandoned"}';
      const before = await fetchSample(server, abandoned);
      client.socket.terminate();
      while ((await fetchSample(server, abandoned)) !== before + 1) await new Promise(setImmediate);
      assert.equal(await fetchSample(server, 'earwitness_sessions_active'), 0);
    });

    it('[OUT3] some garbage among good packets is concealed, told once per burst, and the words survive', async () => {
      const random = seededRandom(7);
      const client = await RawClient.enter(server.url, 'encoding=opus');
      const words = encodeOpus(await synthesise(SENTENCE, { voice: 'rms' }));
      // A burst is over after a hundred good packets, which is 2 s.
      const pause = encodeOpus(silence(2_500));
      for (const burst of ['first', 'second']) {
        for (const [index, packet] of words.entries()) {
          client.sendBytes(packet);
          // A frame count of zero is never valid (RFC 6716, code 3).
          if (index % 25 === 24) client.sendBytes(Uint8Array.of(3, 0, Math.floor(random() * 256)));
        }
        if (burst === 'first') for (const packet of pause) client.sendBytes(packet);
      }
      const text = joinedText(await client.finish());
      assert.ok(words.length >= 50, 'more than one of a burst is bad');
      assert.deepEqual(
        client.of('notice').map(({ code }) => code),
        ['packets_lost', 'packets_lost'],
      );
      assert.ok(wordErrorRate(`${SENTENCE} ${SENTENCE}`, text) <= 0.35, text);
    });

    it('[OUT4] nothing but garbage ends the session with 4415 and says what to send', async () => {
      const random = seededRandom(11);
      const client = await RawClient.enter(server.url, 'encoding=opus');
      for (let i = 0; i < 200; i++)
        client.sendBytes(Uint8Array.from({ length: 60 }, () => Math.floor(random() * 256)));
      const closing = await client.closed;
      assert.equal(closing.code, 4415);
      assert.match(client.of('error')[0]?.message ?? '', /not opus/);
    });

    it('[OUT5] an empty message is ignored and counted', async () => {
      const ignored = 'earwitness_packets_total{outcome="ignored"}';
      const before = await fetchSample(server, ignored);
      const client = await RawClient.enter(server.url, 'encoding=opus');
      client.sendBytes(new Uint8Array(0));
      client.sendOpus(silence(100));
      assert.deepEqual(await client.finish(), []);
      assert.equal(client.of('notice').length, 0);
      assert.equal(await fetchSample(server, ignored), before + 1);
    });

    it('[OUT6] raw PCM sent as Opus ends the session with 4415', async () => {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      const pcm = await synthesise(SENTENCE);
      for (let start = 0; start + 320 <= pcm.length; start += 320) {
        client.sendBytes(new Uint8Array(pcm.slice(start, start + 320).buffer));
      }
      const closing = await client.closed;
      assert.equal(closing.code, 4415, JSON.stringify(client.messages));
      assert.deepEqual(
        client.of('final').filter((final) => final.text !== ''),
        [],
      );
    });

    it('[OUT7] a file header sent as Opus is recognised at once', async () => {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      client.sendBytes(new TextEncoder().encode('RIFF\0\0\0\0WAVEfmt '));
      assert.equal((await client.closed).code, 4415);
    });

    it('[OUT8] thirty-one seconds without a pause become several utterances, none too long, no audio lost', async () => {
      const words = await synthesise(SENTENCE, { voice: 'rms' });
      const trimmed = words.subarray(0, words.length - 1_600);
      const rounds = Math.ceil((31 * 16_000) / trimmed.length);
      const speech = concat(...Array.from({ length: rounds }, () => trimmed));
      const client = await RawClient.enter(
        server.url,
        'encoding=opus&endpointing.silenceMs=3000&maxUtteranceMs=10000',
      );
      client.sendOpus(speech);
      const finals = await client.finish();
      assert.ok(finals.length >= 4, `${finals.length} utterances`);
      for (const [index, final] of finals.entries()) {
        assert.ok(final.endAudioMs - final.startAudioMs <= 10_032);
        const next = finals[index + 1];
        if (next !== undefined) assert.equal(next.startAudioMs, final.endAudioMs);
      }
      const last = finals.at(-1);
      assert.ok(last !== undefined && last.endAudioMs >= 30_500, 'the end was heard');
      const spoken = Array.from({ length: rounds }, () => SENTENCE).join(' ');
      const rate = wordErrorRate(spoken, joinedText(finals));
      assert.ok(rate <= 0.15, `${rate} of the words were lost, added or misheard: ${joinedText(finals)}`);
    });

    it('[OUT9] words of 200 ms between silences are each an utterance of their own', async () => {
      const word = await synthesise('yes', { voice: 'kal16' });
      const short = loudest(word, 200);
      const client = await RawClient.enter(server.url, 'encoding=opus');
      client.sendOpus(
        concat(silence(1_000), short, silence(1_000), short, silence(1_000), short, silence(1_000)),
      );
      const finals = await client.finish();
      assert.equal(finals.length, 3);
    });

    it('[OUT10] audio before start, a bad start and an oversize message each have their own close code', async () => {
      const early = await RawClient.enter(server.url);
      early.sendBytes(Uint8Array.of(1, 2, 3));
      assert.deepEqual(await early.closed, { code: 4400, reason: 'not_started' });

      const bad = await RawClient.enter(server.url);
      bad.send({ type: 'start', version: 1, audio: { encoding: 'mp3' } });
      assert.deepEqual(await bad.closed, { code: 4400, reason: 'bad_settings' });
      assert.match(bad.of('error')[0]?.message ?? '', /audio\.encoding/);

      const large = await RawClient.enter(server.url, 'encoding=opus');
      large.sendBytes(new Uint8Array(1_501));
      assert.deepEqual(await large.closed, { code: 1009, reason: 'message_too_large' });
    });

    it('[OUT11] silence has no words: no utterance, no text', async () => {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      client.sendOpus(silence(20_000));
      assert.deepEqual(await client.finish(), []);
      assert.deepEqual(
        client.messages.map((message) => message.type),
        ['ready', 'done'],
      );
    });
  });
}

/** The loudest stretch of this length. */
function loudest(pcm: Int16Array, durationMs: number): Int16Array {
  const length = durationMs * 16;
  let best = 0;
  let bestEnergy = -1;
  for (let start = 0; start + length <= pcm.length; start += 160) {
    const energy = pcm.subarray(start, start + length).reduce((sum, sample) => sum + sample * sample, 0);
    if (energy > bestEnergy) [best, bestEnergy] = [start, energy];
  }
  return pcm.slice(best, best + length);
}
