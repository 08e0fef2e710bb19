import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { clientBlock, isLoopback } from '../../server/access/address.ts';
import { RateLimit } from '../../server/access/rate_limit.ts';
import { SessionQuota } from '../../server/access/session_quota.ts';
import { startAccess } from '../support/access_setting.ts';
import { FakeClock } from '../support/fake_clock.ts';

function setUp(options: Partial<ConstructorParameters<typeof RateLimit>[0]> = {}) {
  const clock = new FakeClock();
  return { clock, rate: new RateLimit({ clock, perMinute: 60, burst: 5, maxCount: 1_000, ...options }) };
}

describe('rate of connections', () => {
  it('[RAT1] a burst, then one per interval; whoever waits as told is let in, whoever does not loses nothing', () => {
    const { clock, rate } = setUp();
    for (let i = 0; i < 5; i++) assert.equal(rate.take('a'), 0);
    assert.equal(rate.take('a'), 1_000);
    assert.equal(rate.take('b'), 0, 'others are not concerned');
    clock.jump(400);
    for (let i = 0; i < 10; i++) assert.equal(Math.round(rate.take('a')), 600);
    clock.jump(600);
    assert.equal(rate.take('a'), 0);
    assert(rate.take('a') > 0);
    clock.jump(3_600_000);
    for (let i = 0; i < 5; i++) assert.equal(rate.take('a'), 0);
    assert(rate.take('a') > 0, 'a pause saves no more than the burst');
  });

  it('[RAT2] in any time no more pass than the burst and the rate allow', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3_000), { maxLength: 200 }), (pausesMs) => {
        const { clock, rate } = setUp();
        const startMs = clock.nowMs();
        let passed = 0;
        for (const pauseMs of pausesMs) {
          clock.jump(pauseMs);
          if (rate.take('a') === 0) passed++;
          assert(passed <= 5 + (clock.nowMs() - startMs) / 1_000 + 1e-6);
        }
      }),
    );
  });

  it('[RAT3] the table is bounded: a million addresses, and it forgets the one unused for longest', () => {
    const { rate } = setUp({ burst: 1, maxCount: 100 });
    for (let i = 0; i < 1_000_000; i++) rate.take(`address ${i}`);
    assert.equal(rate.count, 100);
    assert(rate.take('address 999999') > 0);
    assert(rate.take('address 999900') > 0, 'the oldest that is remembered');
    assert.equal(rate.take('new'), 0);
    assert(rate.take('address 999900') > 0, 'using it made it younger');
    assert.equal(rate.take('address 999901'), 0, 'this one had to go');
  });

  it('[RAT4] an IPv6 network of 64 bits counts as one address; IPv4 addresses are each their own', () => {
    assert.equal(clientBlock('192.0.2.7'), '192.0.2.7');
    assert.equal(clientBlock('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
    assert.equal(clientBlock('2001:db8:1:2::1'), '2001:db8:1:2::/64');
    assert.equal(clientBlock('2001:db8::1'), '2001:db8:0:0::/64');
    assert.equal(clientBlock('::1'), '0:0:0:0::/64');
    assert.equal(clientBlock('2001:db8:1:2:3::'), '2001:db8:1:2::/64');
    const group = fc.integer({ min: 1, max: 0xffff }).map((value) => value.toString(16));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const expected = `${groups.slice(0, 4).join(':')}::/64`;
        assert.equal(clientBlock(groups.join(':')), expected);
        assert.equal(clientBlock(`${groups.slice(0, 5).join(':')}::${groups[7]}`), expected);
      }),
    );
  });

  it('[RAT5] 429 with Retry-After before the upgrade; this machine itself is exempt', async (test) => {
    const { access, clock } = await startAccess(test, { connectionsPerMinutePerIp: 8 });
    const judge = (remoteAddress: string) => access.judgeRate({ remoteAddress });
    for (let i = 0; i < 2; i++) assert.equal(judge('192.0.2.1'), undefined);
    const refusal = judge('192.0.2.1');
    assert.equal(refusal?.status, 429);
    assert.equal(refusal.headers['Retry-After'], '8');
    assert.equal(judge('192.0.2.2'), undefined);
    await clock.advance(8_000);
    assert.equal(judge('192.0.2.1'), undefined);
    for (let i = 0; i < 50; i++) {
      for (const address of ['127.0.0.1', '::1', '127.8.0.1']) assert.equal(judge(address), undefined);
    }
    assert(!isLoopback('127.0.0.1.evil.example') && !isLoopback('1127.0.0.1') && !isLoopback('::2'));
  });

  it('[RAT6] what is counted is given back once, and nothing stays behind', () => {
    const quota = new SessionQuota();
    const shares = [
      { name: 'a', max: 2, holder: 'a' },
      { name: 'b', max: 1, holder: 'b' },
    ];
    const giveBack = quota.take(shares);
    assert.equal(quota.fullShare(shares)?.name, 'b');
    giveBack();
    giveBack();
    assert.equal(quota.fullShare(shares), undefined);
    assert.equal(quota.size, 0);
  });
});
