/** The file with the API keys' hashes and the secret that tokens are signed with. */
import { randomBytes } from 'node:crypto';
import { chmod, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { makePrivateFolder } from '../../models/new_folder.ts';
import { ConfigError } from '../../pipeline/errors.ts';
import {
  ACCESS_COUNT_MAX,
  KEY_NAME_MAX_LENGTH,
  KEYS_FILE_MAX_BYTES,
  KEYS_MAX_COUNT,
} from '../../pipeline/limits.ts';
import type { ApiKey } from './api_keys.ts';

/** What the file holds. */
export interface KeySet {
  /** 32 bytes that tokens are signed with (HMAC-SHA-256). */
  readonly signingSecret: Uint8Array;
  readonly keys: readonly ApiKey[];
}

const SECRET_BYTES = 32;
const FILE = z.object({
  version: z.literal(1),
  signingSecret: z.string().regex(/^[\w-]{43}$/),
  keys: z
    .array(
      z.object({
        id: z.string().regex(/^[0-9a-f]{8}$/),
        name: z.string().min(1).max(KEY_NAME_MAX_LENGTH),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        createdAt: z.string().max(40),
        maxSessions: z.int().min(1).max(ACCESS_COUNT_MAX).optional(),
      }),
    )
    .max(KEYS_MAX_COUNT),
});

/** The XDG place of the file. */
export function defaultKeysFile(env: Readonly<Record<string, string | undefined>>, homeDir: string): string {
  const configHome = env['XDG_CONFIG_HOME'] ?? '';
  // The specification tells to ignore a relative path.
  return join(isAbsolute(configHome) ? configHome : join(homeDir, '.config'), 'earwitness', 'keys.json');
}

/**
 * Reads the file; undefined if there is none. Throws `ConfigError` (`bad_config`), which never quotes what it holds,
 * if it cannot be read or is not such a file.
 */
export async function readKeySet(path: string): Promise<KeySet | undefined> {
  let text: string;
  try {
    text = await readBounded(path);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw fileFault(path, 'cannot be read', cause);
  }
  return parseKeySet(path, text);
}

function parseKeySet(path: string, text: string): KeySet {
  const parsed = FILE.safeParse(parseJson(text));
  if (!parsed.success) {
    const places = parsed.error.issues.map((issue) => issue.path.join('.') || 'the whole');
    throw fileFault(path, `is not a file of keys (wrong: ${[...new Set(places)].slice(0, 5).join(', ')})`);
  }
  const { signingSecret, keys } = parsed.data;
  return {
    signingSecret: new Uint8Array(Buffer.from(signingSecret, 'base64url')),
    keys: keys.map(({ maxSessions, ...key }) => (maxSessions === undefined ? key : { ...key, maxSessions })),
  };
}

/**
 * Replaces the keys by what `change` makes of them; makes the file (mode 0600) and its folder (0700) if needed. The
 * new file is written beside the old one under a fixed name, which only one process can create, and renamed: readers
 * see the old or the new, and of two writers the second is refused. `confirm` is asked when the new file is written
 * whole; if it throws, nothing changes. Throws `ConfigError`.
 */
export async function updateKeys(
  path: string,
  change: (keys: readonly ApiKey[]) => readonly ApiKey[],
  confirm: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await makePrivateFolder(dirname(path)).catch((cause: unknown) => {
    throw fileFault(path, 'cannot be written', cause);
  });
  const newPath = `${path}.new`;
  const file = await createExclusive(path, newPath);
  try {
    const { signingSecret, keys } = (await readKeySet(path)) ?? {
      signingSecret: randomBytes(SECRET_BYTES),
      keys: [],
    };
    const changed = change(keys);
    if (changed.length > KEYS_MAX_COUNT) throw fileFault(path, `holds at most ${KEYS_MAX_COUNT} keys`);
    await writeKeySet(file, { signingSecret, keys: changed });
    await file.close();
    await confirm();
    await rename(newPath, path);
  } catch (error) {
    await file.close();
    await rm(newPath, { force: true });
    throw error;
  }
}

/** True if others than the owner can read the file. */
export async function isReadableByOthers(path: string): Promise<boolean> {
  return ((await stat(path)).mode & 0o077) !== 0;
}

async function createExclusive(path: string, newPath: string): Promise<FileHandle> {
  try {
    const file = await open(newPath, 'wx', 0o600);
    // Whatever the umask took away or a parent's access list added.
    await chmod(newPath, 0o600);
    return file;
  } catch (cause) {
    const isTaken = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    const fault = isTaken
      ? `is being changed by another process; if there is none, remove ${newPath}`
      : 'cannot be written';
    throw fileFault(path, fault, cause);
  }
}

async function writeKeySet(file: FileHandle, { signingSecret, keys }: KeySet): Promise<void> {
  const content: z.infer<typeof FILE> = {
    version: 1,
    signingSecret: Buffer.from(signingSecret).toString('base64url'),
    keys: [...keys],
  };
  await file.writeFile(`${JSON.stringify(content, null, 2)}\n`);
  await file.sync();
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > KEYS_FILE_MAX_BYTES) throw new Error(`${size} bytes, more than ${KEYS_FILE_MAX_BYTES}`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its message quotes the text. The schema refuses undefined like anything else.
    return undefined;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function fileFault(path: string, fault: string, cause?: unknown): ConfigError {
  return new ConfigError('bad_config', `keysFile: ${path} ${fault}`, { cause });
}
