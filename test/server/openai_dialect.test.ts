import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IDLE_MAX_MS, SILENCE_MAX_MS } from '../../pipeline/limits.ts';
import { openaiDialect } from '../../server/dialects/openai_dialect.ts';
import { DialectSetting, type Asked, type Sent } from '../support/dialect_setting.ts';
import { settle } from '../support/fake_clock.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const COMPLETED = 'conversation.item.input_audio_transcription.completed';
const DELTA = 'conversation.item.input_audio_transcription.delta';
const MANUAL = { audio: { input: { turn_detection: null } } };
/** 200 ms at 24 kHz. */
const AUDIO = Buffer.alloc(9_600).toString('base64');

function open(asked: Asked = {}): DialectSetting {
  return new DialectSetting(openaiDialect, asked);
}

function openManual(): DialectSetting {
  const setting = open();
  setting.say({ type: 'session.update', session: MANUAL });
  return setting;
}

function append(setting: DialectSetting): void {
  setting.say({ type: 'input_audio_buffer.append', audio: AUDIO });
}

function errorOf(message: Sent | undefined): Record<string, unknown> {
  assert.equal(message?.type, 'error');
  return message['error'] as Record<string, unknown>;
}

function inputOf(message: Sent | undefined): Record<string, unknown> {
  const { audio } = message?.['session'] as { audio: { input: Record<string, unknown> } };
  return audio.input;
}

