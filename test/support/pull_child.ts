/**
 * Runs one pull in a process of its own, as `pull_child.js <JSON of PullChildTask>`; prints `unchanged` or `pulled`.
 */
import { writeSync } from 'node:fs';
import type { ModelEntry } from '../../models/catalogue.ts';
import { pullModel } from '../../models/weights.ts';

export interface PullChildTask {
  readonly entry: ModelEntry;
  readonly modelsDir: string;
  readonly npm: readonly [program: string, ...args: string[]];
  /** Stand still for ever once the first bytes of a file are written, after saying `extracting`. */
  readonly stopWhileExtracting: boolean;
}

const task = JSON.parse(process.argv[2] ?? '') as PullChildTask;
const outcome = await pullModel(task.entry, {
  modelsDir: task.modelsDir,
  npm: task.npm,
  onProgress: ({ phase, doneBytes }) => {
    if (!task.stopWhileExtracting || phase !== 'extract' || doneBytes === 0) return;
    writeSync(1, 'extracting\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
});
writeSync(1, `${outcome}\n`);
