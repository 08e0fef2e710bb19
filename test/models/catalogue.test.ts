import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CATALOGUE,
  DEFAULT_RECOGNISER,
  findModel,
  findRecogniser,
  SILERO_VAD_V5,
} from '../../models/catalogue.ts';
import { ConfigError } from '../../pipeline/errors.ts';

describe('catalogue', () => {
  it('[MOD1] every entry pins its package and its files: exact version, integrity, size, sha256', () => {
    for (const { id, source, files } of CATALOGUE) {
      assert.match(id, /^[a-z0-9]+(?:-[a-z0-9]+)*$/);
      assert.match(source.spec, /^(?:@[a-z0-9-]+\/)?[a-z0-9-]+@\d+\.\d+\.\d+$/, id);
      assert.match(source.integrity, /^sha512-[A-Za-z0-9+/]{86}==$/, id);
      assert.ok(files.length > 0);
      for (const file of files) {
        assert.match(file.name, /^[a-z0-9_]+\.onnx$/);
        assert.ok(file.pathInPackage.startsWith('package/') && !file.pathInPackage.includes('..'));
        assert.match(file.sha256, /^[0-9a-f]{64}$/);
        assert.ok(Number.isSafeInteger(file.bytes) && file.bytes > 0);
      }
    }
  });

  it('[MOD1] ids, and the names of the files of one model, occur once', () => {
    assert.equal(new Set(CATALOGUE.map(({ id }) => id)).size, CATALOGUE.length);
    for (const { files } of CATALOGUE)
      assert.equal(new Set(files.map(({ name }) => name)).size, files.length);
  });

  it('[MOD2] what a server needs by default is free for commercial use', () => {
    assert.ok(DEFAULT_RECOGNISER.licence.freeForCommercialUse);
    assert.ok(SILERO_VAD_V5.licence.freeForCommercialUse);
  });

  it('[MOD2] a model with conditions on commercial use says so', () => {
    const { licence } = findModel('moonshine-base-es');
    assert.ok(!licence.freeForCommercialUse);
    assert.match(licence.note, /commercial/);
  });

  it('[MOD3] an unknown id is a configuration error that names the ids there are', () => {
    const named = (error: unknown): boolean =>
      error instanceof ConfigError &&
      error.code === 'bad_config' &&
      error.message.includes('"nonesuch"') &&
      error.message.includes(DEFAULT_RECOGNISER.id);
    assert.throws(() => findModel('nonesuch'), named);
    assert.throws(() => findRecogniser('nonesuch'), named);
    assert.throws(() => findRecogniser(SILERO_VAD_V5.id), ConfigError);
    assert.equal(findRecogniser(DEFAULT_RECOGNISER.id), DEFAULT_RECOGNISER);
  });
});
