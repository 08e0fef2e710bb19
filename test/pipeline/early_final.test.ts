import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { msToSamples } from '../../pipeline/audio.ts';
import { settle } from '../support/fake_clock.ts';
import { SessionSetting } from '../support/session_setting.ts';

/** A second of voice and then a pause that may be the end. */
function pauseAfterSpeech(slotCount = 1): SessionSetting {
  const setting = new SessionSetting({}, slotCount);
  setting.track.start();
  setting.track.speak(1_000);
  setting.track.speak(230, 30);
  return setting;
}

const used = (setting: SessionSetting): number =>
  setting.telemetry.total('early_finals_total', { outcome: 'used' });
const wasted = (setting: SessionSetting): number =>
  setting.telemetry.total('early_finals_total', { outcome: 'wasted' });

describe('early finals', () => {
  it('[SES90] in a pause the whole utterance is run at once; if it ends there, that is the final, without another job', async () => {
    const setting = pauseAfterSpeech();
    assert.equal(
      setting.pool.first.job.pcm.length,
      msToSamples(1_200),
      'up to where it would end, no further',
    );
    await setting.succeed('good morning');
    setting.track.speak(270, 300);
    assert.deepEqual(setting.of('final'), []);
    setting.track.end(1_000, 300);
    await settle();
    const [final] = setting.of('final');
    assert.equal(final?.text, 'good morning');
    assert.equal(final.endAudioMs, 1_200);
    assert.equal(setting.pool.started.length, 1);
    assert.equal(used(setting), 1);
  });

  it('[SES91] if the end comes while it runs, the final waits for it', async () => {
    const setting = pauseAfterSpeech(2);
    setting.track.end(1_000, 30);
    await settle();
    assert.deepEqual(setting.of('final'), []);
    assert.equal(setting.pool.started.length, 1);
    await setting.succeed('good morning');
    assert.equal(setting.of('final')[0]?.text, 'good morning');
    assert.equal(used(setting), 1);
  });

  it('[SES92] if its worker dies, before the end or after it, the final is computed as any other', async () => {
    for (const endsFirst of [true, false]) {
      const setting = pauseAfterSpeech();
      if (endsFirst) setting.track.end(1_000, 30);
      setting.pool.first.fail('worker_died');
      await settle();
      if (!endsFirst) setting.track.end(1_000, 30);
      await setting.succeed('after all');
      assert.equal(setting.of('final')[0]?.text, 'after all');
      assert.equal(setting.pool.started.length, 2);
      assert.equal(used(setting), 0);
    }
  });

  it('[SES93] if somebody speaks on, it was a partial, and the end is computed from all of it', async () => {
    const setting = pauseAfterSpeech();
    await setting.succeed('good');
    setting.track.speak(600);
    assert.equal(wasted(setting), 1);
    setting.track.end();
    assert.equal(setting.pool.first.job.pcm.length, msToSamples(1_830));
    await setting.succeed('good morning');
    assert.deepEqual(
      setting.of('final').map(({ text }) => text),
      ['good morning'],
    );
    assert.equal(setting.of('partial')[0]?.text, 'good');
  });

  it('[SES94] in a pause nothing more is run: there is nothing new to be heard', async () => {
    const setting = pauseAfterSpeech();
    await setting.succeed('good morning');
    for (let pauseMs = 130; pauseMs < 2_000; pauseMs += 100) {
      setting.track.speak(100, pauseMs);
      await setting.clock.advance(100);
    }
    assert.equal(setting.pool.started.length, 1);
  });

  it('[SES95] text that all the audio could have held, but its voice could not, is shown and then withheld', async () => {
    const setting = pauseAfterSpeech();
    await setting.succeed('thank you for watching');
    setting.track.end(10, 30);
    assert.equal(setting.of('final')[0]?.text, '');
    assert.equal(setting.telemetry.total('suppressed_texts_total', { reason: 'no_speech' }), 1);
  });

  for (const reason of ['flush', 'audioStopped', 'split'] as const) {
    for (const endsFirst of [true, false]) {
      const when = endsFirst ? 'before' : 'after';
      it(`[SES98] a partial that ends where its utterance does is not the final: ${reason}, ${when} it came back`, async () => {
        const setting = new SessionSetting();
        setting.track.start();
        setting.track.speak(1_000);
        await setting.clock.advance(1_000);
        const partial = setting.pool.first;
        assert.notEqual(partial.job.partialOf, undefined);
        if (endsFirst) setting.track.end(1_000, 0, reason);
        await setting.succeed('roughly');
        if (!endsFirst) setting.track.end(1_000, 0, reason);
        await settle();
        assert.equal(setting.pool.first.job.pcm.length, partial.job.pcm.length);
        assert.equal(setting.pool.first.job.partialOf, undefined);
        await setting.succeed('exactly');
        assert.equal(setting.of('final')[0]?.text, 'exactly');
      });
    }
  }

  it('[SES97] if somebody speaks on before it has begun, it is a partial like any other', async () => {
    const setting = new SessionSetting({}, 0);
    setting.track.start();
    setting.track.speak(1_000);
    setting.track.speak(230, 30);
    assert.equal(setting.scheduler.earlyCount, 1);
    setting.track.speak(20);
    assert.equal(setting.scheduler.earlyCount, 0);
    await setting.clock.advance(1_000);
    assert.deepEqual([setting.scheduler.partialCount, setting.scheduler.finalWaitMs], [1, 0]);
  });

  it('[SES96] a session that is closed while an early final runs hears nothing of it', async () => {
    const setting = pauseAfterSpeech();
    setting.track.end(1_000, 30);
    const running = setting.pool.first;
    setting.session.close();
    running.fail('worker_died');
    await settle();
    assert.equal(setting.pool.started.length, 1);
    assert.deepEqual(setting.of('final'), []);
  });
});
