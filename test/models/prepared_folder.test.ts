import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  createWorkFolder,
  findPrepared,
  originOf,
  PREPARED_NAMES,
  preparedFolderName,
  readPreparedFolder,
  removeSuperseded,
  sweepPreparation,
  writeManifest,
} from '../../models/prepared_folder.ts';

const PUBLISHED = { encoder: 'e'.repeat(64), decoder: 'd'.repeat(64) };
const FROM = { origin: originOf(PUBLISHED), weightType: 'int8' } as const;

let dir: string;
let folder: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
  folder = join(dir, preparedFolderName(FROM));
  await mkdir(folder);
  for (const name of Object.values(PREPARED_NAMES)) await writeFile(join(folder, name), `graph ${name}`);
  await writeManifest(folder, FROM);
});
afterEach(() => rm(dir, { recursive: true }));

/** A second folder of the same graphs, whose manifest differs. */
async function addSibling(change: (manifest: string) => string | undefined): Promise<string> {
  const sibling = join(dir, 'prepared-0123456789abcdef');
  await mkdir(sibling);
  for (const name of Object.values(PREPARED_NAMES)) await writeFile(join(sibling, name), `graph ${name}`);
  const manifest = change(await readFile(join(folder, 'manifest.json'), 'utf8'));
  if (manifest !== undefined) await writeFile(join(sibling, 'manifest.json'), manifest);
  return sibling;
}

function raisePreparer(by: number): (manifest: string) => string {
  return (manifest) =>
    manifest.replace(/"preparer": (\d+)/, (_, version: string) => `"preparer": ${Number(version) + by}`);
}

describe('prepared folders', () => {
  it('[PREP8] what a preparation left is whole; a changed, cut or lost file is named', async () => {
    assert.equal((await readPreparedFolder(folder)).state, 'whole');
    assert.deepEqual(await readPreparedFolder(join(dir, 'nowhere')), { state: 'absent' });
    const path = join(folder, PREPARED_NAMES.step);
    for (const [text, fault] of [
      ['grapH step.onnx', 'step.onnx damaged'],
      ['graph', 'step.onnx damaged'],
      [undefined, 'step.onnx absent'],
    ] as const) {
      if (text === undefined) await rm(path);
      else await writeFile(path, text);
      assert.deepEqual(await readPreparedFolder(folder), { state: 'damaged', fault });
      assert.deepEqual(await findPrepared(dir, PUBLISHED), { state: 'damaged', fault });
    }
  });

  it('[PREP8] a folder with no manifest, or one that is not valid, is damaged', async () => {
    for (const text of ['', '{', '[]', '{"files":[]}', undefined]) {
      const path = join(folder, 'manifest.json');
      if (text === undefined) await rm(path);
      else await writeFile(path, text);
      const fault = 'manifest.json missing or not valid';
      assert.deepEqual(await findPrepared(dir, PUBLISHED), { state: 'damaged', fault });
    }
  });

  it('[PREP9] only graphs of these weights, this preparer, this runtime and this processor count', async () => {
    assert.equal((await findPrepared(dir, PUBLISHED)).state, 'whole');
    assert.equal((await findPrepared(dir, { ...PUBLISHED, encoder: '0'.repeat(64) })).state, 'absent');
    const manifest = await readFile(join(folder, 'manifest.json'), 'utf8');
    for (const changed of [
      raisePreparer(-1)(manifest),
      raisePreparer(1)(manifest),
      manifest.replace(/"runtime": "/, '"runtime": "0.'),
      manifest.replace(/"processor": "/, '"processor": "another '),
    ]) {
      assert.notEqual(changed, manifest);
      await writeFile(join(folder, 'manifest.json'), changed);
      assert.deepEqual(await findPrepared(dir, PUBLISHED), { state: 'absent' });
    }
  });

  it('[PREP9] of several folders a whole one is found beside damaged and foreign ones', async () => {
    await addSibling(() => undefined);
    await mkdir(join(dir, 'notes'));
    assert.equal((await findPrepared(dir, PUBLISHED)).state, 'whole');
    assert.deepEqual(await findPrepared(join(dir, 'nowhere'), PUBLISHED), { state: 'absent' });
  });

  it('[PREP10] folders of an older preparer, or without manifest, go; a newer one stays', async () => {
    for (const [change, remains] of [
      [raisePreparer(-1), false],
      [() => undefined, false],
      [raisePreparer(1), true],
      [(manifest: string) => manifest, true],
    ] as const) {
      const sibling = await addSibling(change);
      await removeSuperseded(dir);
      assert.equal((await readPreparedFolder(sibling)).state, remains ? 'whole' : 'absent');
      await rm(sibling, { recursive: true, force: true });
    }
    assert.equal((await readPreparedFolder(folder)).state, 'whole');
  });

  it('[PREP10] what dead preparations left is swept; the folders of living ones and finished ones stay', async () => {
    const deadPid = Number(execFileSync(process.execPath, ['-e', 'console.log(process.pid)']).toString());
    const host = hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-');
    const living = await createWorkFolder(dir);
    const elsewhere = join(dir, `.preparing-elsewhere_${deadPid}_abc`);
    const dead = join(dir, `.preparing-${host}_${deadPid}_abc`);
    for (const path of [elsewhere, dead]) await mkdir(join(path, 'finished'), { recursive: true });
    await sweepPreparation(dir);
    const names = [living, elsewhere, folder].map((path) => path.slice(dir.length + 1));
    assert.deepEqual((await readdir(dir)).sort(), names.sort());
    await rename(living, dead);
    await sweepPreparation(dir);
    assert.equal((await readdir(dir)).length, 2);
  });
});
