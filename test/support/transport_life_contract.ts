/** How every transport treats slow readers, how connections end, and how it listens, as tests: called once for each. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { ConfigError } from '../../pipeline/errors.ts';
import { TRANSPORT_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import { selfSigned } from './self_signed.ts';
import {
  closeOf,
  fill,
  frame,
  SENT_TEXT,
  textFrom,
  TransportBench,
  type CreateTransport,
} from './transport_bench.ts';

/** Declares the contract for one transport. */
export function describeTransportLife(name: string, create: CreateTransport): void {
  const using = TransportBench.use.bind(TransportBench, create);

  describe(`${name}: slow readers`, () => {
    it('[TRN10] a client that does not read: buffered, then full, then drained, and what was taken arrives in order', () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        assert.equal(listener.connection.sendText('0 first'), 'sent');
        client.pause();
        const taken = fill(listener.connection);
        const { bufferedBytes } = listener.connection;
        assert(bufferedBytes >= bench.bounds.sendBufferMaxBytes);
        assert(
          bufferedBytes <= bench.bounds.sendBufferMaxBytes + 2 * SENT_TEXT.length,
          String(bufferedBytes),
        );
        const got: string[] = [];
        client.on('message', (message: Buffer) => got.push(message.toString().split(' ')[0] ?? ''));
        client.resume();
        await bench.until(() => listener.heard.includes('drained'));
        assert.deepEqual(listener.heard, ['drained']);
        assert.equal(listener.connection.bufferedBytes, 0);
        assert.equal(listener.connection.sendText('room'), 'sent');
        while (got.at(-1) !== 'room') await once(client, 'message');
        assert.deepEqual(got, ['0', ...Array.from({ length: taken }, (_, i) => String(i)), 'room']);
      }));

    it('[TRN10] pings of a client that does not read do not fill memory', () =>
      using({}, async (bench) => {
        const { socket, listener } = await bench.rawConnect();
        socket.pause();
        const pings = Buffer.concat(Array.from({ length: 1_000 }, () => frame(9, new Uint8Array(125))));
        for (let i = 0; i < 100; i++) if (!socket.write(pings)) await once(socket, 'drain');
        socket.write(frame(1, Buffer.from('end')));
        await bench.until(() => listener.heard.includes('text end'));
        const { bufferedBytes } = listener.connection;
        assert(bufferedBytes > 0, 'the kernel took everything: the test proves nothing');
        assert(bufferedBytes <= 2 * bench.bounds.sendBufferMaxBytes + 127, String(bufferedBytes));
      }));

    it('[TRN11] close sends what is buffered first', () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        client.pause();
        const taken = fill(listener.connection);
        listener.connection.close(4413, 'slow_reader');
        assert.equal(listener.connection.sendText('late'), 'closed');
        let got = 0;
        client.on('message', () => (got += 1));
        client.resume();
        assert.deepEqual(await closeOf(client), [4413, 'slow_reader']);
        assert.equal(got, taken);
        assert.deepEqual(listener.heard, ['closed 4413']);
      }));

    it('[TRN11] but waits for a peer that does not read no longer than its bound', () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        client.pause();
        fill(listener.connection);
        listener.connection.close(4413, 'slow_reader');
        assert.equal(await bench.closing(listener), 'closed 4413');
        bench.clock.jump(bench.bounds.closeMaxMs);
        const closed = closeOf(client);
        client.resume();
        assert.equal((await closed)[0], 1006);
        assert.deepEqual(bench.limits, ['close_time']);
        assert.equal(bench.clock.timerCount, 0);
      }));
  });

  describe(`${name}: closing`, () => {
    it('[TRN12] the client sees our code and reason, the listener one closed, and never from inside a call', () => {
      const isInside: boolean[] = [];
      return using(
        {
          upgrade: (_request, bench) =>
            bench.accept((listener) => {
              let inside = false;
              return {
                ...{ binary: () => undefined, drained: () => undefined },
                text: (message) => {
                  listener.text(message);
                  inside = true;
                  listener.connection.close(4_321, 'é'.repeat(100));
                  listener.connection.close(1000, 'again');
                  inside = false;
                },
                closed: (code) => {
                  isInside.push(inside);
                  listener.closed(code);
                },
              };
            }),
        },
        async (bench) => {
          const { client, listener } = await bench.connect();
          const got = textFrom(client);
          const closed = closeOf(client);
          client.send('a');
          client.send('b');
          assert.equal(await got, 'a');
          assert.deepEqual(await closed, [4_321, 'é'.repeat(61)]);
          await bench.closing(listener);
          assert.deepEqual(listener.heard, ['text a', 'closed 4321']);
          assert.deepEqual(isInside, [false]);
          assert.equal(listener.connection.sendText('late'), 'closed');
          assert.equal(listener.connection.bufferedBytes, 0);
          listener.connection.close(1000, '');
          listener.connection.terminate();
          assert.deepEqual(bench.faults, []);
        },
      );
    });

    it('[TRN12] a code that may not be sent is our mistake', () =>
      using({}, async (bench) => {
        const { listener } = await bench.connect();
        for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000]) {
          assert.throws(() => {
            listener.connection.close(code, '');
          }, assert.AssertionError);
        }
      }));

    it('[TRN12] the listener hears the client’s code', () =>
      using({}, async (bench) => {
        for (const [code, expected] of [
          [undefined, 1005],
          [1000, 1000],
          [4_123, 4_123],
        ] as const) {
          const { client, listener } = await bench.connect();
          client.close(code);
          assert.equal(await bench.closing(listener), `closed ${expected}`);
          assert.deepEqual(listener.heard, [`closed ${expected}`]);
        }
      }));

    it('[TRN13] terminate cuts at once', () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        const closed = closeOf(client);
        listener.connection.terminate();
        assert.deepEqual(await closed, [1006, '']);
        assert.equal(await bench.closing(listener), 'closed 1006');
      }));

    it('[TRN13] a peer that vanishes is heard of once', () =>
      using({}, async (bench) => {
        for (const end of ['destroy', 'resetAndDestroy'] as const) {
          const { socket, listener } = await bench.rawConnect();
          socket[end]();
          assert.equal(await bench.closing(listener), 'closed 1006');
          assert.deepEqual(listener.heard, ['closed 1006']);
        }
      }));

    it('[TRN14] [TRN25] a peer that says nothing is asked, then cut off and counted; one that answers stays', () =>
      using({}, async (bench) => {
        const { socket, listener } = await bench.rawConnect();
        const { client } = await bench.connect();
        const { keepAliveIntervalMs } = bench.bounds;
        const asked = once(socket, 'data') as Promise<[Buffer]>;
        const ended = once(socket, 'close');
        for (let round = 0; round < 3; round++) {
          const pinged = once(client, 'ping');
          bench.clock.jump(2 * keepAliveIntervalMs);
          await pinged;
          // A whole connection later the pong has long been read.
          (await bench.connect()).client.terminate();
        }
        assert.deepEqual([...(await asked)[0].subarray(0, 2)], [0x89, 0]);
        await ended;
        assert.equal(await bench.closing(listener), 'closed 1006');
        assert.deepEqual(bench.limits, ['silence']);
        client.send('on');
        assert.equal(await textFrom(client), 'on');
      }));
  });

  describe(`${name}: as a server`, () => {
    it('[TRN15] 200 connections at once, each its own', () =>
      using({}, async (bench) => {
        const clients = await Promise.all(
          Array.from({ length: 200 }, async (_, i) => {
            const client = bench.client(`/${i}`);
            await once(client, 'open');
            return client;
          }),
        );
        const texts = await Promise.all(
          clients.map((client, i) => {
            client.send(`I am ${i}`);
            return textFrom(client);
          }),
        );
        assert.deepEqual(
          texts,
          clients.map((_, i) => `I am ${i}`),
        );
        await Promise.all(
          clients.map((client) => {
            client.close(1000);
            return once(client, 'close');
          }),
        );
        await Promise.all(bench.listeners.map((listener) => bench.closing(listener)));
        assert(bench.listeners.every(({ heard }) => heard.length === 2 && heard[1] === 'closed 1000'));
        assert.equal(bench.clock.timerCount, 0);
      }));

    it('[TRN16] stopListening refuses the new and keeps the old', () =>
      using({}, async (bench) => {
        const { client } = await bench.connect();
        bench.transport.stopListening();
        bench.transport.stopListening();
        const late = new WebSocket(`ws://127.0.0.1:${bench.port}/`);
        const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
        assert.equal(error.code, 'ECONNREFUSED');
        client.send('on');
        assert.equal(await textFrom(client), 'on');
      }));

    it('[TRN17] close ends every connection with 1001, may be repeated, and leaves nothing behind', () =>
      using({}, async (bench) => {
        const [one, two] = [await bench.connect(), await bench.connect()];
        const codes = Promise.all([closeOf(one.client), closeOf(two.client)]);
        await Promise.all([bench.transport.close(), bench.transport.close()]);
        assert.deepEqual(await codes, [
          [1001, 'going away'],
          [1001, 'going away'],
        ]);
        assert.equal(await bench.closing(one.listener), 'closed 1001');
        assert.equal(bench.clock.timerCount, 0);
      }));

    it('[TRN17] close does not wait for peers that do not answer', () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        client.pause();
        fill(listener.connection);
        const closed = bench.transport.close();
        bench.clock.jump(bench.bounds.closeMaxMs);
        await closed;
        assert.equal(await bench.closing(listener), 'closed 1001');
      }));

    it('[TRN18] a port that is taken is a ConfigError that says so', () =>
      using({}, async (bench) => {
        const second = create({ clock: bench.clock, bounds: bench.bounds });
        const events = {
          upgrade: () => assert.fail(),
          head: () => undefined,
          http: () => assert.fail(),
          fault: () => undefined,
          limitReached: () => undefined,
        };
        await assert.rejects(second.listen({ host: '127.0.0.1', port: bench.port, events }), (error) => {
          return error instanceof ConfigError && error.message.includes(`port ${bench.port} is taken`);
        });
        await second.close();
      }));

    it('[TRN19] TLS carries all of it; files that cannot be used are a ConfigError', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'earwitness-tls-'));
      try {
        const { cert, key } = selfSigned();
        const tls = { certPath: join(folder, 'cert.pem'), keyPath: join(folder, 'key.pem') };
        writeFileSync(tls.certPath, cert);
        writeFileSync(tls.keyPath, key);
        await using({ tls }, async (bench) => {
          const trust = { ca: cert, checkServerIdentity: () => undefined };
          const { client, listener } = await bench.connect('/', trust as object);
          const text = 'z'.repeat(TRANSPORT_MESSAGE_MAX_BYTES);
          client.send(text);
          assert.equal(await textFrom(client), text);
          client.pause();
          fill(listener.connection);
          client.resume();
          await bench.until(() => listener.heard.includes('drained'));
          const closed = closeOf(client);
          listener.connection.close(4_000, 'bye');
          assert.deepEqual(await closed, [4_000, 'bye']);
        });
        writeFileSync(tls.keyPath, selfSigned().key);
        for (const bad of [tls, { ...tls, certPath: join(folder, 'none.pem') }]) {
          await assert.rejects(
            using({ tls: bad }, () => Promise.resolve()),
            (error) => error instanceof ConfigError && error.message.includes(bad.certPath),
          );
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
}
