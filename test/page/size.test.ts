import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';

const DIST = fileURLToPath(new URL('../../', import.meta.url));

/** Bytes of what a bundler makes of this code, compressed. */
async function bundledBytes(code: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'earwitness-bundle-'));
  const entry = join(folder, 'entry.js');
  await writeFile(entry, code);
  try {
    const outputs = (await build({
      root: folder,
      configFile: false,
      logLevel: 'error',
      build: { write: false, target: 'es2023', lib: { entry, formats: ['es'] } },
    })) as Rolldown.RolldownOutput[];
    const code = outputs
      .flatMap(({ output }) => output)
      .map((part) => (part.type === 'chunk' ? part.code : ''));
    return gzipSync(code.join('')).length;
  } finally {
    await rm(folder, { recursive: true });
  }
}

function pageBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(html|js|css|svg)$/.test(name))
    .reduce((sum, name) => sum + gzipSync(readFileSync(`${folder}/${name}`)).length, 0);
}

describe('what travels to a browser', () => {
  it('[CAP8] the client is small, and whoever wants less gets less', async () => {
    const client = await bundledBytes(`export { StreamClient } from '${DIST}client/stream_client.js';`);
    const all = await bundledBytes(
      `export { StreamClient } from '${DIST}client/stream_client.js';
       export { sendSource } from '${DIST}client/audio_source.js';
       export { Microphone } from '${DIST}client/browser/microphone.js';`,
    );
    const types = await bundledBytes(`export { STREAM_PATH } from '${DIST}client/protocol.js';`);
    console.log(`client ${client} bytes, with microphone ${all}, protocol alone ${types}`);
    assert.ok(client <= 7_000, `the client has ${client} bytes`);
    assert.ok(all <= 10_000, `with the microphone it has ${all} bytes`);
    assert.ok(types <= 200, `the protocol's path has ${types} bytes`);
  });

  it('[PAGE6] the page is at most 100 KB on first load', () => {
    const bytes = pageBytes(`${DIST}page`);
    console.log(`page ${bytes} bytes`);
    assert.ok(bytes > 5_000 && bytes <= 100_000, `${bytes} bytes`);
  });
});
