/** A judge with keys of its own, requests to put before it, and connections that keep what they are told. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Access, type AccessDialect, type Admission } from '../../server/access/access.ts';
import { createKey, type ApiKey } from '../../server/access/api_keys.ts';
import type { AccessRequest } from '../../server/access/credentials.ts';
import { readKeySet, updateKeys } from '../../server/access/keys_file.ts';
import { NATIVE_SPEECH } from '../../server/dialects/native_dialect.ts';
import { tokenOfStart } from '../../server/dialects/native_messages.ts';
import { signToken, type TokenClaims } from '../../server/access/tokens.ts';
import type { Connection, ConnectionListener } from '../../server/transport/transport.ts';
import { FakeClock } from './fake_clock.ts';
import { KeptLog } from './real_server.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';

export const NOW = new Date('2030-01-01T00:00:00Z');
/** Has a place for a token in its first message, and has none. */
export const LATE: AccessDialect = { ...NATIVE_SPEECH, tokenOf: tokenOfStart };
export const PROMPT: AccessDialect = NATIVE_SPEECH;

/** A path in a folder that ends with the test. */
export async function temporaryKeysFile(test: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'earwitness-'));
  test.after(() => rm(folder, { recursive: true }));
  return join(folder, 'keys.json');
}

/** Adds a key to a file. */
export async function addKey(
  path: string,
  wanted: { readonly name: string; readonly maxSessions?: number },
): Promise<{ readonly secret: string; readonly key: ApiKey }> {
  const made = createKey(wanted, NOW);
  await updateKeys(path, (keys) => [...keys, made.key]);
  return made;
}

export async function tokenFor(
  path: string,
  claims: Omit<TokenClaims, 'tokenId'> & { readonly lifeMs?: number; readonly now?: Date },
): Promise<string> {
  const keySet = await readKeySet(path);
  if (keySet === undefined) throw new Error('there are no keys');
  return signToken({ lifeMs: 60_000, now: NOW, ...claims }, keySet.signingSecret);
}

export class FakeConnection implements Connection {
  readonly remoteAddress = '192.0.2.1';
  readonly bufferedBytes = 0;
  readonly sent: string[] = [];
  closing: { readonly code: number; readonly reason: string } | undefined;

  sendText(text: string): 'sent' {
    this.sent.push(text);
    return 'sent';
  }
  close(code: number, reason: string): void {
    this.closing ??= { code, reason };
  }
  terminate(): void {
    this.close(1006, '');
  }
}

/** Keeps what it hears. */
export class KeptListener implements ConnectionListener {
  readonly heard: string[] = [];

  text(message: string): void {
    this.heard.push(message);
  }
  binary(message: Uint8Array): void {
    this.heard.push(`${message.length} bytes`);
  }
  drained(): void {
    this.heard.push('drained');
  }
  closed(code: number): void {
    this.heard.push(`closed ${code}`);
  }
}

/** An upgrade from a network, without credentials, unless said otherwise. */
export function requestOf(
  given: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly protocols?: readonly string[];
    readonly query?: string;
    readonly address?: string;
  } = {},
): AccessRequest {
  return {
    method: 'GET',
    path: '/v1/stream',
    query: new URLSearchParams(given.query ?? ''),
    headers: new Map(Object.entries(given.headers ?? {})),
    remoteAddress: given.address ?? '192.0.2.1',
    protocols: given.protocols ?? [],
  };
}

export const bearer = (secret: string): { headers: { authorization: string } } => ({
  headers: { authorization: `Bearer ${secret}` },
});

type AccessSettings = ConstructorParameters<typeof Access>[0]['config'];

/** A judge that was started; `keysFile` says whether it asks for keys. */
export async function startAccess(test: TestContext, settings: Partial<AccessSettings> = {}) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const telemetry = new RecordingTelemetry();
  const access = new Access({
    config: {
      keysFile: '',
      allowedOrigins: [],
      maxSessionsPerKey: 100,
      maxSessionsPerIp: 100,
      connectionsPerMinutePerIp: 1_000_000,
      ...settings,
    },
    clock,
    telemetry,
    log,
    now: () => NOW,
  });
  await access.start();
  test.after(() => {
    access.close();
  });
  return { access, clock, log, telemetry };
}

/** Opens a connection that was admitted. */
export function enter(admission: Admission) {
  if (!admission.isAdmitted) throw new Error(`refused: ${admission.message}`);
  const connection = new FakeConnection();
  const dialect = new KeptListener();
  let isOpen = false;
  const listener = admission.guard(connection, () => {
    isOpen = true;
    return dialect;
  });
  return { connection, listener, dialect, isOpen: () => isOpen };
}

/** HTTP status of a refusal, or 101. */
export function statusOf(admission: Admission): number {
  return admission.isAdmitted ? 101 : admission.status;
}
