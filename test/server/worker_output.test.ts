import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '../../server/config.ts';
import { audioLauncher } from '../../server/workers/worker_launchers.ts';
import { temporaryFolder } from '../support/faulty_worker.ts';

describe('what a worker writes', () => {
  it('[LOG13] comes line by line without credentials and quoted speech, however it was cut', async (test) => {
    const folder = await temporaryFolder();
    test.after(() => folder.remove());
    const path = join(folder.path, 'worker.cjs');
    await writeFile(
      path,
      `const pieces = ['GET /?tok', 'en=CANARY Authorization: Bea', 'rer CANARY "te', 'xt": "CANARY"\\nno such node\\nlast'];
      const next = () => {
        const piece = pieces.shift();
        if (piece !== undefined) process.stderr.write(piece, () => setTimeout(next, 20));
        else process.disconnect();
      };
      next();`,
    );
    const lines: string[] = [];
    const ends = new EventEmitter();
    const launch = audioLauncher(loadConfig({}).config, {
      module: { path },
      onLine: (line) => lines.push(line),
    });
    launch({ message: () => undefined, ended: () => undefined, exited: () => ends.emit('exited') });
    await once(ends, 'exited');
    const [first = '', ...others] = lines;
    assert.match(first, /^GET .*\[removed\]/);
    assert.doesNotMatch(first, /CANARY/);
    assert.deepEqual(others, ['no such node', 'last']);
  });
});
