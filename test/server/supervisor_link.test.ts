import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, it, type TestContext } from 'node:test';
import type { GatewayMessage } from '../../server/supervisor_link.ts';

const CHILD = fileURLToPath(new URL('../support/linked_main.js', import.meta.url));

/** A gateway with these arguments, which does not outlive its test. */
function start(test: TestContext, args: readonly string[] = []): ChildProcess {
  const child = fork(CHILD, args);
  test.after(() => child.kill('SIGKILL'));
  return child;
}

/** What the child says until its end, which is its exit status. */
async function lifeOf(child: ChildProcess): Promise<readonly unknown[]> {
  const said: unknown[] = [];
  child.on('message', (message: GatewayMessage | string) => {
    said.push(typeof message === 'string' ? message : message.type);
  });
  const [code] = (await once(child, 'exit')) as [number];
  return [...said, code];
}

describe('the link to a supervisor', () => {
  it('[CLI19] [CLI18] with its argument a signal is not heard, before the first word and after it', async (test) => {
    const child = start(test, ['--supervised']);
    const life = lifeOf(child);
    await once(child, 'message');
    child.kill('SIGTERM');
    child.send({ type: 'ping', restarts: 0, reports: 0 });
    await once(child, 'message');
    child.kill('SIGTERM');
    child.send({ type: 'stop' });
    assert.deepEqual(await life, ['there', 'pong', 'the supervisor asks', 0]);
  });

  it('[CLI19] without it the channel is somebody else’s: signals are heard, and nothing else', async (test) => {
    const child = start(test);
    const life = lifeOf(child);
    await once(child, 'message');
    for (const message of [{ type: 'ping', restarts: 0, reports: 0 }, { type: 'stop' }, 'hello', null]) {
      child.send(message as object);
    }
    child.send('signal');
    assert.deepEqual(await life, ['there', 'SIGTERM', 0]);
  });

  it('[CLI19] a supervisor that goes is a request to stop, also while its gateway is loading', async (test) => {
    for (const args of [['--supervised'], ['--supervised', 'late']]) {
      const child = start(test, args);
      const exited = once(child, 'exit');
      await once(child, 'message');
      child.disconnect();
      assert.deepEqual(await exited, [0, null]);
    }
  });
});
