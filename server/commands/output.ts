/** What a command prints has either left the process or is known to be lost. */
import type { Writable } from 'node:stream';
import { TranscriptionError } from '../../pipeline/errors.ts';

/** Resolves when everything written to the stream has left the process: to undefined, or to what kept it from leaving. */
export function flushed(stream: Writable): Promise<Error | undefined> {
  if (stream.errored !== null) return Promise.resolve(stream.errored);
  return new Promise((resolve) => {
    const finish = (error?: Error | null): void => {
      stream.off('error', finish);
      resolve(error ?? undefined);
    };
    stream.once('error', finish);
    stream.write('', finish);
  });
}

/**
 * Resolves when everything written to the stream has left the process, or its reader has gone (`| head`): then there is
 * nobody to tell and nothing to fail for. Throws `TranscriptionError` (`internal`) if it was lost: a full disk.
 */
export async function written(stream: Writable): Promise<void> {
  const cause = await flushed(stream);
  if (cause === undefined || ('code' in cause && cause.code === 'EPIPE')) return;
  throw new TranscriptionError('internal', `the output was lost: ${cause.message}`, { cause });
}
