import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { msToSamples } from '../../pipeline/audio.ts';
import {
  FINAL_WAIT_MAX_MS,
  PENDING_DELIVERY_MAX_COUNT,
  RECOGNISER_PCM_MIN_MS,
} from '../../pipeline/limits.ts';
import { settle } from '../support/fake_clock.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';
import { MESSAGE, SessionSetting } from '../support/session_setting.ts';

describe('session: utterances', () => {
  it('[SES1] an utterance is told from its start to its one final', async () => {
    const setting = new SessionSetting({ words: true });
    setting.track.utter();
    await setting.succeed('hello there');
    assert.deepEqual(setting.events, [
      { type: 'speechStart', utteranceId: 1, audioMs: 0 },
      { type: 'speechEnd', utteranceId: 1, audioMs: 1_000, reason: 'silence' },
      {
        ...{ type: 'final', utteranceId: 1, text: 'hello there', startAudioMs: 0, endAudioMs: 1_000 },
        words: [
          { text: 'hello', startAudioMs: 0, endAudioMs: 500, estimated: true },
          { text: 'there', startAudioMs: 500, endAudioMs: 1_000, estimated: true },
        ],
        ackedAudioMs: 1_000,
      },
    ]);
    assert.equal(setting.pool.started[0]?.pcm.length, msToSamples(1_000));
    assert.equal(setting.telemetry.total('utterances_total', { dialect: 'native', outcome: 'text' }), 1);
  });

  it('[MET14] utterances are counted by the dialect of their session', async () => {
    const setting = new SessionSetting({ dialect: 'vosk' });
    setting.track.utter();
    await setting.succeed('hello there');
    assert.equal(setting.telemetry.total('utterances_total', { dialect: 'vosk', outcome: 'text' }), 1);
  });

  it('[SES2] finals come in the order of the utterances, in whatever order the jobs end', async () => {
    const setting = new SessionSetting({}, 3);
    for (let i = 0; i < 3; i++) setting.track.utter();
    const [one, two, three] = [...setting.pool.running];
    three?.succeed(hypothesisOf('three'));
    await settle();
    assert.deepEqual(setting.of('final'), []);
    one?.succeed(hypothesisOf('one'));
    await settle();
    assert.deepEqual(
      setting.of('final').map(({ text }) => text),
      ['one'],
    );
    two?.succeed(hypothesisOf('two'));
    await settle();
    assert.deepEqual(
      setting.of('final').map(({ utteranceId, text, ackedAudioMs }) => [utteranceId, text, ackedAudioMs]),
      [
        [1, 'one', 1_000],
        [2, 'two', 2_000],
        [3, 'three', 3_000],
      ],
    );
  });

  it('[SES3] partials show the utterance so far, its stable prefix and the newest audio', async () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(700);
    await setting.clock.advance(500);
    setting.track.speak(100);
    await setting.succeed('the cat');
    setting.track.speak(300);
    await setting.clock.advance(1_000);
    await setting.succeed('the cat sat');
    assert.deepEqual(
      setting
        .of('partial')
        .map(({ revision, text, stableLength, endAudioMs }) => [revision, text, stableLength, endAudioMs]),
      [
        [1, 'the cat', 0, 700],
        [2, 'the cat sat', 7, 1_100],
      ],
    );
    assert.deepEqual(setting.pool.started[1]?.draft, hypothesisOf('the cat').tokens);
  });

  it('[SES4] without partials nothing is computed before the end', async () => {
    const setting = new SessionSetting({ partials: false });
    setting.track.start();
    setting.track.speak(5_000);
    await setting.clock.advance(5_000);
    assert.equal(setting.pool.started.length, 0);
    setting.track.end();
    assert.equal(setting.pool.started.length, 1);
  });

  it('[SES5] an utterance whose final cannot be computed gets a notice and, as its final, what was last shown', async () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(800);
    await setting.clock.advance(500);
    await setting.succeed('the last partial');
    setting.track.speak(100);
    setting.track.end();
    setting.pool.first.fail('internal');
    await settle();
    assert.deepEqual(setting.types, ['speechStart', 'partial', 'speechEnd', 'notice', 'final']);
    const [notice] = setting.of('notice');
    assert.deepEqual([notice?.code, notice?.utteranceId], ['utterance_failed', 1]);
    const [final] = setting.of('final');
    assert.deepEqual([final?.text, final?.ackedAudioMs], ['the last partial', 900]);
    assert.equal(setting.telemetry.total('utterances_total', { dialect: 'native', outcome: 'failed' }), 1);
  });

  it('[SES6] an utterance too short to hold a word has an empty final, without a job', () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(RECOGNISER_PCM_MIN_MS - 1);
    setting.track.end();
    assert.deepEqual(
      setting.of('final').map(({ text }) => text),
      [''],
    );
    assert.equal(setting.pool.started.length, 0);
  });

  it('[SES7] text the audio can hardly have held is withheld and counted', async () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(1_000);
    setting.track.end(10);
    await setting.succeed('thank you for watching');
    assert.equal(setting.of('final')[0]?.text, '');
    assert.equal(setting.telemetry.total('suppressed_texts_total', { reason: 'no_speech' }), 1);
  });

  it('[SES7] such text is withheld in a partial too, and a partial after it is shown', async () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(800);
    await setting.clock.advance(500);
    const tokens = Array.from({ length: 100 }, () => 1);
    setting.pool.first.succeed(hypothesisOf('again and again', { tokens, stop: 'repetition' }));
    await settle();
    assert.deepEqual(setting.of('partial'), []);
    assert.equal(setting.telemetry.total('suppressed_texts_total', { reason: 'repetition' }), 1);
    setting.track.speak(400);
    await setting.clock.advance(1_000);
    await setting.succeed('once more');
    assert.deepEqual(
      setting.of('partial').map(({ text, revision }) => [text, revision]),
      [['once more', 1]],
    );
  });

  it('[SES8] a partial that comes back after its utterance has ended is not shown', async () => {
    const setting = new SessionSetting({}, 2);
    setting.track.start();
    setting.track.speak(800);
    await setting.clock.advance(500);
    const late = setting.pool.first;
    setting.track.speak(100);
    setting.track.end();
    setting.track.start();
    late.succeed(hypothesisOf('of the first'));
    await settle();
    assert.deepEqual(setting.of('partial'), []);
  });

  it('[SES9] after a split the next utterance starts inside what was heard already', async () => {
    const setting = new SessionSetting({ partials: false }, 2);
    const { track } = setting;
    track.start();
    track.speak(3_000);
    const cut = msToSamples(2_000);
    const common = { decidedAtSamples: msToSamples(3_000), speechSamples: cut };
    track.emit({ type: 'speechEnd', startSamples: 0, endSamples: cut, ...common, reason: 'split' });
    track.emit({ type: 'speechStart', startSamples: cut, decidedAtSamples: msToSamples(3_000) });
    track.speak(500);
    const endSamples = msToSamples(3_500);
    track.emit({ type: 'speechEnd', startSamples: cut, endSamples, ...common, reason: 'silence' });
    assert.deepEqual(
      setting.pool.started.map(({ pcm }) => pcm.length),
      [cut, endSamples - cut],
    );
    await setting.succeed('one');
    await setting.succeed('two');
    assert.deepEqual(
      setting.of('final').map(({ startAudioMs, endAudioMs }) => [startAudioMs, endAudioMs]),
      [
        [0, 2_000],
        [2_000, 3_500],
      ],
    );
  });

  it('[SES10] a resumed session goes on with positions and ids where the old one left off', async () => {
    const setting = new SessionSetting({ originAudioMs: 60_000, firstUtteranceId: 7 });
    assert.equal(setting.track.settings?.originSamples, msToSamples(60_000));
    setting.track.utter();
    await setting.succeed('again');
    const [final] = setting.of('final');
    assert.deepEqual(
      [final?.utteranceId, final?.startAudioMs, final?.endAudioMs, final?.ackedAudioMs],
      [7, 60_000, 61_000, 61_000],
    );
  });

  it('[SES11] more utterances than may be owed end the session instead of piling up', () => {
    const setting = new SessionSetting({ partials: false }, 0);
    for (let i = 0; i < PENDING_DELIVERY_MAX_COUNT; i++) setting.track.utter();
    assert.equal(setting.failure, undefined);
    setting.track.utter();
    assert.equal(setting.failure, 'too_fast');
  });

  it('[SES12] a final that has not been computed in time is given up, and what follows it is sent', async () => {
    const setting = new SessionSetting({}, 2);
    setting.track.start();
    setting.track.speak(800);
    await setting.clock.advance(500);
    await setting.succeed('the last partial');
    setting.track.speak(100);
    setting.track.end();
    const late = setting.pool.first;
    setting.track.utter();
    setting.pool.running.at(-1)?.succeed(hypothesisOf('two'));
    await setting.clock.advance(FINAL_WAIT_MAX_MS - 1);
    setting.session.keepAlive();
    setting.session.tick();
    assert.deepEqual(setting.of('final'), []);
    await setting.clock.advance(1);
    setting.session.tick();
    assert.deepEqual(
      setting.of('final').map(({ text }) => text),
      ['the last partial', 'two'],
    );
    assert.deepEqual(
      setting.of('notice').map(({ code, utteranceId }) => [code, utteranceId]),
      [['utterance_failed', 1]],
    );
    late.succeed(hypothesisOf('too late'));
    await settle();
    assert.equal(setting.of('final').length, 2);
  });
});

