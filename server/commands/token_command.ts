/** `earwitness token`. */
import type { Writable } from 'node:stream';
import { UsageError } from '../../pipeline/errors.ts';
import { TOKEN_LIFE_MAX_MS, TOKEN_LIFE_MIN_MS } from '../../pipeline/limits.ts';
import { parseDuration } from './duration.ts';
import { needFile, sessionCount } from './keys_command.ts';
import { readKeySet } from '../access/keys_file.ts';
import { ANY_ORIGIN, isOriginRule } from '../access/origin.ts';
import { signToken } from '../access/tokens.ts';

/** Signs a token and prints it. Throws `UsageError` if there is no such key, or an option is not valid. */
export async function printToken(options: {
  readonly keysFile: string;
  readonly keyName: string;
  readonly ttl: string;
  readonly maxSessions: string | undefined;
  readonly origin: string | undefined;
  readonly stdout: Writable;
}): Promise<void> {
  const { keyName, ttl, origin, stdout } = options;
  const lifeMs = lifeOf(ttl);
  const maxSessions = sessionCount(options.maxSessions);
  if (origin !== undefined && (origin === ANY_ORIGIN || !isOriginRule(origin))) {
    throw new UsageError(
      `--origin: expected an origin such as https://app.example.org, got '${origin.slice(0, 100)}'`,
    );
  }
  const keySet = await readKeySet(needFile(options.keysFile));
  const key = keySet?.keys.find(({ name }) => name === keyName);
  if (keySet === undefined || key === undefined) {
    throw new UsageError(
      `--key-name: expected the name of a key (\`earwitness keys list\`), got '${keyName.slice(0, 100)}'`,
    );
  }
  const token = await signToken(
    {
      keyId: key.id,
      lifeMs,
      now: new Date(),
      ...(maxSessions === undefined ? {} : { maxSessions }),
      ...(origin === undefined ? {} : { origin }),
    },
    keySet.signingSecret,
  );
  stdout.write(`${token}\n`);
}

function lifeOf(ttl: string): number {
  const lifeMs = parseDuration(ttl) ?? 0;
  if (lifeMs >= TOKEN_LIFE_MIN_MS && lifeMs <= TOKEN_LIFE_MAX_MS) return lifeMs;
  throw new UsageError(`--ttl: expected a time from 1s to 24h, such as 10m, got '${ttl.slice(0, 20)}'`);
}
