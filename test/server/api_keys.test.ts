import assert from 'node:assert/strict';
import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../../pipeline/errors.ts';
import { KEYS_FILE_MAX_BYTES, KEYS_POLL_INTERVAL_MS } from '../../pipeline/limits.ts';
import { createKey, findKey, isKeyForm } from '../../server/access/api_keys.ts';
import { KeyRing } from '../../server/access/key_ring.ts';
import { createApiKey, listApiKeys, revokeApiKey } from '../../server/commands/keys_command.ts';
import { defaultKeysFile, readKeySet, updateKeys } from '../../server/access/keys_file.ts';
import { addKey, NOW, temporaryKeysFile } from '../support/access_setting.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { KeptLog } from '../support/real_server.ts';

function output() {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  return { ...streams, printed: () => String(streams.stdout.read() ?? '') };
}

describe('API keys', () => {
  it('[KEY1] a key is 256 random bits behind a prefix that scanners find, and is its own only match', () => {
    const made = Array.from({ length: 50 }, (_, i) => createKey({ name: `k${i}` }, NOW));
    const keys = made.map(({ key }) => key);
    for (const { secret, key } of made) {
      assert.match(secret, /^ew_[A-Za-z0-9_-]{43}$/);
      assert(isKeyForm(secret));
      assert.equal(findKey(keys, secret), key);
      assert(!JSON.stringify(key).includes(secret.slice(3)));
    }
    assert.equal(new Set(keys.map(({ id }) => id)).size, 50);
    const [{ secret }] = made as [(typeof made)[0]];
    for (let i = 0; i < secret.length; i++) {
      const changed = `${secret.slice(0, i)}${secret[i] === 'A' ? 'B' : 'A'}${secret.slice(i + 1)}`;
      assert.equal(findKey(keys, changed), undefined);
    }
    for (const other of ['', secret.slice(1), `${secret}A`, secret.toLowerCase()]) {
      assert.equal(findKey(keys, other), undefined);
    }
  });

  it('[KEY2] the file holds hashes only and is for its owner', async (test) => {
    const path = join(dirname(await temporaryKeysFile(test)), 'deeper', 'keys.json');
    const { secret } = await addKey(path, { name: 'web', maxSessions: 3 });
    const text = await readFile(path, 'utf8');
    assert(!text.includes(secret.slice(3)));
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(dirname(path))).mode & 0o777, 0o700);
    const { signingSecret, keys } = (await readKeySet(path)) ?? assert.fail();
    assert.equal(signingSecret.length, 32);
    assert.equal(findKey(keys, secret)?.maxSessions, 3);
    await addKey(path, { name: 'app' });
    assert.deepEqual((await readKeySet(path))?.signingSecret, signingSecret, 'tokens stay valid');
  });

  it('[KEY3] of two writers at once none loses a key: the second is refused, with what to do', async (test) => {
    const path = await temporaryKeysFile(test);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => addKey(path, { name: `k${i}` })),
    );
    const made = outcomes.filter(({ status }) => status === 'fulfilled');
    assert(made.length >= 1);
    assert.equal((await readKeySet(path))?.keys.length, made.length);
    await writeFile(`${path}.new`, 'left by a process that was killed');
    await assert.rejects(
      addKey(path, { name: 'x' }),
      /being changed by another process.*remove .*keys\.json\.new/,
    );
  });

  it('[KEY3] a change that fails leaves the file as it was, and nothing beside it', async (test) => {
    const path = await temporaryKeysFile(test);
    await addKey(path, { name: 'web' });
    const before = await readFile(path, 'utf8');
    const fail = (): never => {
      throw new Error('no');
    };
    await assert.rejects(updateKeys(path, fail), /no/);
    assert.equal(await readFile(path, 'utf8'), before);
    await addKey(path, { name: 'app' });
  });

  it('[KEY4] a file that is no file of keys is a ConfigError that quotes none of it', async (test) => {
    const path = await temporaryKeysFile(test);
    const { secret } = await addKey(path, { name: 'web' });
    const good = await readFile(path, 'utf8');
    for (const bad of ['', '{', '[]', 'null', `"${secret}"`, good.replace('"version": 1', '"version": 2')]) {
      await writeFile(path, bad);
      await assert.rejects(readKeySet(path), (error) => {
        assert(error instanceof ConfigError);
        assert(!error.message.includes(secret));
        assert.match(error.message, /is not a file of keys/);
        return true;
      });
    }
    await writeFile(path, ' '.repeat(KEYS_FILE_MAX_BYTES + 1));
    await assert.rejects(readKeySet(path), /cannot be read/);
    await assert.rejects(readKeySet(dirname(path)), ConfigError);
    await fc.assert(
      fc.asyncProperty(fc.string(), async (text) => {
        await writeFile(path, text);
        await assert.rejects(readKeySet(path), ConfigError);
      }),
      { numRuns: 50 },
    );
  });

  it('[KEY5] create shows the key once, on stdout alone; list shows no secret; revoke takes it out', async (test) => {
    const keysFile = await temporaryKeysFile(test);
    const { stdout, stderr, printed } = output();
    const wanted = { keysFile, maxSessions: '7', stdout, stderr };
    await createApiKey({ ...wanted, name: 'my app' });
    const secret = printed().trim();
    assert(isKeyForm(secret));
    assert.doesNotMatch(String(stderr.read()), /ew_/);
    await listApiKeys({ keysFile, json: false, stdout });
    assert.match(printed(), /^ID .*\n[0-9a-f]{8} .* 7 +my app\n$/);
    await listApiKeys({ keysFile, json: true, stdout });
    const [{ id }] = JSON.parse(printed()) as [{ id: string }];
    await assert.rejects(createApiKey({ ...wanted, name: 'my app' }), /that no other key has/);
    for (const name of ['', ' a', 'a\nb', 'a\u001b[31m', 'x'.repeat(65)]) {
      await assert.rejects(createApiKey({ ...wanted, name }), /printable characters/);
    }
    for (const maxSessions of ['0', '-1', '1.5', '', '1e3', '9999999']) {
      await assert.rejects(createApiKey({ ...wanted, name: 'b', maxSessions }), /--max-sessions: expected/);
    }
    await assert.rejects(revokeApiKey({ keysFile, id: 'nothere', stderr }), /expected the id of a key/);
    await revokeApiKey({ keysFile, id, stderr });
    assert.deepEqual((await readKeySet(keysFile))?.keys, []);
    const nowhere = `${keysFile}.none`;
    await assert.rejects(revokeApiKey({ keysFile: nowhere, id, stderr }), /expected the id of a key/);
    assert.equal(await readKeySet(nowhere), undefined, 'a revocation makes no file');
  });

  it('[KEY6] keys that were created or revoked count after one interval, and which were revoked is told', async (test) => {
    const path = await temporaryKeysFile(test);
    const { ring, clock, revoked } = await startRing(path);
    assert.equal(ring.keySet, undefined);
    const web = await addKey(path, { name: 'web' });
    await addKey(path, { name: 'app' });
    await clock.advance(KEYS_POLL_INTERVAL_MS);
    await until(() => ring.keySet?.keys.length === 2);
    await updateKeys(path, (keys) => keys.filter(({ id }) => id !== web.key.id));
    await ring.reload();
    assert.deepEqual(revoked, [web.key.id]);
    ring.close();
    assert.equal(clock.timerCount, 0);
  });

  it('[KEY7] a file that vanishes or is damaged opens no door: the keys before stay in force', async (test) => {
    const path = await temporaryKeysFile(test);
    const { secret } = await addKey(path, { name: 'web' });
    const { ring, clock, log } = await startRing(path);
    const isKnown = (): boolean => findKey(ring.keySet?.keys ?? [], secret) !== undefined;
    await writeFile(path, '{');
    await clock.advance(KEYS_POLL_INTERVAL_MS);
    await until(() => log.lines.some(({ level }) => level === 'error'));
    assert(isKnown());
    await assert.rejects(ring.reload(), ConfigError);
    assert(isKnown());
    await rm(path);
    await ring.reload();
    assert(isKnown());
    assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 1);
    ring.close();
  });

  it('[KEY7] a damaged file at the start is a ConfigError, one that others can read is told', async (test) => {
    const path = await temporaryKeysFile(test);
    await writeFile(path, '{}', { mode: 0o600 });
    await assert.rejects(startRing(path), ConfigError);
    const other = `${path}2`;
    await addKey(other, { name: 'web' });
    await chmod(other, 0o644);
    const { ring, log } = await startRing(other);
    assert(log.lines.some(({ event }) => event.startsWith('others can read')));
    ring.close();
  });

  it('[KEY8] the file is in the XDG configuration; an empty path means no keys', async () => {
    assert.equal(defaultKeysFile({}, '/home/ada'), '/home/ada/.config/earwitness/keys.json');
    assert.equal(defaultKeysFile({ XDG_CONFIG_HOME: '/x' }, '/home/ada'), '/x/earwitness/keys.json');
    assert.equal(defaultKeysFile({ XDG_CONFIG_HOME: 'x' }, '/h'), '/h/.config/earwitness/keys.json');
    const { ring, clock } = await startRing('');
    await ring.reload();
    assert.equal(ring.keySet, undefined);
    assert.equal(clock.timerCount, 0);
  });
});

async function startRing(path: string) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const revoked: string[] = [];
  const ring = new KeyRing({ path, clock, log, onRevoked: (ids) => revoked.push(...ids) });
  await ring.start();
  return { ring, clock, log, revoked };
}

/** Files are read by real threads: waits for them turn by turn. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await settle();
}