describe('dialect of OpenAI: session', () => {
  it('[OAI20] the session is told at once, and whole after every update, of which only what is there changes', () => {
    const setting = open();
    const [created] = setting.sent;
    assert.equal(created?.type, 'session.created');
    assert.deepEqual(inputOf(created), {
      format: { type: 'audio/pcm', rate: 24_000 },
      transcription: { model: 'moonshine-tiny-en' },
      noise_reduction: null,
      turn_detection: {
        type: 'server_vad',
        threshold: 0.5,
        prefix_padding_ms: 300,
        silence_duration_ms: 500,
      },
    });
    setting.say({ type: 'session.update', session: { type: 'realtime', tracing: 'auto' } });
    assert.deepEqual(inputOf(setting.sent[1]), inputOf(created));
    const input = { transcription: { model: 'whisper-1', language: 'en' }, turn_detection: null };
    setting.say({ type: 'session.update', session: { audio: { input } } });
    assert.deepEqual(inputOf(setting.sent[2]), { ...inputOf(created), ...input });
    assert.equal((setting.sent[2]?.['session'] as Sent).type, 'transcription');
    const ids = setting.sent.map((message) => message['event_id']);
    assert.equal(new Set(ids).size, ids.length);
  });

  it('[OAI21] the form of the beta has names of its own, and works in either', () => {
    for (const asked of [
      { headers: { 'openai-beta': 'realtime=v1' } },
      { protocols: ['realtime', 'openai-insecure-api-key.k', 'openai-beta.realtime-v1'] },
    ]) {
      const setting = open(asked);
      assert.equal(setting.sent[0]?.type, 'transcription_session.created');
      const session = {
        input_audio_format: 'g711_ulaw',
        turn_detection: { type: 'semantic_vad', eagerness: 'high' },
      };
      setting.say({ type: 'transcription_session.update', session });
      const updated = setting.sent.at(-1);
      assert.equal(updated?.type, 'transcription_session.updated');
      const { input_audio_format, turn_detection } = updated['session'] as Record<string, unknown>;
      assert.deepEqual({ input_audio_format, turn_detection }, session);
      assert.deepEqual(setting.track.settings?.format, {
        encoding: 'mulaw',
        sampleRateHz: 8_000,
        channels: 1,
      });
    }
  });

  it('[OAI22] settings become those of our sessions; a rate or silence that cannot be is refused or brought into range', () => {
    for (const [input, format, silenceMs] of [
      [{ format: { type: 'audio/pcm', rate: 16_000 } }, 'pcm_s16le', 500],
      [{ format: { type: 'audio/pcma' } }, 'alaw', 500],
      [{ turn_detection: { type: 'server_vad', silence_duration_ms: 60_000 } }, 'pcm_s16le', SILENCE_MAX_MS],
      [{ turn_detection: { type: 'semantic_vad' } }, 'pcm_s16le', 800],
      [{ turn_detection: null }, 'pcm_s16le', Infinity],
    ] as const) {
      const setting = open();
      setting.say({ type: 'session.update', session: { audio: { input } } });
      assert.equal(setting.track.settings?.format.encoding, format);
      assert.equal(setting.track.settings.endpointing.silenceMs, silenceMs);
      assert.equal(setting.registry.count, 1);
    }
  });

  it('[OAI23] what is wrong is an error that names it and the event; nothing changes and the session goes on', () => {
    const setting = open();
    for (const [event, fault] of [
      [
        { type: 'session.update', session: { audio: { input: { format: { type: 'mp3' } } } } },
        'session.audio.input.format',
      ],
      [
        { type: 'session.update', session: { audio: { input: { transcription: { language: 'fr' } } } } },
        'language',
      ],
      [{ type: 'session.update', session: 7 }, 'session'],
      [{ type: 'session.update' }, 'session'],
      [{ type: 'input_audio_buffer.append' }, 'audio'],
      [{ type: 'input_audio_buffer.append', audio: 'no base64!' }, 'audio'],
      [{ type: 'input_audio_buffer.append', audio: [1] }, 'audio'],
      [{ type: 'response.create' }, 'there is no'],
      [{ type: '__proto__' }, 'there is no'],
    ] as const) {
      setting.say({ ...event, event_id: 'mine' });
      const error = errorOf(setting.sent.at(-1));
      assert.match(String(error['message']), new RegExp(`^${fault}`));
      assert.deepEqual([error['type'], error['event_id']], ['invalid_request_error', 'mine']);
    }
    for (const text of ['{', 'null', '[]', '"x"', '{"type":7}']) {
      setting.listener.text(text);
      errorOf(setting.sent.at(-1));
    }
    setting.listener.binary(new Uint8Array(640));
    errorOf(setting.sent.at(-1));
    assert.deepEqual(setting.connection.closes, []);
    setting.say({ type: 'session.update', session: {} });
    assert.deepEqual(inputOf(setting.sent.at(-1)), inputOf(setting.sent[0]));
  });

  it('[OAI24] a client may be silent for as long as it is connected', async () => {
    const setting = open();
    setting.registry.start();
    await setting.clock.advance(10 * IDLE_MAX_MS);
    assert.deepEqual(setting.connection.closes, []);
    setting.listener.closed(1000);
    setting.registry.close();
    setting.assertNothingLeft();
  });

  it('[OAI25] other settings in the middle of the audio: what was heard is still told, and positions go on', async () => {
    const setting = open();
    append(setting);
    setting.say({ type: 'session.update', session: MANUAL });
    assert.equal(setting.track.settings?.originSamples, 3_200);
    // The one script that there is is now that of the second session.
    setting.track.inputs.length = 0;
    append(setting);
    setting.say({ type: 'input_audio_buffer.commit' });
    setting.track.start();
    setting.track.speak(1_000);
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('hello');
    assert.equal(setting.of(COMPLETED)[0]?.['transcript'], 'hello');
  });

  it('[OAI26] a failure is an error and a close; a drain ends with 1012', async () => {
    const failed = open();
    failed.track.emit({ type: 'fault', code: 'unsupported_audio', count: 31 });
    errorOf(failed.sent.at(-1));
    failed.assertClosed(1_008);
    const drained = open();
    const done = drained.registry.drain();
    drained.track.answerFlushes();
    await done;
    drained.assertClosed(1_012);
  });
});

