import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { loadConfig } from '../../server/config.ts';
import { isProxyRule, TrustedProxies } from '../../server/access/trusted_proxies.ts';
import { startAccess, requestOf } from '../support/access_setting.ts';

function clientOf(rules: readonly string[], peer: string, forwarded?: string): string {
  const headers = new Map(forwarded === undefined ? [] : [['x-forwarded-for', forwarded]]);
  return new TrustedProxies(rules).clientAddress({ remoteAddress: peer, headers });
}

describe('trusted proxies', () => {
  it('[PRX1] without trusted proxies, and from anybody else, the header counts for nothing', () => {
    assert.equal(clientOf([], '192.0.2.1', '198.51.100.7'), '192.0.2.1');
    assert.equal(clientOf(['10.0.0.0/8'], '192.0.2.1', '198.51.100.7'), '192.0.2.1');
    assert.equal(clientOf(['10.0.0.0/8'], '10.1.2.3'), '10.1.2.3');
    assert.equal(clientOf(['10.0.0.0/8'], '10.1.2.3', ''), '10.1.2.3');
  });

  it('[PRX2] the client is the last address that is no trusted proxy; what stands before it is its own claim', () => {
    const rules = ['loopback', '10.0.0.0/8', '2001:db8::/32'];
    assert.equal(clientOf(rules, '127.0.0.1', '198.51.100.7'), '198.51.100.7');
    assert.equal(clientOf(rules, '::1', '203.0.113.9, 198.51.100.7, 10.9.9.9'), '198.51.100.7');
    assert.equal(clientOf(rules, '10.0.0.1', '10.0.0.2, 127.0.0.1, 198.51.100.7'), '198.51.100.7');
    assert.equal(clientOf(rules, '2001:db8::5', '2001:4860::0001'), '2001:4860::1');
    assert.equal(clientOf(rules, '10.0.0.1', '::ffff:198.51.100.7'), '198.51.100.7');
    assert.equal(clientOf(rules, '10.0.0.1', '10.0.0.2,10.0.0.3'), '10.0.0.2');
  });

  it("[PRX3] ports are left out; beyond what is no address, or is another machine's own, nobody is known", () => {
    assert.equal(clientOf(['10.0.0.0/8'], '10.0.0.1', '198.51.100.7:4711'), '198.51.100.7');
    assert.equal(clientOf(['10.0.0.0/8'], '10.0.0.1', '[2001:4860::1]:4711'), '2001:4860::1');
    for (const hop of ['unknown', '_hidden', '300.1.1.1', '127.0.0.1', '::1', 'localhost', '']) {
      assert.equal(clientOf(['10.0.0.0/8'], '10.0.0.1', `198.51.100.7, ${hop}`), '10.0.0.1', hop);
    }
  });

  it('[PRX4] nothing that a client writes makes it anybody but itself', () => {
    const claims = fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constant('127.0.0.1')));
    fc.assert(
      fc.property(claims, (claimed) => {
        const forwarded = [...claimed, '198.51.100.7'].join(', ');
        assert.equal(clientOf(['loopback', '10.0.0.0/8'], '10.0.0.1', forwarded), '198.51.100.7');
      }),
    );
  });

  it('[PRX5] a rule is an address, a network or loopback; never everybody', () => {
    for (const rule of ['loopback', '10.0.0.0/8', '192.0.2.1', '2001:db8::/32', '::1'])
      assert.ok(isProxyRule(rule));
    for (const rule of [
      '',
      '*',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/33',
      '10.0.0/8',
      'proxy.example',
      'fe80::1%eth0',
    ])
      assert.ok(!isProxyRule(rule), rule);
    assert.deepEqual(loadConfig({ trustedProxies: 'loopback, 10.0.0.0/8' }).config.trustedProxies, [
      ...['loopback', '10.0.0.0/8'],
    ]);
    assert.throws(
      () => loadConfig({ trustedProxies: '*' }),
      /trustedProxies: expected up to 64 addresses or networks/,
    );
  });

  it('[PRX6] limits count the clients behind a proxy, not the proxy', async (test) => {
    const { access } = await startAccess(test, { connectionsPerMinutePerIp: 4 });
    const proxies = new TrustedProxies(['loopback']);
    const isAdmitted = (client: string): boolean => {
      const request = requestOf({ address: '127.0.0.1', headers: { 'x-forwarded-for': client } });
      return access.judgeRate({ remoteAddress: proxies.clientAddress(request) }) === undefined;
    };
    assert.deepEqual([isAdmitted('192.0.2.1'), isAdmitted('192.0.2.1')], [true, false]);
    assert.ok(isAdmitted('192.0.2.2'));
  });
});
