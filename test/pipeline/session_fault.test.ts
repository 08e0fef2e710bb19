import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import { settle } from '../support/fake_clock.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';
import { SessionSetting } from '../support/session_setting.ts';

/** Fails when the session says this, as a dialect with a bug in it would. */
function throwAt(setting: SessionSetting, type: SessionEvent['type']): void {
  setting.onEvent = (event) => {
    if (event.type === type) throw new Error('a bug');
  };
}

describe('session: what is thrown in it', () => {
  for (const type of ['speechStart', 'partial', 'speechEnd', 'final', 'notice'] as const) {
    it(`[SES70] a throw at its ${type} ends the session with internal, and reaches neither worker nor scheduler`, async () => {
      const setting = new SessionSetting();
      throwAt(setting, type);
      const answer = async (): Promise<void> => {
        for (const job of [...setting.pool.running]) {
          if (type === 'notice') job.fail('invalid_pcm');
          else job.succeed(hypothesisOf('hello there'));
        }
        await settle();
      };
      setting.track.start();
      setting.track.speak(1_000);
      await setting.clock.advance(500);
      await answer();
      setting.track.end();
      await answer();
      assert.equal(setting.failure, 'internal');
      assert.equal(setting.events.at(-1)?.type, 'failed');
      assert.equal(setting.session.state, 'closed');
      assert.equal(setting.pool.freeCount, 1, 'the slot serves others');
    });
  }
});
