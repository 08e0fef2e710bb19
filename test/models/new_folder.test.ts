import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeFolder, makePrivateFolder } from '../../models/new_folder.ts';
import { createOwnedFolder } from '../../models/owned_folder.ts';
import { createDownloadFolder } from '../../models/download_folder.ts';

describe('new folders', () => {
  it('[MOD22] a folder is made with all that is missing above it, and one that is there is left', async (test) => {
    const dir = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(dir, { recursive: true }));
    for (const make of [makeFolder, makePrivateFolder]) {
      const path = join(dir, make.name, 'a', 'b');
      await make(path);
      await make(path);
      assert((await stat(path)).isDirectory());
      await writeFile(join(path, 'file'), '');
      await assert.rejects(make(join(path, 'file')), { code: 'EEXIST' });
      await assert.rejects(make(join(path, 'file', 'c')), { code: 'ENOTDIR' });
    }
    const { mode } = await stat(join(dir, 'makePrivateFolder', 'a'));
    if (process.platform !== 'win32') assert.equal(mode & 0o777, 0o700);
  });

  it(
    '[MOD22] where no folder can be made the attempt fails instead of going on for ever',
    { skip: !existsSync('/proc/1') },
    async () => {
      for (const make of [makeFolder, makePrivateFolder, createOwnedFolder, createDownloadFolder]) {
        await assert.rejects(make('/proc/1/none/such'), /ENOENT|EACCES|EPERM/, make.name);
      }
    },
  );
});
