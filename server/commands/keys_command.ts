/** `earwitness keys create | list | revoke`. */
import type { Writable } from 'node:stream';
import { ConfigError, TranscriptionError, UsageError } from '../../pipeline/errors.ts';
import { ACCESS_COUNT_MAX, KEY_NAME_MAX_LENGTH } from '../../pipeline/limits.ts';
import { createKey, type ApiKey } from '../access/api_keys.ts';
import { readKeySet, updateKeys } from '../access/keys_file.ts';
import { flushed } from './output.ts';
import { renderTable } from './text_table.ts';

/** Letters, digits, marks, punctuation and inner spaces: nothing that could disturb a terminal or a log. */
const NAME = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]+( [\p{L}\p{M}\p{N}\p{P}\p{S}]+)*$/u;

/**
 * Makes a key: its text alone goes to `stdout`, what to do with it to `stderr`. Throws `UsageError` for a name that
 * is taken or not valid, `ConfigError` for a file that cannot be written, and `TranscriptionError` (`internal`) if the key could not
 * be shown: then it is not made.
 */
export async function createApiKey(options: {
  readonly keysFile: string;
  readonly name: string;
  readonly maxSessions: string | undefined;
  readonly stdout: Writable;
  readonly stderr: Writable;
}): Promise<void> {
  const { keysFile, name, stdout, stderr } = options;
  const path = needFile(keysFile);
  if (name.length > KEY_NAME_MAX_LENGTH || !NAME.test(name)) {
    throw new UsageError(
      `--name: expected up to ${KEY_NAME_MAX_LENGTH} printable characters, got ${JSON.stringify(name)}`,
    );
  }
  const maxSessions = sessionCount(options.maxSessions);
  const { secret, key } = createKey({ name, maxSessions }, new Date());
  const add = (keys: readonly ApiKey[]): readonly ApiKey[] => {
    if (keys.some((other) => other.name === name)) {
      throw new UsageError(`--name: expected a name that no other key has, got '${name}'`);
    }
    return [...keys, key];
  };
  await updateKeys(path, add, async () => {
    stdout.write(`${secret}\n`);
    const cause = await flushed(stdout);
    if (cause === undefined) return;
    const text = `the key could not be shown and was not made: ${cause.message}`;
    throw new TranscriptionError('internal', text, { cause });
  });
  stderr.write(`earwitness: key ${key.id} '${name}' is in ${path}; it is not shown again, so keep it now\n`);
}

/** Prints what is known of the keys. Throws `ConfigError` if their file cannot be used. */
export async function listApiKeys(options: {
  readonly keysFile: string;
  readonly json: boolean;
  readonly stdout: Writable;
}): Promise<void> {
  const { keys = [] } = (await readKeySet(needFile(options.keysFile))) ?? {};
  const shown = keys.map(({ id, name, createdAt, maxSessions }) => ({ id, name, createdAt, maxSessions }));
  if (options.json) {
    options.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
    return;
  }
  const rows = shown.map(({ id, name, createdAt, maxSessions }) => [
    id,
    createdAt,
    String(maxSessions ?? 'default'),
    name,
  ]);
  options.stdout.write(renderTable([['ID', 'CREATED', 'SESSIONS', 'NAME'], ...rows]));
}

/** Takes a key out of the file. Throws `UsageError` if there is no such key. */
export async function revokeApiKey(options: {
  readonly keysFile: string;
  readonly id: string;
  readonly stderr: Writable;
}): Promise<void> {
  const { keysFile, id, stderr } = options;
  const path = needFile(keysFile);
  // Without a file there is nothing to revoke, and making one would shut everybody out.
  const { keys = [] } = (await readKeySet(path)) ?? {};
  const key = keys.find((each) => each.id === id);
  if (key === undefined) {
    throw new UsageError(
      `expected the id of a key (\`earwitness keys list\`), got ${JSON.stringify(id.slice(0, 20))}`,
    );
  }
  await updateKeys(path, (current) => current.filter((each) => each.id !== id));
  stderr.write(`earwitness: key ${id} '${key.name}' is revoked\n`);
}

/** A count of sessions from the command line. Throws `UsageError`. */
export function sessionCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= ACCESS_COUNT_MAX) return count;
  throw new UsageError(
    `--max-sessions: expected a whole number from 1 to ${ACCESS_COUNT_MAX}, got '${text.slice(0, 20)}'`,
  );
}

/** The path of the keys. Throws `ConfigError` if the configuration names none. */
export function needFile(keysFile: string): string {
  if (keysFile !== '') return keysFile;
  throw new ConfigError('bad_config', 'keysFile: expected a file for the keys, got none');
}
