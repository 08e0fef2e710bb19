import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { ConfigError } from '../../pipeline/errors.ts';
import {
  checkHost,
  CLIENT_PORT_SETTINGS,
  listenCause,
  listenFault,
} from '../../server/transport/listen_fault.ts';

const wanted = (host: string, port = 0) => ({ settings: CLIENT_PORT_SETTINGS, host, port });

describe('a port that cannot be had', () => {
  it('[TRN18] says whether it is taken, elsewhere, for others, or unheard of', async (test) => {
    const taken = createServer().listen(0, '127.0.0.1');
    test.after(() => taken.close());
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    for (const [host, at, text] of [
      [
        '127.0.0.1',
        port,
        `port: 127.0.0.1 port ${port} is taken; is Earwitness already running? (EADDRINUSE)`,
      ],
      ['192.0.2.1', 0, 'host: 192.0.2.1 is no address of this machine (EADDRNOTAVAIL)'],
    ] as const) {
      const { message } = listenFault(wanted(host, at), await listenCause(wanted(host, at)));
      assert.equal(message, `cannot start as configured: ${text}`);
    }
    const forbidden = Object.assign(new Error('no'), { code: 'EACCES' });
    assert.match(
      listenFault(wanted('::1', 80), forbidden).message,
      /port: port 80 is only for privileged users/,
    );
    assert.equal(await listenCause(wanted('127.0.0.1')), undefined);
  });

  it('[TRN18] a name that cannot be resolved is told as such', async () => {
    await assert.rejects(checkHost(wanted('none.invalid')), (error) => {
      assert(error instanceof ConfigError);
      return /host: the name none\.invalid cannot be resolved/.test(error.message);
    });
    for (const host of ['0.0.0.0', '::', 'localhost']) await checkHost(wanted(host));
  });
});
