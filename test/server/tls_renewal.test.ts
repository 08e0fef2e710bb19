import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import { WebSocket } from 'ws';
import { ConfigError } from '../../pipeline/errors.ts';
import { readTlsFiles } from '../../server/transport/tls_files.ts';
import { TRANSPORT_OPTIONS } from '../../server/transport/transport_bounds.ts';
import { chooseTransport } from '../../server/transport/transport_choice.ts';
import { findUws } from '../../server/transport/uws_module.ts';
import { UwsTransport } from '../../server/transport/uws_transport.ts';
import { WsTransport } from '../../server/transport/ws_transport.ts';
import { selfSigned } from '../support/self_signed.ts';
import { TransportBench } from '../support/transport_bench.ts';

const search = findUws();

/** Fingerprint of the certificate that a new connection is shown. */
async function shownBy(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

describe('certificates', () => {
  it('[TLS1] new connections get the new certificate, those that are open live on; bad files change nothing', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const tls = { certPath: join(folder, 'cert.pem'), keyPath: join(folder, 'key.pem') };
    const install = async (): Promise<string> => {
      const { cert, key } = selfSigned();
      await writeFile(tls.certPath, cert);
      await writeFile(tls.keyPath, key);
      return new X509Certificate(cert).fingerprint256;
    };
    const first = await install();
    await TransportBench.use(
      (options) => new WsTransport(options),
      { tls },
      async (bench) => {
        assert.equal(await shownBy(bench.port), first);
        const old = new WebSocket(`wss://127.0.0.1:${bench.port}/`, { rejectUnauthorized: false });
        await once(old, 'open');
        const second = await install();
        assert.equal(await shownBy(bench.port), first, 'nothing happens by itself');
        for (let i = 0; i < 3; i++) await bench.transport.renewTls(readTlsFiles(tls));
        assert.equal(await shownBy(bench.port), second);
        old.send('still here');
        assert.equal(String((await once(old, 'message'))[0]), 'still here');
        const young = new WebSocket(`wss://127.0.0.1:${bench.port}/`, { rejectUnauthorized: false });
        await once(young, 'open');
        await writeFile(tls.keyPath, selfSigned().key);
        assert.throws(() => readTlsFiles(tls), ConfigError);
        await rm(tls.keyPath);
        assert.throws(() => readTlsFiles(tls), ConfigError);
        assert.equal(await shownBy(bench.port), second);
        const closed = Promise.all([once(old, 'close'), once(young, 'close')]);
        bench.transport.stopListening();
        await assert.rejects(shownBy(bench.port), /ECONNREFUSED/);
        await Promise.all([bench.transport.close(), closed]);
      },
    );
  });

  it('[TLS2] uWebSockets.js says that it cannot, and auto takes it only without TLS', async () => {
    assert.equal(chooseTransport('auto', { hasTls: true }).name, 'ws');
    if (!search.found) return;
    assert.equal(chooseTransport('auto').name, 'uws');
    assert.equal(chooseTransport('uws', { hasTls: true }).name, 'uws');
    const transport = new UwsTransport(search.module, TRANSPORT_OPTIONS);
    await assert.rejects(transport.renewTls(), ConfigError);
  });
});
