/** Digests of files, read as streams. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

export interface DigestOptions {
  readonly algorithm: 'sha256' | 'sha512';
  readonly encoding: 'hex' | 'base64';
  /** Called with the bytes read since the last call. */
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Digest of the file at `path`. Throws the file system's error, or an `AbortError`. */
export async function digestFile(path: string, options: DigestOptions): Promise<string> {
  const hash = createHash(options.algorithm);
  const source = createReadStream(path, {
    highWaterMark: 256 * 1_024,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  for await (const bytes of source as AsyncIterable<Buffer>) {
    hash.update(bytes);
    options.onBytes?.(bytes.length);
  }
  return hash.digest(options.encoding);
}
