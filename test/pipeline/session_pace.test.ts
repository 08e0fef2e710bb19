import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AHEAD_OF_REALTIME_CLOSE_MS,
  AUDIO_STOPPED_GRACE_MS,
  FINAL_OBJECTIVE_MS,
  IDLE_MAX_MS,
  PACED_OWED_MAX_COUNT,
  SILENCE_MAX_MS,
} from '../../pipeline/limits.ts';
import { Strikes } from '../../pipeline/strikes.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';
import { settle } from '../support/fake_clock.ts';
import { MESSAGE, SessionSetting } from '../support/session_setting.ts';

describe('session: pace', () => {
  it('[SES48] paced audio is taken while nothing of it is on its way and few finals are owed, at whatever speed', async () => {
    const setting = new SessionSetting({ isPaced: true, partials: false }, 1);
    const { session, track } = setting;
    for (let i = 0; i <= AHEAD_OF_REALTIME_CLOSE_MS / 20; i++)
      assert.equal(session.push(MESSAGE), 'accepted');
    const takenCount = track.inputs.length;
    track.isBehind = true;
    assert.equal(session.push(MESSAGE), 'full');
    track.isBehind = false;
    for (let i = 0; i < PACED_OWED_MAX_COUNT; i++) track.utter();
    assert.equal(session.push(MESSAGE), 'full');
    assert.equal(track.inputs.length, takenCount);
    await setting.succeed('one');
    assert.equal(session.push(MESSAGE), 'accepted');
    assert.equal(setting.failure, undefined);
    assert.deepEqual(setting.of('notice'), []);
  });

  it('[SES49] a paced client that is not asked for more has not stopped speaking, and is not idle', async () => {
    const setting = new SessionSetting({ isPaced: true });
    setting.session.push(MESSAGE);
    setting.track.start();
    setting.track.isBehind = true;
    for (let i = 0; i < 3; i++) {
      await setting.clock.advance(IDLE_MAX_MS);
      setting.session.push(MESSAGE);
      setting.session.tick();
    }
    assert.equal(setting.failure, undefined);
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['audio'],
    );
  });

  it('[SES50] where only a flush ends an utterance, audio that stops coming does not', async () => {
    const setting = new SessionSetting({ endpointing: { silenceMs: Infinity, maxUtteranceMs: 20_000 } });
    setting.session.push(MESSAGE);
    await setting.clock.advance(SILENCE_MAX_MS + 2 * AUDIO_STOPPED_GRACE_MS);
    setting.session.tick();
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['audio'],
    );
  });

  it('[SES51] finals that are due later yield to those of others', async () => {
    const late = new SessionSetting({ finalObjectiveMs: 10 * FINAL_OBJECTIVE_MS, partials: false });
    const { clock, pool, scheduler } = late;
    late.track.utter();
    late.track.utter();
    const soon: string[] = [];
    scheduler.submitFinal({
      audio: { pcm: new Int16Array(1_600), draft: [], strikes: new Strikes() },
      deadlineAtMs: clock.nowMs() + FINAL_OBJECTIVE_MS,
      isWanted: () => true,
      done: ({ text }) => soon.push(text),
      failed: () => undefined,
    });
    pool.first.succeed(hypothesisOf('running already'));
    await settle();
    pool.first.succeed(hypothesisOf('mine'));
    await settle();
    assert.deepEqual(soon, ['mine']);
  });

  it('[SES52] an utterance says why it ended, and flushed and done how much audio there was', async () => {
    const setting = new SessionSetting({ partials: false });
    setting.track.start();
    setting.track.speak(1_000);
    setting.track.end(1_000, 0, 'split');
    await setting.succeed('one');
    setting.session.flush('a');
    setting.session.stop();
    setting.track.answerFlushes();
    assert.deepEqual(
      setting.of('speechEnd').map(({ reason }) => reason),
      ['split'],
    );
    assert.deepEqual(setting.of('flushed'), [{ type: 'flushed', id: 'a', audioMs: 1_000 }]);
    assert.deepEqual(setting.of('done'), [{ type: 'done', audioMs: 1_000 }]);
  });
});
