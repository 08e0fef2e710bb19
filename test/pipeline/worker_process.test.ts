import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LAST_WORDS_MAX_MS, STDERR_TAIL_MAX_BYTES } from '../../pipeline/limits.ts';
import {
  forkLauncher,
  type ControlReply,
  type WorkerExit,
  type WorkerLauncher,
  type WorkerProcess,
} from '../../pipeline/worker_process.ts';
import type { EchoReply, EchoRequest } from '../support/echo_child.ts';
import { FakeLauncher } from '../support/fake_worker.ts';

type Launcher = WorkerLauncher<EchoRequest, EchoReply>;

/** A process with what it said, as promises. */
class Watched {
  readonly process: WorkerProcess<EchoRequest>;
  readonly messages: (EchoReply | ControlReply)[] = [];
  readonly exits: WorkerExit[] = [];
  endedCount = 0;
  readonly #events = new EventEmitter();

  constructor(launch: Launcher) {
    let hasReturned = false;
    this.process = launch({
      message: (message) => {
        assert(hasReturned, 'nothing is told before the launcher has returned');
        assert.equal(this.exits.length, 0, 'nothing is told after the exit');
        this.messages.push(message);
        this.#events.emit('message');
      },
      ended: () => {
        assert.equal(this.exits.length, 0, 'the end comes before the exit');
        this.endedCount++;
      },
      exited: (exit) => {
        assert.equal(this.endedCount, this.process.pid === 0 ? 0 : 1, 'once');
        assert(hasReturned, 'nothing is told before the launcher has returned');
        this.exits.push(exit);
        this.#events.emit('exited');
      },
    });
    hasReturned = true;
  }

  async message(index: number): Promise<EchoReply | ControlReply> {
    for (;;) {
      const message = this.messages[index];
      if (message !== undefined) return message;
      await once(this.#events, 'message');
    }
  }

  async exit(): Promise<WorkerExit> {
    for (;;) {
      const exit = this.exits[0];
      if (exit !== undefined) return exit;
      await once(this.#events, 'exited');
    }
  }
}

/** Fake processes that act as echo_child does. */
function fakeEcho(): Launcher {
  const launcher = new FakeLauncher<EchoRequest, EchoReply>();
  launcher.onLaunch = (process) => {
    setImmediate(() => {
      process.ready();
    });
    process.onMessage = (message) => {
      setImmediate(() => {
        if (message.type === 'echo') process.reply(message);
        else if (message.type === 'ping') process.pong();
        else if (message.type === 'stop') process.end({ code: 0 });
        else {
          const stderr = '.'.repeat(message.noiseBytes) + message.text;
          process.end({ code: message.code, stderrTail: stderr.slice(-STDERR_TAIL_MAX_BYTES) });
        }
      });
    };
  };
  return launcher.launch;
}

function fakeMissing(): Launcher {
  const launcher = new FakeLauncher<EchoRequest, EchoReply>();
  launcher.onLaunch = (process) => {
    setImmediate(() => {
      process.end({ code: 1, stderrTail: 'Error: Cannot find module' });
    });
  };
  return launcher.launch;
}

const childPath = fileURLToPath(new URL('../support/echo_child.js', import.meta.url));
const LAUNCHERS: readonly { readonly name: string; readonly echo: Launcher; readonly missing: Launcher }[] = [
  { name: 'the fake', echo: fakeEcho(), missing: fakeMissing() },
  {
    name: 'real processes',
    echo: forkLauncher(childPath, { args: [] }),
    missing: forkLauncher(`${childPath}.missing.js`, { args: [] }),
  },
];

for (const { name, echo, missing } of LAUNCHERS) {
  describe(`worker launchers: ${name}`, () => {
    it('[PROC1] a process says ready, answers messages in order and a ping, and ends when it is asked to', async () => {
      const watched = new Watched(echo);
      assert.deepEqual((await watched.message(0)).type, 'ready');
      watched.process.send({ type: 'echo', text: 'one' });
      watched.process.send({ type: 'ping' });
      watched.process.send({ type: 'echo', text: 'two' });
      assert.deepEqual(await watched.message(1), { type: 'echo', text: 'one' });
      assert.equal((await watched.message(2)).type, 'pong');
      assert.deepEqual(await watched.message(3), { type: 'echo', text: 'two' });
      watched.process.send({ type: 'stop' });
      const exit = await watched.exit();
      assert.equal(exit.code, 0);
      assert.equal(exit.signal, null);
    });

    it('[PROC2] a message of 1 MB arrives whole, and typed arrays stay what they are', async () => {
      const watched = new Watched(echo);
      const pcm = Int16Array.from({ length: 500_000 }, (_, index) => (index * 7919) % 32_768).subarray(1);
      watched.process.send({ type: 'echo', text: 'pcm', pcm });
      const answer = await watched.message(1);
      assert(answer.type === 'echo' && answer.pcm instanceof Int16Array);
      assert.deepEqual(answer.pcm, Int16Array.from(pcm));
      watched.process.kill('SIGKILL');
      await watched.exit();
    });

    it('[PROC3] SIGKILL ends a process; its exit is told once, with the signal', async () => {
      const watched = new Watched(echo);
      await watched.message(0);
      watched.process.kill('SIGKILL');
      watched.process.kill('SIGKILL');
      const exit = await watched.exit();
      assert.deepEqual([exit.code, exit.signal], [null, 'SIGKILL']);
      watched.process.kill('SIGKILL');
      await new Promise(setImmediate);
      assert.equal(watched.exits.length, 1);
    });

    it('[PROC4] sending to a process that has ended is harmless, at its end and long after it', async () => {
      const watched = new Watched(echo);
      await watched.message(0);
      watched.process.kill('SIGKILL');
      for (let i = 0; i < 10; i++) watched.process.send({ type: 'echo', text: 'too late' });
      await watched.exit();
      watched.process.send({ type: 'echo', text: 'far too late' });
      await new Promise(setImmediate);
      assert.equal(watched.exits.length, 1);
    });

    it('[PROC5] a module that does not exist is an exit with a reason, without ready', async (t) => {
      // What a child writes goes to our own stderr too.
      t.mock.method(process.stderr, 'write', () => true);
      const watched = new Watched(missing);
      const exit = await watched.exit();
      assert.equal(exit.code, 1);
      assert.match(exit.stderrTail, /Cannot find module/);
      assert.deepEqual(watched.messages, []);
    });

    it('[PROC6] the end of stderr is kept to its last byte, within its bound', async (t) => {
      // What a child writes goes to our own stderr too.
      t.mock.method(process.stderr, 'write', () => true);
      const watched = new Watched(echo);
      await watched.message(0);
      const noiseBytes = 3 * STDERR_TAIL_MAX_BYTES;
      watched.process.send({ type: 'die', code: 7, noiseBytes, text: 'the last words' });
      const exit = await watched.exit();
      assert.equal(exit.code, 7);
      assert.equal(exit.stderrTail.length, STDERR_TAIL_MAX_BYTES);
      assert(exit.stderrTail.endsWith('.the last words'));
    });
  });
}

describe('worker launchers: a process that leaves another behind', () => {
  it('[PROC7] a pipe that somebody else holds open does not hide a death', async () => {
    const path = fileURLToPath(new URL('../support/parting_main.js', import.meta.url));
    const heldMs = 40 * LAST_WORDS_MAX_MS;
    const watched = new Watched(forkLauncher(path, { args: [String(heldMs)] }));
    const started = performance.now();
    const exit = await watched.exit();
    assert.equal(exit.code, 7);
    assert(performance.now() - started < heldMs, 'the death was told before the pipe was closed');
  });
});
