import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EXIT_CONFIG } from '../../pipeline/errors.ts';
import { runCli } from '../../server/commands/cli.ts';
import { flagOf, renderSettingsTable, SETTING_KEYS, settingOf } from '../../server/settings.ts';
import { silence } from '../support/sound.ts';
import { wavOf } from '../support/wav.ts';

const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
const ROOT = new URL('../../../', import.meta.url);

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
async function run(...args: string[]): Promise<Outcome> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  let stdout = '';
  let stderr = '';
  streams.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
  streams.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  const status = await runCli(args, streams);
  const ended = Promise.all([once(streams.stdout, 'end'), once(streams.stderr, 'end')]);
  streams.stdout.end();
  streams.stderr.end();
  await ended;
  return { status, stdout, stderr };
}

describe('command line', () => {
  it('[CLI1] --version prints the version of package.json, --help what there is', async () => {
    const { version } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as {
      version: string;
    };
    assert.deepEqual(await run('--version'), { status: 0, stdout: `${version}\n`, stderr: '' });
    const { status, stdout } = await run('--help');
    assert.equal(status, 0);
    for (const command of ['serve', 'transcribe', 'models', 'config'])
      assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
  });

  it('[CLI2] a command line that makes no sense is status 2, with what may be meant', async () => {
    for (const [args, hint] of [
      [[], /Usage: earwitness/],
      [['srve'], /earwitness: unknown command 'srve'\n\(Did you mean serve\?\)/],
      [['config', '--prot', '1'], /earwitness: unknown option '--prot'\n\(Did you mean --port\?\)/],
      [['models', 'pul'], /Did you mean pull\?/],
      [['config', '--port'], /argument missing/],
      [['transcribe'], /missing required argument 'file'/],
      [['transcribe', 'a.wav', '--format', 'pdf'], /Allowed choices are text, json, srt, vtt/],
      [['transcribe', 'a.wav', '--speed', '0'], /Expected a number above 0/],
      [['serve', 'now'], /too many arguments/],
      [['transcribe', '--format', 'srt', 'a.wav', 'b.wav'], /--format srt takes one file/],
      [['transcribe', '--url', 'ftp://host', 'a.wav'], /--url: expected ws:/],
      [['transcribe', '--token', 'x', 'a.wav'], /--token is for the server at --url/],
      [
        ['keys', 'create', '--name', 'a', '--max-sessions', 'many'],
        /--max-sessions: expected a whole number/,
      ],
      [['token', '--key-name', 'a', '--ttl', 'soon'], /--ttl: expected a time/],
      [['token', '--key-name', 'a', '--ttl', '999ms'], /--ttl: expected a time from 1s/],
      [['token', '--key-name', 'a', '--ttl', '25h'], /--ttl: expected a time from 1s to 24h/],
    ] as const) {
      const { status, stdout, stderr } = await run(...args);
      assert.equal(status, 2, args.join(' '));
      assert.match(stderr, hint);
      assert.equal(stdout, '');
    }
  });

  it('[CLI3] a bad configuration is status 42 and tells every fault, without a stack', async () => {
    const { status, stderr } = await run('serve', '--port', 'abc', '--log-level', 'loud');
    assert.equal(status, EXIT_CONFIG);
    assert.match(
      stderr,
      /^earwitness: cannot start as configured:\n {2}port: .*'abc' \(from --port\)\n {2}logLevel: /,
    );
    assert.doesNotMatch(stderr, /\n {4}at /);
  });

  it('[CLI4] every setting is a flag of serve and config, and is in their help', async () => {
    for (const command of ['serve', 'config']) {
      const { stdout } = await run(command, '--help');
      for (const key of SETTING_KEYS) {
        const value = settingOf(key).isSwitch === true ? '[' : '<';
        assert(stdout.includes(`${flagOf(key)} ${value}`), `${command} ${key}`);
      }
    }
  });

  it('[CLI5] config prints the effective configuration', async () => {
    const { status, stdout } = await run('config', '--port', '0', '--silence-ms', '700');
    assert.equal(status, 0);
    assert.match(stdout, /^silenceMs +700 +--silence-ms$/m);
    const { stdout: json } = await run('config', '--json', '--port', '0');
    const { port } = JSON.parse(json) as Record<string, unknown>;
    assert.deepEqual(port, { value: 0, origin: { kind: 'flag', name: '--port' } });
    assert.equal((await run('config', '--markdown')).stdout, `${renderSettingsTable()}\n`);
  });

  it('[CLI5] it tells what it ignored on stderr', async () => {
    const child = spawn(process.execPath, [MAIN, 'config', '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, EARWITNESS_PROT: '1', EARWITNESS_TOKEN: 'x' },
    });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    assert.match(stderr, /EARWITNESS_PROT is ignored: .* did you mean EARWITNESS_PORT\?/);
    assert.doesNotMatch(stderr, /EARWITNESS_TOKEN/);
    assert.doesNotThrow(() => JSON.parse(stdout));
  });

  it('[CLI6] the file of --config is read', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const file = join(folder, 'server.yaml');
    await writeFile(file, 'port: 1234\n');
    const { stdout } = await run('config', '--config', file);
    assert(stdout.match(/^port +1234 +(.*)$/m)?.[1] === file, stdout);
    await writeFile(file, `#${'x'.repeat(70_000)}`);
    const { status, stderr } = await run('config', '--config', file);
    assert.equal(status, EXIT_CONFIG);
    assert.match(stderr, /70001 bytes, more than 65536/);
  });

  it('[CLI7] models list shows the models of a folder', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const { status, stdout } = await run('models', 'list', '--models-dir', folder);
    assert.equal(status, 0);
    assert.match(stdout, /^moonshine-tiny-en .* absent /m);
  });

  it('[CLI8] the program ends with the status of its command, also when nobody reads its output', async () => {
    const child = spawn(process.execPath, [MAIN, 'config'], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.destroy();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    const bad = spawn(process.execPath, [MAIN, 'serve'], {
      stdio: 'ignore',
      env: { ...process.env, EARWITNESS_PORT: 'abc' },
    });
    assert.deepEqual(await once(bad, 'exit'), [EXIT_CONFIG, null]);
  });

  it('[CLI8] nor does it matter when nobody reads its failures', async () => {
    const stderr = new Writable({
      write: (_bytes, _encoding, done) => {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      },
    });
    assert.equal(await runCli(['srve'], { stdout: new PassThrough(), stderr }), 2);
    await new Promise(setImmediate);
    assert(stderr.errored);
  });

  /** Takes nothing, as a full disk does. */
  function fullStream(code: string): Writable {
    return new Writable({
      write: (_bytes, _encoding, done) => {
        done(Object.assign(new Error(`${code}: write`), { code }));
      },
    });
  }

  it('[CLI13] output that is lost is told and fails the command; a reader that has gone does not', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    for (const args of [
      ['config'],
      ['config', '--json'],
      ['models', 'list', '--models-dir', folder],
      ['crashes', 'list', '--crash-dir', folder],
      ['--help'],
      ['--version'],
    ]) {
      for (const code of ['ENOSPC', 'EIO', 'EPIPE']) {
        const stderr = new PassThrough();
        const status = await runCli(args, { stdout: fullStream(code), stderr });
        const told = code === 'EPIPE' ? '' : `earwitness: the output was lost: ${code}: write\n`;
        assert.deepEqual([status, String(stderr.read() ?? '')], [told === '' ? 0 : 1, told], args.join(' '));
      }
    }
  });

  it(
    '[CLI13] a device that is full is noticed by the program',
    { skip: !existsSync('/dev/full') },
    async (test) => {
      const full = await open('/dev/full', 'w');
      test.after(() => full.close());
      const child = spawn(process.execPath, [MAIN, 'config'], { stdio: ['ignore', full.fd, 'pipe'] });
      assert(child.stderr !== null);
      const [stderr, exit] = await Promise.all([text(child.stderr), once(child, 'exit')]);
      assert.deepEqual(exit, [1, null]);
      assert.match(stderr, /^earwitness: the output was lost: ENOSPC.*\n$/);
    },
  );

  it('[KEY9] a key that cannot be shown is not made', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const keysFile = join(folder, 'keys.json');
    for (const code of ['ENOSPC', 'EPIPE']) {
      const stderr = new PassThrough();
      const args = ['keys', 'create', '--name', 'x', '--keys-file', keysFile];
      assert.equal(await runCli(args, { stdout: fullStream(code), stderr }), 1);
      assert.equal(
        String(stderr.read()),
        `earwitness: the key could not be shown and was not made: ${code}: write\n`,
      );
      assert.deepEqual(await readdir(folder), [], 'neither a file of no keys nor half a one');
    }
  });

  it('[MOD19] transcribe says what to do about missing weights, without a stack, and looks for its files first', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
    test.after(() => rm(folder, { recursive: true }));
    const wav = join(folder, 'speech.wav');
    await writeFile(wav, wavOf(silence(200)));
    const transcribe = async (
      file: string,
    ): Promise<{ readonly status: unknown; readonly stderr: string }> => {
      // Without npm in its PATH it cannot fetch anything.
      const child = spawn(
        process.execPath,
        [MAIN, 'transcribe', file, '--models-dir', join(folder, 'models')],
        {
          stdio: ['ignore', 'ignore', 'pipe'],
          env: { ...process.env, PATH: folder },
        },
      );
      const [stderr, exit] = await Promise.all([text(child.stderr), once(child, 'exit')]);
      return { status: exit[0] as unknown, stderr };
    };
    const { status, stderr } = await transcribe(wav);
    assert.equal(status, EXIT_CONFIG, stderr);
    assert.match(stderr, /\nearwitness: cannot pull moonshine-tiny-en /);
    assert.doesNotMatch(stderr, /worker|\n {4}at /);
    const [missing, letter] = [join(folder, 'missing.wav'), join(folder, 'letter.wav')];
    await writeFile(letter, 'no sound at all');
    for (const [file, fault] of [
      [missing, 'there is no such file'],
      [letter, 'expected WAV, or Opus in Ogg or WebM; this is something else'],
    ] as const) {
      assert.deepEqual(await transcribe(file), { status: 1, stderr: `earwitness: ${file}: ${fault}\n` });
    }
  });

  it('[CLI9] the program can be run as a file', () => {
    assert.match(readFileSync(MAIN, 'utf8'), /^#!\/usr\/bin\/env node\n/);
  });
});
