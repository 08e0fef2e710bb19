/**
 * Fetches a package's tarball with the user's own npm, so that the registry, proxy, credentials and cache that are
 * set up for npm hold here too. Nothing of the package is installed or run.
 */
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemClock } from '../pipeline/clock.ts';
import { DOWNLOAD_MAX_MS, STDERR_TAIL_MAX_BYTES } from '../pipeline/limits.ts';

export interface PackOptions {
  /** Exact `name@version`. */
  readonly spec: string;
  /** An existing folder without other tarballs of npm's naming. */
  readonly intoDir: string;
  /** Program and leading arguments; `npmCommand()` if not given. Never a shell string. */
  readonly npm?: readonly [program: string, ...args: string[]] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** npm did not deliver. The message is a clause that says why, without a full stop. */
export class NpmFailure extends Error {}

/** How npm is started: by its script on Windows, where a `.cmd` file cannot be run without a shell. */
export function npmCommand(): readonly [program: string, ...args: string[]] {
  if (process.platform !== 'win32') return ['npm'];
  return [process.execPath, join(dirname(process.execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js')];
}

/** Fetches the tarball and returns its path. Throws `NpmFailure`, or an `AbortError` once the child has ended. */
export async function packPackage(options: PackOptions): Promise<string> {
  const before = new Set(await readdir(options.intoDir));
  await runNpm(options);
  const made = (await readdir(options.intoDir)).filter((name) => name.endsWith('.tgz') && !before.has(name));
  const [name] = made;
  if (name === undefined)
    throw new NpmFailure(`npm said that it packed ${options.spec}, but left no tarball`);
  return join(options.intoDir, name);
}

function runNpm(options: PackOptions): Promise<void> {
  options.signal?.throwIfAborted();
  const [program, ...leading] = options.npm ?? npmCommand();
  const pack = ['pack', options.spec, '--json', '--ignore-scripts', '--loglevel=error'];
  const child = spawn(program, [...leading, ...pack, '--pack-destination', options.intoDir], {
    stdio: ['ignore', 'ignore', 'pipe'],
    windowsHide: true,
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_TAIL_MAX_BYTES);
  });
  return new Promise((resolve, reject) => {
    let fault: Error | undefined;
    // Node would signal our own process group in the place of a program that could not be started.
    const end = (why: Error): void => {
      fault = why;
      if (child.pid !== undefined) child.kill();
    };
    const abort = (): void => {
      end(options.signal?.reason as Error);
    };
    // Not spawn's own `timeout` and `signal`: they outlive such a program.
    const cancel = systemClock.after(DOWNLOAD_MAX_MS, () => {
      end(new NpmFailure(`npm did not finish within ${DOWNLOAD_MAX_MS / 60_000} minutes`));
    });
    options.signal?.addEventListener('abort', abort, { once: true });
    child.on('error', (error) => {
      fault ??= error;
    });
    child.on('exit', () => {
      // A launcher script that was killed may leave npm itself behind, which holds the pipe open.
      if (child.killed) child.stderr.destroy();
    });
    child.on('close', (code, signal) => {
      cancel();
      options.signal?.removeEventListener('abort', abort);
      if (code === 0 && fault === undefined) resolve();
      else reject(failure({ program, fault, stderr, ending: signal ?? `status ${code ?? 'unknown'}` }));
    });
  });
}

function failure(seen: { program: string; fault: Error | undefined; stderr: string; ending: string }): Error {
  const { program, fault, stderr, ending } = seen;
  if (fault instanceof NpmFailure || fault?.name === 'AbortError') return fault;
  if (fault !== undefined) {
    const why = 'code' in fault && fault.code === 'ENOENT' ? 'was not found' : 'could not be started';
    return new NpmFailure(`the program "${program}" ${why}`, { cause: fault });
  }
  const code = /^npm (?:error|ERR!) code (\S+)/m.exec(stderr)?.[1];
  return new NpmFailure(`npm ended with ${code ?? ending}`, { cause: new Error(stderr.trim()) });
}
