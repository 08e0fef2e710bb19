import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WORKERS_MAX_COUNT } from '../../pipeline/limits.ts';
import { forkLauncher } from '../../pipeline/worker_process.ts';
import { benchPlacements } from '../../server/commands/bench_command.ts';
import { bestPlacement, placementsFor, sessionsOf } from '../../server/workers/placement.ts';

const WORKER = fileURLToPath(new URL('../support/hashing_worker_main.js', import.meta.url));

/** What `bench` prints and returns with workers of this program, on a machine of one core. */
async function bench(workerPath: string, signal = new AbortController().signal) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const status = await benchPlacements({
    ...{ coreCount: 1, durationMs: 200, partialIntervalMs: 2_000, phrase: Int16Array.of(1, 2, 3), signal },
    launch: () => forkLauncher(workerPath, { args: [] }),
    ...{ stdout, stderr },
  });
  stdout.end();
  return { status, stdout: await text(stdout) };
}

void describe('earwitness bench', () => {
  it('[BEN1] every way to use the cores is tried once', () => {
    assert.deepEqual(placementsFor(1), [{ workers: 1, threads: 1 }]);
    assert.deepEqual(placementsFor(2), [
      ...[2, 1].map((workers) => ({ workers, threads: 1 })),
      { workers: 1, threads: 2 },
    ]);
    assert.deepEqual(placementsFor(8), [
      ...[8, 7].map((workers) => ({ workers, threads: 1 })),
      { workers: 4, threads: 2 },
      { workers: 1, threads: 8 },
    ]);
    assert.deepEqual(placementsFor(1_000), placementsFor(WORKERS_MAX_COUNT));
  });

  it('[BEN2] the best is the one that transcribes most; its sessions leave room', () => {
    const slow = { workers: 1, threads: 2, speechRate: 10 };
    const fast = { workers: 2, threads: 1, speechRate: 20 };
    assert.equal(bestPlacement([slow, fast, { ...fast, threads: 2 }]), fast);
    assert.equal(bestPlacement([]), undefined);
    assert.equal(sessionsOf(fast), 14);
  });

  it('[BEN3] it prints what each way achieved, and the flags of the best', async () => {
    const { status, stdout } = await bench(WORKER);
    assert.equal(status, 0);
    assert.match(
      stdout,
      /^WORKERS {2}THREADS {2}SPEECH A SECOND {2}SPEAKING SESSIONS\n1 +1 +\d+\.\d s +\d+\n/,
    );
    assert.match(stdout, /earwitness serve --inference-workers 1 --inference-threads 1\n/);
  });

  it('[BEN4] a worker that dies is a failure, and so is an interruption', async () => {
    await assert.rejects(bench(`${WORKER}.none`), /a worker of the speech model died/);
    await assert.rejects(bench(WORKER, AbortSignal.abort()), { name: 'AbortError' });
    const stop = new AbortController();
    setImmediate(() => {
      stop.abort(new Error('asked to stop'));
    });
    await assert.rejects(bench(WORKER, stop.signal), /asked to stop/);
  });
});
