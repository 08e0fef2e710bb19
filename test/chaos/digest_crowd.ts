/** People who speak to a server whose recogniser answers with a digest of the samples: any change of them shows. */
import { fileURLToPath } from 'node:url';
import type { Config } from '../../server/config.ts';
import type { ServerParts } from '../../server/gateway.ts';
import { digestText } from '../support/hashing_recogniser.ts';
import { FEW_WORKERS, startRealServer, type RealServer } from '../support/real_server.ts';
import { writeScripts, type Script } from './crowd.ts';
import { expectedOf, type ExpectedUtterance } from './undisturbed.ts';

const DIGEST_WORKER = fileURLToPath(new URL('../support/hashing_worker_main.js', import.meta.url));

/** What people say, and what each should be told. */
export interface Speech {
  readonly scripts: readonly Script[];
  readonly expected: readonly (readonly ExpectedUtterance[])[];
}

/** The same speech serves a row more than once, such as for each transport. */
const spoken = new Map<string, Promise<Speech>>();

export function digestSpeech(count: number, durationMs: number): Promise<Speech> {
  const key = `${count} ${durationMs}`;
  const speech = spoken.get(key) ?? write(count, durationMs);
  spoken.set(key, speech);
  return speech;
}

async function write(count: number, durationMs: number): Promise<Speech> {
  const scripts = await writeScripts(count, durationMs, { complexity: 0 });
  return { scripts, expected: await expectedDigests(scripts) };
}

/** What that recogniser makes of scripts when nothing disturbs it. */
export function expectedDigests(scripts: readonly Script[]): ReturnType<typeof expectedOf> {
  return expectedOf(scripts, (pcm) => Promise.resolve({ text: digestText(pcm) }));
}

/** A server with that recogniser. */
export function startDigestServer(
  settings: Partial<Config> = {},
  parts: ServerParts = {},
): Promise<RealServer> {
  return startRealServer(
    { ...FEW_WORKERS, ...settings },
    { ...parts, workerModules: { ...parts.workerModules, inference: { path: DIGEST_WORKER } } },
  );
}
