import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { CONTROL_MESSAGE_MAX_BYTES, IDLE_MAX_MS, TICK_INTERVAL_MS } from '../../pipeline/limits.ts';
import { ProtocolError } from '../../pipeline/errors.ts';
import { deepgramDialect } from '../../server/dialects/deepgram_dialect.ts';
import { DialectSetting, TODAY, type Sent } from '../support/dialect_setting.ts';
import { MESSAGE } from '../support/session_setting.ts';

const RAW = 'encoding=linear16&sample_rate=16000';

function open(query = ''): DialectSetting {
  return new DialectSetting(deepgramDialect, { query: `${RAW}&${query}` });
}

function transcriptOf(message: Sent | undefined): unknown {
  return (message?.['channel'] as { alternatives: { transcript: string }[] } | undefined)?.alternatives[0]
    ?.transcript;
}

const flagsOf = (message: Sent | undefined): readonly unknown[] => [
  message?.['is_final'],
  message?.['speech_final'],
  message?.['from_finalize'],
];

describe('dialect of Deepgram', () => {
  it('[DG30] Results have every field that clients read, and follow each other without a gap', async () => {
    const setting = open('punctuate=true');
    await setting.utter('Hello there.');
    await setting.utter('Bye.');
    const [one, two] = setting.of('Results');
    const requestId = setting.opening.headers?.['dg-request-id'];
    assert.deepEqual(one, {
      ...{ type: 'Results', channel_index: [0, 1], duration: 1, start: 0 },
      ...{ is_final: true, speech_final: true, from_finalize: false },
      channel: {
        alternatives: [
          {
            ...{ transcript: 'Hello there.', confidence: 1 },
            words: [
              { word: 'hello', start: 0, end: 0.462, confidence: 1, punctuated_word: 'Hello' },
              { word: 'there', start: 0.462, end: 1, confidence: 1, punctuated_word: 'there.' },
            ],
          },
        ],
      },
      metadata: {
        request_id: requestId,
        model_info: { name: 'moonshine-tiny-en', version: '1', arch: 'earwitness' },
        model_uuid: '00000000-0000-0000-0000-000000000000',
      },
    });
    assert.deepEqual([two?.['start'], two?.['duration']], [1, 1]);
  });

  it('[DG31] without formatting text is plain; interims and SpeechStarted come only when asked for', async () => {
    const plain = open();
    await plain.utter("Don't go — well-known, OK?");
    assert.equal(transcriptOf(plain.of('Results')[0]), "don't go well-known ok");
    assert.deepEqual(plain.sent.length, 1);
    const live = open('interim_results=true&vad_events=true');
    live.track.start();
    await live.show('Hello');
    assert.deepEqual(live.of('SpeechStarted'), [{ type: 'SpeechStarted', channel: [0], timestamp: 0 }]);
    const [interim] = live.of('Results');
    assert.deepEqual(flagsOf(interim), [false, false, false]);
    assert.equal(transcriptOf(interim), 'hello');
  });

  it('[DG32] speech_final is said of a pause, not of a split, and not at all if nobody wants it', async () => {
    const setting = open();
    await setting.utter('one', 'split');
    await setting.utter('two', 'silence');
    assert.deepEqual(setting.of('Results').map(flagsOf), [
      [true, false, false],
      [true, true, false],
    ]);
    const never = open('endpointing=false');
    await never.utter('one');
    assert.deepEqual(never.of('Results').map(flagsOf), [[true, false, false]]);
  });

  it('[DG33] every Finalize has one answer: what was being said, or nothing', async () => {
    const setting = open();
    setting.say({ type: 'Finalize' });
    setting.track.start();
    setting.track.speak(1_000);
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('one');
    setting.say({ type: 'Finalize' });
    setting.track.answerFlushes();
    await setting.utter('two');
    setting.say({ type: 'Finalize', channel: 0 });
    setting.say({ type: 'Finalize', channel: 7 });
    setting.track.answerFlushes();
    const results = setting.of('Results');
    assert.deepEqual(results.map(transcriptOf), ['one', '', 'two', '']);
    assert.deepEqual(
      results.map((message) => message['from_finalize']),
      [true, true, false, true],
    );
  });

  it('[DG34] CloseStream, or an empty message, is answered by Metadata and close 1000', async () => {
    for (const close of ['CloseStream', 'empty']) {
      const setting = open();
      setting.listener.binary(MESSAGE);
      if (close === 'empty') setting.listener.binary(new Uint8Array(0));
      else setting.say({ type: 'CloseStream' });
      setting.track.start();
      setting.track.speak(1_000);
      setting.track.end(1_000, 0, 'flush');
      setting.track.answerFlushes();
      await setting.recognise('one');
      assert.deepEqual(flagsOf(setting.of('Results')[0]), [true, false, false]);
      const metadata = setting.sent.at(-1);
      assert.equal(metadata?.type, 'Metadata');
      assert.equal(metadata['sha256'], createHash('sha256').update(MESSAGE).digest('hex'));
      assert.equal(metadata['duration'], 1);
      assert.equal(metadata['created'], TODAY.toISOString());
      setting.assertClosed(1000, '');
    }
  });

  it('[DG35] UtteranceEnd comes when nobody has spoken for the time asked for, or at the end', async () => {
    const setting = open('interim_results=true&utterance_end_ms=1000');
    await setting.utter('one');
    await setting.clock.advance(499);
    assert.deepEqual(setting.of('UtteranceEnd'), []);
    await setting.clock.advance(1);
    assert.deepEqual(setting.of('UtteranceEnd'), [
      { type: 'UtteranceEnd', channel: [0, 1], last_word_end: 1 },
    ]);
    await setting.utter('two');
    setting.track.start();
    await setting.clock.advance(2_000);
    assert.equal(setting.of('UtteranceEnd').length, 1);
    setting.track.speak(500);
    setting.track.end();
    await setting.recognise('three');
    setting.say({ type: 'CloseStream' });
    setting.track.answerFlushes();
    assert.equal(setting.of('UtteranceEnd').length, 2);
    setting.assertClosed(1000);
    const without = open('utterance_end_ms=1000');
    await without.utter('one');
    assert.equal(without.clock.timerCount, 0);
  });

  it('[DG36] a stream in which nothing comes ends with NET-0001, and KeepAlive prevents that', async () => {
    const setting = open();
    setting.registry.start();
    await setting.clock.advance(IDLE_MAX_MS);
    setting.say({ type: 'KeepAlive' });
    await setting.clock.advance(IDLE_MAX_MS);
    assert.deepEqual(setting.connection.closes, []);
    await setting.clock.advance(2 * TICK_INTERVAL_MS);
    assert.deepEqual(setting.connection.closes, [{ code: 1_011, reason: 'NET-0001' }]);
    assert.equal(setting.sent.at(-1)?.type, 'Error');
    setting.registry.close();
  });

  it('[DG37] what cannot be decoded or read ends the stream with DATA-0000; what is not known is ignored', () => {
    const bad = open();
    bad.track.emit({ type: 'fault', code: 'unsupported_audio', count: 31 });
    bad.assertClosed(1_008, 'DATA-0000');
    for (const text of [
      '{',
      'null',
      '[]',
      '"x"',
      '{"type":7}',
      `{"type":"x","a":"${'x'.repeat(CONTROL_MESSAGE_MAX_BYTES)}"}`,
    ]) {
      const setting = open();
      setting.listener.text(text);
      setting.assertClosed(1_008, 'DATA-0000');
    }
    const setting = open();
    setting.say({ type: 'Configure', processors: {} });
    setting.say({ type: '__proto__' });
    assert.deepEqual(setting.connection.closes, []);
  });

  it('[DG38] refusals have dg-error and the body of Deepgram, whatever was asked', () => {
    const { refuse } = deepgramDialect(open());
    const error = new ProtocolError('bad_settings', 'language: not \u{1f600}\r\n');
    const { headers, body } = refuse({ status: 400, error, headers: { 'Retry-After': '1' } });
    assert.equal(headers['dg-error'], 'language: not ????');
    assert.equal(headers['Retry-After'], '1');
    const { err_code, err_msg } = JSON.parse(body) as Record<string, string>;
    assert.deepEqual([err_code, err_msg], ['INVALID_QUERY_PARAMETER', error.message]);
  });

  it('[DG39] a client that reads slowly loses interims, and never a final', async () => {
    const setting = open('interim_results=true');
    setting.track.start();
    setting.connection.isFull = true;
    await setting.show('one');
    assert.equal(setting.telemetry.total('partials_dropped_total', {}), 1);
    assert.deepEqual(setting.connection.closes, []);
    setting.track.speak(500);
    setting.track.end();
    await setting.recognise('one two');
    setting.assertClosed(1_011, 'NET-0000');
  });

  it('[DG40] a server that drains sends what is owed and closes with 1012; a client that has gone leaves nothing', async () => {
    const setting = open();
    await setting.utter('one');
    const drained = setting.registry.drain();
    setting.track.answerFlushes();
    await drained;
    assert.equal(setting.sent.at(-1)?.type, 'Metadata');
    setting.assertClosed(1_012);
    const gone = open('interim_results=true&utterance_end_ms=1000');
    await gone.utter('one');
    gone.listener.closed(1006);
    gone.assertNothingLeft();
    assert.equal(gone.telemetry.total('sessions_total', { dialect: 'deepgram', outcome: 'abandoned' }), 1);
  });
});
