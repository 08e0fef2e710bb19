import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pcmMessages } from '../support/pcm_messages.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { startRealServer, type RealServer } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import { transportsHere } from '../support/transports.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'the quick brown fox jumps over the lazy dog';

for (const transport of transportsHere()) {
  void describe(`a whole server, real models, synthetic speech (${transport})`, () => {
    let server: RealServer;
    before(async () => {
      server = await startRealServer({ transport });
    });
    after(async () => {
      await server.close();
    });

    for (const query of [
      'encoding=opus',
      'encoding=pcm_s16le',
      'encoding=pcm_s16le&sampleRateHz=48000&channels=2',
      'encoding=pcm_s16le&sampleRateHz=8000',
    ]) {
      it(`[E2E1] speech sent as ${query} comes back as text`, async () => {
        const pcm = await synthesise(SENTENCE, { voice: 'rms' });
        const client = await RawClient.enter(server.url, query);
        const rate = Number(new URLSearchParams(query).get('sampleRateHz') ?? 16_000);
        const channels = Number(new URLSearchParams(query).get('channels') ?? 1);
        if (query === 'encoding=opus') client.sendOpus(pcm);
        else for (const message of pcmMessages(pcm, { rate, channels })) client.sendBytes(message);
        const finals = await client.finish();
        // Telephone bandwidth costs the recogniser some words; the path must not cost more.
        const allowed = rate === 8_000 ? 0.35 : 0.15;
        assert.ok(wordErrorRate(SENTENCE, joinedText(finals)) <= allowed, joinedText(finals));
      });
    }

    it('[E2E2] ready, speechStart, speechEnd, final, done come in that order and close with 1000', async () => {
      const client = await RawClient.enter(server.url);
      client.send({ type: 'start', version: 1, audio: { encoding: 'opus' }, words: true });
      client.sendOpus(await synthesise(SENTENCE));
      const finals = await client.finish();
      assert.deepEqual(
        client.messages.map((message) => message.type).filter((type) => type !== 'partial'),
        ['ready', 'speechStart', 'speechEnd', 'final', 'done'],
      );
      assert.deepEqual(await client.closed, { code: 1000, reason: '' });
      const [final] = finals;
      assert.ok(final?.words !== undefined && final.words.length > 5);
      assert.ok(final.words.every((word) => word.estimated));
      assert.equal(final.ackedAudioMs, final.endAudioMs);
    });

    it('[E2E3] flush gives the final at once and the stream goes on', async () => {
      const client = await RawClient.enter(server.url, 'encoding=opus');
      client.sendOpus(await synthesise('good morning'));
      client.send({ type: 'flush', id: 'one' });
      await client.next('flushed');
      const types = client.messages.map((message) => message.type);
      assert.ok(
        types.indexOf('final') !== -1 && types.indexOf('final') < types.indexOf('flushed'),
        types.join(),
      );
      client.sendOpus(await synthesise('this is the second sentence'));
      const finals = await client.finish();
      assert.deepEqual(
        finals.map((final) => final.utteranceId),
        [1, 2],
      );
    });

    it('[E2E4] partials come while somebody speaks, and their stable prefix is a prefix', async () => {
      const client = await RawClient.enter(server.url, 'encoding=pcm_s16le');
      const pcm = concat(await synthesise(SENTENCE), silence(200));
      for (const message of pcmMessages(pcm, { rate: 16_000, channels: 1 })) {
        client.sendBytes(message);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await client.finish();
      const partials = client.of('partial');
      assert.ok(partials.length >= 2, `${partials.length} partials in 3 s of speech`);
      for (const [index, partial] of partials.entries()) {
        assert.equal(partial.revision, index + 1);
        const before = partials[index - 1]?.text ?? '';
        const stable = partial.text.slice(0, partial.stableLength);
        assert.ok(before.startsWith(stable), `"${stable}" was in the partial before, "${before}"`);
      }
    });

    it('[E2E5] a resumed session goes on with its positions and utterance ids', async () => {
      const client = await RawClient.enter(server.url);
      client.send({
        type: 'start',
        version: 1,
        audio: { encoding: 'opus' },
        resume: { sessionId: 'an-earlier-one', fromAudioMs: 60_000, nextUtteranceId: 8 },
      });
      client.sendOpus(await synthesise('good morning'));
      const [final] = await client.finish();
      assert.equal(final?.utteranceId, 8);
      assert.ok(final.startAudioMs >= 60_000 && final.startAudioMs < 61_000, String(final.startAudioMs));
    });

    it("[E2E6] twenty sessions at once: each gets its own words and nobody else's", async () => {
      const texts = TWENTY_TEXTS;
      const speech = await Promise.all(texts.map((text) => synthesise(text, { voice: 'rms' })));
      const heard = await Promise.all(
        speech.map(async (pcm) => {
          const client = await RawClient.enter(server.url, 'encoding=opus');
          client.sendOpus(pcm);
          return joinedText(await client.finish());
        }),
      );
      for (const [index, text] of heard.entries()) {
        const distances = texts.map((candidate) => wordErrorRate(candidate, text));
        const nearest = distances.indexOf(Math.min(...distances));
        assert.equal(
          nearest,
          index,
          `"${text}" is nearer to "${texts[nearest] ?? ''}" than to "${texts[index] ?? ''}"`,
        );
        assert.ok((distances[index] ?? 1) < 0.75, `"${text}" for "${texts[index] ?? ''}"`);
      }
    });
  });
}

const TWENTY_TEXTS = [
  'the river runs under the old bridge',
  'my sister bought seven green apples',
  'please close the window before it rains',
  'the train to london leaves at noon',
  'a small dog sleeps beside the fire',
  'we counted thirty birds on the roof',
  'the doctor will see you on monday',
  'fresh bread smells best in the morning',
  'he painted the wooden fence white',
  'the children play football after school',
  'snow covered every road in the village',
  'she wrote a long letter to her mother',
  'the market opens early on saturday',
  'our teacher speaks three languages',
  'the captain turned the ship around',
  'coffee without sugar tastes bitter',
  'they planted tomatoes in the garden',
  'the music was far too loud last night',
  'a red car stopped outside the bank',
  'the museum shows paintings of horses',
] as const;
