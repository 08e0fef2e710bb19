import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { ServeProcess } from '../chaos/serve_process.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { synthesise } from '../support/speech.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'the quick brown fox jumps over the lazy dog';

void describe('serve, signalled as a whole', { skip: process.platform === 'win32' }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`[CLI18] ${signal} to every process at once in mid-word loses nothing`, async () => {
      const serve = await ServeProcess.spawn({ flags: ['--port', '0', '--admin-port', '0'], isGroup: true });
      try {
        const { url } = await serve.addresses();
        const client = await RawClient.enter(url, 'encoding=opus');
        const packets = encodeOpus(await synthesise(SENTENCE, { voice: 'rms' }));
        const said = Math.floor(packets.length / 2);
        for (const packet of packets.slice(0, said)) client.sendBytes(packet);
        await client.next('speechStart');
        serve.signalGroup(signal);
        await client.next('goAway');
        for (const packet of packets.slice(said)) client.sendBytes(packet);
        assert.equal((await client.closed).code, 1012);
        assert.equal(client.messages.at(-1)?.type, 'done');
        const text = joinedText(client.of('final'));
        assert.ok(wordErrorRate(SENTENCE, text) <= 0.15, text);
        assert.equal((await serve.exited).code, 0, serve.text);
      } finally {
        await serve.remove();
      }
    });
  }
});
