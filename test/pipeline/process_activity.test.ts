import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { activityOf, parseStat } from '../../pipeline/process_activity.ts';

const ECHO = fileURLToPath(new URL('../support/echo_child.js', import.meta.url));

describe('what the system says of a process', () => {
  it('[SUP27] the line of the kernel is read whatever the program is called', () => {
    const behind = 'T 1 2 3 4 5 6 7 8 9 10 120 34 0 0';
    assert.deepEqual(parseStat(`17 (a) R (b) ${behind}`), {
      isStopped: true,
      isRunnable: false,
      cpuMs: 1_540,
    });
    assert.deepEqual(parseStat(`17 (node) ${behind.replace('T', 'R')}`).isRunnable, true);
  });

  it('[SUP27] of one that has gone it says nothing', () => {
    assert.equal(activityOf(2 ** 30), undefined);
  });

  it(
    '[SUP27] a stopped process is told from one that waits',
    { skip: process.platform !== 'linux' },
    async () => {
      const child = fork(ECHO);
      try {
        await once(child, 'message');
        const pid = child.pid ?? 0;
        assert.equal(activityOf(pid)?.isStopped, false);
        child.kill('SIGSTOP');
        while (activityOf(pid)?.isStopped !== true) await pause(5);
      } finally {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    },
  );
});
