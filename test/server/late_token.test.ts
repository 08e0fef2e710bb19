import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TranscriptionError } from '../../pipeline/errors.ts';
import { HANDSHAKE_MAX_MS } from '../../pipeline/limits.ts';
import { LateToken } from '../../server/access/late_token.ts';
import type { ConnectionListener } from '../../server/transport/transport.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';

/** A connection whose first message is its token, and what became of it. */
class Setting {
  readonly clock = new FakeClock();
  readonly refusals: TranscriptionError[] = [];
  readonly heard: string[] = [];
  settledCount = 0;
  readonly token: LateToken;
  /** Lets the token in. */
  admit = (): void => undefined;

  constructor() {
    const listener: ConnectionListener = {
      text: (message) => this.heard.push(message),
      binary: (message) => this.heard.push(`${message.length} bytes`),
      drained: () => this.heard.push('drained'),
      closed: (code) => this.heard.push(`closed ${code}`),
    };
    this.token = new LateToken({
      clock: this.clock,
      tokenOf: (message) => message,
      admit: () =>
        new Promise((resolve) => {
          this.admit = () => {
            resolve(listener);
          };
        }),
      refuse: (error) => this.refusals.push(error),
      fault: (error) => {
        throw error;
      },
      onSettled: () => this.settledCount++,
    });
  }
}

void describe('a token in the first message', () => {
  it('[ACC5] once the first message has come, its time is over for good: no timer is left, and none fires', async () => {
    const setting = new Setting();
    await setting.clock.advance(HANDSHAKE_MAX_MS - 1);
    setting.token.text('a token');
    assert.equal(setting.clock.timerCount, 0);
    setting.admit();
    await settle();
    await setting.clock.advance(HANDSHAKE_MAX_MS + 1_000);
    setting.token.binary(new Uint8Array(3));
    assert.deepEqual(setting.refusals, []);
    assert.deepEqual(setting.heard, ['a token', '3 bytes']);
    assert.equal(setting.settledCount, 1);
  });

  it('[ACC5] a client that leaves before it leaves no timer behind', () => {
    const setting = new Setting();
    setting.token.closed(1006);
    assert.equal(setting.clock.timerCount, 0);
    assert.equal(setting.settledCount, 1);
  });

  it('[ACC5] a client that leaves while its token is checked: what was opened for it hears so', async () => {
    const setting = new Setting();
    setting.token.text('a token');
    setting.token.closed(1006);
    setting.admit();
    await settle();
    assert.deepEqual(setting.heard, ['closed 1006']);
    assert.equal(setting.settledCount, 1);
  });
});
