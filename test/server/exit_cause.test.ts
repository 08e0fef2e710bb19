import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EXIT_CONCURRENCY, EXIT_CONFIG, EXIT_ORPHANED } from '../../pipeline/errors.ts';
import { WORKER_START_MAX_MS } from '../../pipeline/limits.ts';
import { describeDeath, describeExit } from '../../server/records/exit_cause.ts';

void describe('the cause of an end in words', () => {
  it('[CRA1] signals, statuses of Node, of ours and of Windows each have their own words', () => {
    const causes = [
      [{ code: null, signal: 'SIGSEGV' }, /^SIGSEGV: segmentation fault/],
      [{ code: null, signal: 'SIGKILL' }, /^SIGKILL: killed from outside/],
      [{ code: 1, signal: null }, /^exit 1: .*uncaught exception/],
      [{ code: 13, signal: null }, /^exit 13: a top-level await/],
      [{ code: EXIT_CONFIG, signal: null }, /^exit 42: its configuration/],
      [{ code: EXIT_CONCURRENCY, signal: null }, /^exit 71: .*second job/],
      [{ code: EXIT_ORPHANED, signal: null }, /^exit 72: its parent/],
      [{ code: 3_221_225_477, signal: null }, /^0xC0000005: access violation/],
      [{ code: 3_221_226_356, signal: null }, /^0xC0000374: heap corruption/],
      [{ code: 3_221_226_505, signal: null }, /^0xC0000409: stack buffer overrun/],
      [{ code: 3_221_225_725, signal: null }, /^0xC00000FD: stack overflow/],
      [{ code: -1_073_741_819, signal: null }, /^0xC0000005: /],
      [{ code: 3_221_225_999, signal: null }, /^0xC000020F: an error of Windows/],
      [{ code: 134, signal: null }, /^exit 134: SIGABRT: /],
      [{ code: null, signal: null }, /never started/],
    ] as const;
    for (const [end, expected] of causes) assert.match(describeExit(end), expected);
  });

  it('[CRA2] an abort of V8 that ran out of heap is told from any other abort', () => {
    const stderrTail = 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory';
    assert.match(describeExit({ code: null, signal: 'SIGABRT', stderrTail }), /^SIGABRT: V8 ran out of heap/);
    assert.match(describeExit({ code: 134, signal: null, stderrTail }), /V8 ran out of heap/);
    assert.match(describeExit({ code: null, signal: 'SIGABRT', stderrTail: '' }), /^SIGABRT: aborted itself/);
    assert.match(describeExit({ code: null, signal: 'SIGSEGV', stderrTail }), /^SIGSEGV: segmentation fault/);
  });

  it('[CRA4] what the server ended itself is not put down to anybody else', () => {
    const killed = { code: null, signal: 'SIGKILL', uptimeMs: WORKER_START_MAX_MS };
    for (const [kind, why] of [
      ['hang', 'it did not answer in time'],
      ['deadline', 'its job outlived its deadline'],
      ['start', 'it was not ready in time'],
      ['memory', 'it had grown too large'],
    ] as const) {
      assert.equal(describeDeath({ ...killed, kind }), `SIGKILL: ended by the server: ${why}`);
    }
    const left = { code: 0, signal: null, kind: 'memory', uptimeMs: 1 } as const;
    assert.equal(describeDeath(left), 'exit 0: ended by the server: it had grown too large');
    assert.match(describeDeath({ ...killed, kind: 'signal' }), /^SIGKILL: killed from outside/);
    const early = { ...killed, kind: 'start', uptimeMs: WORKER_START_MAX_MS - 1 } as const;
    assert.match(describeDeath(early), /^SIGKILL: killed from outside/);
    const crossed = { ...killed, kind: 'deadline', signal: 'SIGSEGV' } as const;
    assert.match(describeDeath(crossed), /^SIGSEGV: segmentation fault/);
  });

  it('[CRA3] whatever the status or the signal, there are words that begin with it', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }), (code) => {
        assert.match(describeExit({ code, signal: null }), /^(exit -?\d+|0x[\dA-F]{8}): \w/);
      }),
    );
    for (const signal of Object.keys(constants.signals)) {
      assert.match(describeExit({ code: null, signal }), new RegExp(`^${signal}: \\w`));
    }
  });
});