describe('session: flush and stop', () => {
  it('[SES20] flushed follows every final of the audio before it, in the order of the flushes', async () => {
    const setting = new SessionSetting({}, 2);
    setting.track.utter();
    setting.session.flush('a');
    setting.track.answerFlushes();
    setting.track.utter();
    setting.session.flush('b');
    setting.track.answerFlushes();
    const [one, two] = [...setting.pool.running];
    two?.succeed(hypothesisOf('two'));
    await settle();
    assert.deepEqual(setting.of('flushed'), []);
    one?.succeed(hypothesisOf('one'));
    await settle();
    assert.deepEqual(
      setting.types.filter((type) => !type.startsWith('speech')),
      ['final', 'flushed', 'final', 'flushed'],
    );
    assert.deepEqual(
      setting.of('flushed').map(({ id }) => id),
      ['a', 'b'],
    );
  });

  it('[SES21] a client may call a flush what it likes, also by the name of our own', () => {
    const setting = new SessionSetting();
    for (const id of ['stop', 'client:', 'client:stop']) setting.session.flush(id);
    setting.track.answerFlushes();
    assert.deepEqual(
      setting.of('flushed').map(({ id }) => id),
      ['stop', 'client:', 'client:stop'],
    );
    assert.equal(setting.session.state, 'open');
  });

  it('[SES22] stop takes no more audio, and done comes last, after every final and flush', async () => {
    const setting = new SessionSetting();
    setting.track.utter();
    setting.session.flush('a');
    setting.session.stop();
    setting.session.stop();
    setting.session.push(MESSAGE);
    setting.session.flush('late');
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['flush', 'flush'],
    );
    setting.track.answerFlushes();
    assert.equal(setting.isOver, false);
    await setting.succeed('the end');
    assert.deepEqual(setting.types, ['speechStart', 'speechEnd', 'final', 'flushed', 'done']);
    assert(setting.track.isClosed);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[SES23] flushes that are answered are not counted against the next ones; those that are not, are', () => {
    const setting = new SessionSetting();
    for (let i = 0; i < 3 * PENDING_DELIVERY_MAX_COUNT; i++) {
      setting.session.flush(`${i}`);
      setting.track.answerFlushes();
    }
    assert.equal(setting.failure, undefined);
    for (let i = 0; i < PENDING_DELIVERY_MAX_COUNT; i++) setting.session.flush('waits');
    assert.equal(setting.failure, undefined);
    setting.session.flush('one too many');
    assert.equal(setting.failure, 'too_fast');
  });

  it('[SES24] flushes behind an utterance count once each', () => {
    const setting = new SessionSetting({}, 0);
    setting.track.utter();
    for (let i = 0; i < PENDING_DELIVERY_MAX_COUNT - 1; i++) {
      setting.session.flush(`${i}`);
      setting.track.answerFlushes();
    }
    assert.equal(setting.failure, undefined);
    setting.session.flush('one too many');
    assert.equal(setting.failure, 'too_fast');
  });
});
