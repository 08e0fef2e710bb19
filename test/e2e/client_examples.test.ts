import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { STREAM_PATH } from '../../client/protocol.ts';
import { clientExample } from '../support/client_examples.ts';
import { FEW_WORKERS, startRealServer, type RealServer } from '../support/real_server.ts';
import { synthesise } from '../support/speech.ts';
import { wordErrorRate } from '../../server/load/word_error_rate.ts';

const SENTENCE = 'my sister bought seven green apples at the market';

describe('the example for Node in the client’s README', () => {
  let server: RealServer;
  let folder = '';
  let pcm: Buffer;
  before(async () => {
    server = await startRealServer(FEW_WORKERS);
    // Inside of the package, whose name the example imports.
    folder = await mkdtemp(fileURLToPath(new URL('../../example-', import.meta.url)));
    const samples = await synthesise(SENTENCE, { voice: 'rms' });
    pcm = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
    await writeFile(join(folder, 'captions.mjs'), clientExample('node'));
    await writeFile(join(folder, 'speech.pcm'), pcm);
  });
  after(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  for (const file of ['speech.pcm', '-']) {
    it(`[CAP10] transcribes ${file === '-' ? 'a pipe' : 'a file'}`, async () => {
      const url = server.url.replace('http', 'ws') + STREAM_PATH;
      const child = spawn(process.execPath, ['captions.mjs', file, url], {
        cwd: folder,
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      child.stdin.end(file === '-' ? pcm : undefined);
      const heard = await text(child.stdout);
      assert.ok(wordErrorRate(SENTENCE, heard) <= 0.15, heard);
    });
  }
});
