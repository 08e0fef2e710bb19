import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PACED_RETRY_MS, PCM_MESSAGE_MAX_BYTES, SESSION_INFLIGHT_MAX_BYTES } from '../../pipeline/limits.ts';
import { voskDialect } from '../../server/dialects/vosk_dialect.ts';
import { DialectSetting } from '../support/dialect_setting.ts';
import { MESSAGE } from '../support/session_setting.ts';
import { wavOf } from '../support/wav.ts';

function open(): DialectSetting {
  return new DialectSetting(voskDialect);
}

describe('dialect of vosk', () => {
  it('[VOSK20] every message has one answer: the oldest result that is owed, else the utterance so far', async () => {
    const setting = open();
    const hear = (): void => {
      setting.listener.binary(MESSAGE.slice());
    };
    hear();
    setting.listener.binary(new Uint8Array(0));
    setting.track.start();
    await setting.show('Hello,');
    hear();
    setting.track.speak(500);
    setting.track.end();
    await setting.recognise('Hello, there.');
    await setting.utter('Bye.');
    for (let i = 0; i < 3; i++) hear();
    assert.deepEqual(
      setting.sent.map((reply) => reply['text'] ?? reply),
      [{ partial: '' }, { partial: '' }, { partial: 'hello' }, 'hello there', 'bye', { partial: '' }],
    );
    assert.deepEqual(setting.sent[4]?.['result'], [{ conf: 1, end: 2, start: 1, word: 'bye' }]);
  });

  it('[VOSK21] config is not answered; before the audio it names the rate, and the form of results', async () => {
    const setting = open();
    assert.equal(setting.track.settings?.format.sampleRateHz, 8_000);
    setting.say({ config: { sample_rate: 44_100.4, words: 0, max_alternatives: 3, phrase_list: ['x'] } });
    assert.deepEqual(setting.track.settings.format, {
      encoding: 'pcm_s16le',
      sampleRateHz: 44_100,
      channels: 1,
    });
    assert.equal(setting.registry.count, 1);
    assert.deepEqual(setting.sent, []);
    await setting.utter('Hello.');
    setting.listener.binary(MESSAGE.slice());
    assert.deepEqual(setting.sent, [{ alternatives: [{ text: 'hello', confidence: 1 }] }]);
    setting.say({ config: { sample_rate: 16_000 } });
    assert.equal(setting.track.settings.format.sampleRateHz, 44_100);
  });

  it('[VOSK22] a WAV file says itself what it is', () => {
    const setting = open();
    setting.listener.binary(wavOf(new Int16Array(320)));
    assert.equal(setting.track.settings?.format.encoding, 'wav');
    assert.equal(setting.sent.length, 1);
  });

  it('[VOSK23] eof has one last answer with everything that was not sent, then close 1000', async () => {
    const setting = open();
    setting.listener.binary(MESSAGE.slice());
    await setting.utter('one');
    setting.track.start();
    setting.track.speak(1_000);
    setting.say({ eof: 1 });
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('two');
    assert.equal(setting.sent.length, 2);
    assert.equal(setting.sent[1]?.['text'], 'one two');
    setting.assertClosed(1000);
    const empty = open();
    empty.say({ eof: 1 });
    empty.track.answerFlushes();
    assert.deepEqual(empty.sent, [{ text: '' }]);
    empty.assertClosed(1000);
  });

  it('[VOSK24] reset is answered before what comes after it', async () => {
    const setting = open();
    setting.say({ reset: 1 });
    setting.listener.binary(MESSAGE.slice());
    assert.deepEqual(setting.sent, []);
    setting.track.answerFlushes();
    await setting.clock.advance(PACED_RETRY_MS);
    assert.deepEqual(setting.sent, [{ text: '' }, { partial: '' }]);
    assert.deepEqual(setting.connection.closes, []);
    setting.listener.closed(1000);
    setting.assertNothingLeft();
  });

  it('[VOSK25] the answer waits until the audio is taken, and a client that does not wait is ended', async () => {
    const setting = open();
    setting.track.isBehind = true;
    setting.listener.binary(MESSAGE.slice());
    await setting.clock.advance(1_000);
    assert.deepEqual(setting.sent, []);
    setting.track.isBehind = false;
    await setting.clock.advance(PACED_RETRY_MS);
    assert.deepEqual(setting.sent, [{ partial: '' }]);
    setting.track.isBehind = true;
    const count = Math.ceil(SESSION_INFLIGHT_MAX_BYTES / PCM_MESSAGE_MAX_BYTES) + 1;
    for (let i = 0; i < count; i++) setting.listener.binary(new Uint8Array(PCM_MESSAGE_MAX_BYTES));
    setting.assertClosed(1_008, 'too_fast');
  });

  it('[VOSK26] what is no message of the protocol ends the connection', () => {
    for (const text of [
      '{',
      'null',
      '[]',
      '"eof"',
      '{"config":{"sample_rate":"fast"}}',
      '{"config":{"sample_rate":1}}',
    ]) {
      const setting = open();
      setting.listener.text(text);
      setting.assertClosed(1_008, 'bad_message');
      assert.deepEqual(setting.sent, []);
    }
    const setting = open();
    setting.say({ future: 1 });
    assert.deepEqual(setting.connection.closes, []);
  });
});