describe('dialect of OpenAI: turns', () => {
  it('[OAI27] a turn is told in order, with its text as it settles', async () => {
    const setting = open();
    append(setting);
    setting.track.start();
    await setting.show('Hello');
    await setting.show('Hello there');
    await setting.show('Hello there you');
    setting.track.speak(500);
    setting.track.end();
    await setting.recognise('Hello Theo, you.');
    const told = setting.sent.slice(1);
    assert.deepEqual(
      told.map(({ type }) => type),
      [
        'input_audio_buffer.speech_started',
        ...[DELTA, DELTA],
        'input_audio_buffer.speech_stopped',
        'input_audio_buffer.committed',
        'conversation.item.added',
        'conversation.item.done',
        COMPLETED,
      ],
    );
    assert.deepEqual(
      setting.of(DELTA).map((message) => message['delta']),
      ['Hello', ' there'],
    );
    const [completed] = setting.of(COMPLETED);
    // It differs from what was shown, so that nothing could be added to that.
    assert.equal(completed?.['transcript'], 'Hello Theo, you.');
    assert.deepEqual(completed['usage'], { type: 'duration', seconds: 2 });
    await setting.utter('Bye.');
    const [one, two] = setting.of('input_audio_buffer.committed');
    assert.equal(one?.['previous_item_id'], null);
    assert.equal(two?.['previous_item_id'], one['item_id']);
    assert.deepEqual(setting.of(DELTA).at(-1)?.['delta'], 'Bye.');
  });

  it('[OAI28] a turn that was split is one item, whose deltas make its text', async () => {
    const setting = open();
    setting.track.start();
    setting.track.speak(1_000);
    setting.track.end(1_000, 0, 'split');
    setting.track.start();
    for (const text of ['and the', 'and the rest']) {
      setting.track.speak(500);
      await setting.clock.advance(1_000);
      setting.pool.running[1]?.succeed(hypothesisOf(text));
      await settle();
    }
    assert.deepEqual(setting.of(DELTA), [], 'what comes first is told first');
    await setting.recognise('one');
    await setting.show('and the rest of it');
    setting.track.speak(500);
    setting.track.end();
    await setting.recognise('and the rest of it');
    const [completed, ...more] = setting.of(COMPLETED);
    assert.deepEqual(more, []);
    assert.equal(setting.of('input_audio_buffer.committed').length, 1);
    const deltas = setting.of(DELTA).map((message) => message['delta']);
    assert.deepEqual(deltas, ['one', ' and the rest', ' of it']);
    assert.equal(completed?.['transcript'], deltas.join(''));
    const late = open();
    for (const reason of ['split', 'silence'] as const) {
      late.track.start();
      late.track.speak(1_000);
      late.track.end(1_000, 0, reason);
    }
    await late.recognise('one');
    assert.deepEqual(late.of(COMPLETED), []);
    await late.recognise('two');
    assert.equal(late.of(COMPLETED)[0]?.['transcript'], 'one two');
  });

  it('[OAI37] who talks on across a commit begins the next item, although the first has no text yet', async () => {
    const setting = open();
    setting.say({ type: 'session.update', session: { type: 'transcription', ...MANUAL } });
    append(setting);
    setting.track.start();
    setting.track.speak(1_000);
    setting.say({ type: 'input_audio_buffer.commit' });
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    append(setting);
    setting.track.start();
    setting.track.speak(1_000);
    await setting.recognise('first');
    setting.say({ type: 'input_audio_buffer.commit' });
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('second');
    assert.deepEqual(
      setting.of(COMPLETED).map((message) => message['transcript']),
      ['first', 'second'],
    );
  });

  it('[OAI38] changes of the audio settings one upon the other take no more than two places', () => {
    const setting = open();
    for (const silence_duration_ms of [300, 400, 600]) {
      append(setting);
      setting.say({
        type: 'session.update',
        session: { audio: { input: { turn_detection: { type: 'server_vad', silence_duration_ms } } } },
      });
      assert.ok(setting.registry.count <= 2);
    }
    assert.equal(errorOf(setting.sent.at(-1))['code'], 'bad_settings');
    setting.track.answerFlushes();
    assert.equal(setting.registry.count, 1);
    assert.equal(setting.connection.closes.length, 0, 'the connection lives on');
  });

  it('[OAI29] a turn that was split, and in which nobody went on, ends with its text', async () => {
    const setting = open();
    await setting.utter('one', 'split');
    assert.equal(setting.of('input_audio_buffer.speech_stopped').length, 1);
    assert.equal(setting.of(COMPLETED)[0]?.['transcript'], 'one');
  });

  it('[OAI30] without turn detection each commit has exactly one item, with all that was said before it', async () => {
    const setting = openManual();
    append(setting);
    await setting.utter('one', 'split');
    setting.track.start();
    setting.track.speak(1_000);
    setting.say({ type: 'input_audio_buffer.commit' });
    assert.deepEqual(
      setting.sent.slice(-3).map(({ type }) => type),
      ['input_audio_buffer.committed', 'conversation.item.added', 'conversation.item.done'],
    );
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('two');
    assert.equal(setting.of(COMPLETED)[0]?.['transcript'], 'one two');
    assert.deepEqual(setting.of('input_audio_buffer.speech_started'), []);
    append(setting);
    setting.say({ type: 'input_audio_buffer.commit' });
    setting.track.answerFlushes();
    assert.equal(setting.of(COMPLETED)[1]?.['transcript'], '');
    setting.say({ type: 'input_audio_buffer.commit', event_id: 'mine' });
    const error = errorOf(setting.sent.at(-1));
    assert.deepEqual([error['code'], error['event_id']], ['input_audio_buffer_commit_empty', 'mine']);
    assert.equal(setting.of('input_audio_buffer.committed').length, 2);
  });

  it('[OAI31] what was cleared is never told, what comes after it is', async () => {
    const setting = openManual();
    append(setting);
    setting.track.start();
    setting.track.speak(1_000);
    setting.say({ type: 'input_audio_buffer.clear' });
    assert.equal(setting.sent.at(-1)?.type, 'input_audio_buffer.cleared');
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('secret');
    append(setting);
    setting.track.start();
    setting.track.speak(1_000);
    setting.say({ type: 'input_audio_buffer.commit' });
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('hello');
    assert.equal(setting.of(COMPLETED)[0]?.['transcript'], 'hello');
    assert.doesNotMatch(JSON.stringify(setting.sent), /secret/);
  });

  it('[OAI32] items can be asked for and deleted; one that is not there is an error', async () => {
    const setting = open();
    await setting.utter('hello');
    const item_id = setting.of('input_audio_buffer.committed')[0]?.['item_id'];
    setting.say({ type: 'conversation.item.retrieve', item_id });
    const { content } = setting.sent.at(-1)?.['item'] as { content: unknown };
    assert.deepEqual(content, [{ type: 'input_audio', transcript: 'hello' }]);
    setting.say({ type: 'conversation.item.delete', item_id });
    assert.equal(setting.sent.at(-1)?.type, 'conversation.item.deleted');
    for (const [type, code] of [
      ['conversation.item.retrieve', 'item_retrieve_invalid_item_id'],
      ['conversation.item.delete', 'item_delete_invalid_item_id'],
    ]) {
      setting.say({ type, item_id });
      assert.equal(errorOf(setting.sent.at(-1))['code'], code);
    }
  });

  it('[OAI33] a commit in the middle of a turn by voice activity ends that turn', async () => {
    const setting = open();
    append(setting);
    setting.track.start();
    setting.track.speak(1_000);
    setting.say({ type: 'input_audio_buffer.commit' });
    setting.track.end(1_000, 0, 'flush');
    setting.track.answerFlushes();
    await setting.recognise('hello');
    assert.equal(setting.of('input_audio_buffer.speech_stopped').length, 1);
    assert.equal(setting.of('input_audio_buffer.committed').length, 1);
    assert.equal(setting.of(COMPLETED)[0]?.['transcript'], 'hello');
  });
});
