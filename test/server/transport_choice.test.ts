import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError } from '../../pipeline/errors.ts';
import { chooseTransport } from '../../server/transport/transport_choice.ts';
import { findUws, loadUws, type UwsSearch } from '../../server/transport/uws_module.ts';

const missing = (): UwsSearch => ({ found: false, reason: 'it has no binary for this machine' });

describe('transport choice', () => {
  it('[TRN24] auto takes ws where uWebSockets.js does not load, and says why', () => {
    const choice = chooseTransport('auto', { findNative: missing });
    assert.equal(choice.name, 'ws');
    assert.equal(choice.reason, 'it has no binary for this machine');
    assert.equal(choice.create().name, 'ws');
  });

  it('[TRN24] uws that cannot be had is a ConfigError that says why and what to do', () => {
    assert.throws(
      () => chooseTransport('uws', { findNative: missing }),
      (error) =>
        error instanceof ConfigError &&
        error.code === 'bad_config' &&
        ['it has no binary for this machine', 'glibc', 'Node 20', '`ws`'].every((part) =>
          error.message.includes(part),
        ),
    );
  });

  it('[TRN24] ws does not even look for uWebSockets.js', () => {
    assert.equal(chooseTransport('ws', { findNative: () => assert.fail('looked') }).name, 'ws');
  });

  it('[TRN24] auto takes uWebSockets.js where it loads', () => {
    const search = findUws();
    const choice = chooseTransport('auto', { findNative: () => search });
    assert.equal(choice.name, search.found ? 'uws' : 'ws');
    assert.equal(choice.create().name, choice.name);
  });

  it('[TRN24] the JavaScript imitation, and what does not load at all, are not uWebSockets.js', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'earwitness-uws-'));
    t.after(() => {
      rmSync(folder, { recursive: true });
    });
    const imitation = join(folder, 'imitation.cjs');
    const names = ['App', 'SSLApp', 'us_listen_socket_close', 'us_socket_local_port'];
    writeFileSync(imitation, names.map((name) => `exports.${name} = function () {};`).join('\n'));
    const broken = join(folder, 'broken.node');
    writeFileSync(broken, 'not a binary');
    for (const [path, reason] of [
      [imitation, /not the native one/],
      [broken, /does not load: /],
      [join(folder, 'none.node'), /does not load: /],
    ] as const) {
      const search = loadUws(path);
      assert(!search.found);
      assert.match(search.reason, reason);
      assert.doesNotMatch(search.reason, /\n/);
    }
  });

  it('[TRN24] the imitation that ships with the optional package is not taken for the native one', () => {
    const packageEntry = createRequire(import.meta.url).resolve('uWebSockets.js');
    const search = loadUws(join(packageEntry, '..', '..', 'dist', 'index.js'));
    assert(!search.found);
  });
});
