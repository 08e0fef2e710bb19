/** What every transport does with handshakes, messages and our own faults, as tests: called once for each. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { TRANSPORT_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import type { ConnectionListener } from '../../server/transport/transport.ts';
import {
  closeOf,
  digest,
  fill,
  frame,
  handshake,
  readToEnd,
  textFrom,
  TransportBench,
  type CreateTransport,
  type EchoListener,
} from './transport_bench.ts';

/** What is known to differ: the code a client sees when its frame cannot be taken. */
export interface TransportDifferences {
  readonly oversizeCode: number;
  readonly badUtf8Code: number;
}

/** Declares the contract for one transport. */
export function describeTransport(name: string, create: CreateTransport, known: TransportDifferences): void {
  const using = TransportBench.use.bind(TransportBench, create);

  describe(`${name}: opening`, () => {
    it('[TRN1] a refusal is an HTTP answer with its status, headers and body, before any WebSocket', () =>
      using(
        {
          upgrade: () => ({ accept: false, status: 503, headers: { 'Retry-After': '7' }, body: 'all taken' }),
        },
        async (bench) => {
          const client = bench.client('/');
          const [, response] = (await once(client, 'unexpected-response')) as [unknown, IncomingMessage];
          assert.equal(response.statusCode, 503);
          assert.equal(response.headers['retry-after'], '7');
          assert.equal(response.headers.connection, 'close');
          const socket = bench.socket();
          socket.write(handshake());
          assert.match(
            await readToEnd(socket),
            /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\n\r\nall taken$/,
          );
          assert.equal(bench.listeners.length, 0);
        },
      ));

    it('[TRN28] who the client is, is what its owner makes of the request, for request and connection', () => {
      const heads: string[] = [];
      return using(
        {
          judge: ({ remoteAddress }) => {
            heads.push(remoteAddress);
            return undefined;
          },
          clientAddress: ({ remoteAddress, headers }) => `${headers.get('x-from') ?? ''} by ${remoteAddress}`,
          upgrade: ({ remoteAddress }, bench) => {
            assert.equal(remoteAddress, '192.0.2.7 by 127.0.0.1');
            return bench.accept();
          },
          http: ({ remoteAddress }) => ({ status: 200, headers: {}, body: remoteAddress }),
        },
        async (bench) => {
          const headers = { 'X-From': '192.0.2.7' };
          const { listener } = await bench.connect('/', { headers });
          assert.equal(listener.connection.remoteAddress, '192.0.2.7 by 127.0.0.1');
          const answer = await fetch(`http://127.0.0.1:${bench.port}/`, { headers });
          assert.equal(await answer.text(), '192.0.2.7 by 127.0.0.1');
          assert.deepEqual(heads, ['192.0.2.7 by 127.0.0.1']);
          assert.deepEqual(bench.faults, []);
        },
      );
    });

    it('[TRN2] the owner sees path, query, headers, protocols and address, and its choice of them is sent', () =>
      using(
        {
          upgrade: (request, bench) => {
            assert.equal(request.path, '/v1/a%20b');
            assert.equal(request.query.get('model'), 'tiny x');
            assert.equal(request.headers.get('x-one'), '1');
            assert.deepEqual(request.protocols, ['token', 'secret']);
            assert.equal(request.remoteAddress, '127.0.0.1');
            assert.equal(request.method, 'GET');
            return { ...bench.accept(), protocol: 'token', headers: { 'X-Session': 's1' } };
          },
        },
        async (bench) => {
          const client = bench.client('/v1/a%20b?&model=tiny+x&x', {
            protocols: ['token', 'secret'],
            headers: { 'X-One': '1' },
          });
          const upgraded = once(client, 'upgrade') as Promise<[IncomingMessage]>;
          await once(client, 'open');
          const [response] = await upgraded;
          assert.deepEqual(bench.faults, []);
          assert.equal(client.protocol, 'token');
          assert.equal(client.extensions, '');
          assert.equal(response.headers['x-session'], 's1');
        },
      ));

    it('[TRN2] none is chosen that the owner did not choose', () =>
      using({}, async (bench) => {
        const socket = bench.socket();
        socket.write(
          handshake({
            'Sec-WebSocket-Protocol': 'token, secret',
            'Sec-WebSocket-Extensions': 'permessage-deflate',
          }),
        );
        const [answer] = (await once(socket, 'data')) as [Buffer];
        assert.match(answer.toString(), /^HTTP\/1\.1 101 /);
        assert.doesNotMatch(answer.toString(), /protocol:|extensions:/i);
      }));

    it('[TRN2] a protocol that was not offered, and a header that would forge another, are our fault: 500', () =>
      using(
        {
          upgrade: ({ protocols }, bench) =>
            protocols.length > 0
              ? { ...bench.accept(), protocol: 'other' }
              : { ...bench.accept(), headers: { 'X-A': 'b\r\nX-C: d' } },
        },
        async (bench) => {
          for (const protocols of [['mine'], []]) {
            const client = bench.client('/', { protocols });
            const [, { statusCode }] = (await once(client, 'unexpected-response')) as [
              unknown,
              IncomingMessage,
            ];
            assert.equal(statusCode, 500);
          }
          assert.equal(bench.faults.length, 2);
        },
      ));

    it('[TRN3] a broken handshake is answered before the owner is asked', () =>
      using({ upgrade: () => assert.fail('asked') }, async (bench) => {
        const cases: [string, number][] = [
          [handshake({ 'Sec-WebSocket-Key': undefined }), 400],
          [handshake({ 'Sec-WebSocket-Key': 'short' }), 400],
          [handshake({ 'Sec-WebSocket-Version': '12' }), 426],
          [handshake({ 'Sec-WebSocket-Protocol': 'a, a' }), 400],
          [handshake({ 'Sec-WebSocket-Protocol': 'a,,b' }), 400],
          [handshake({}, 'POST'), 405],
        ];
        for (const [bytes, status] of cases) {
          const socket = bench.socket();
          socket.write(bytes);
          assert.equal((await readToEnd(socket)).slice(9, 12), String(status), bytes);
        }
        assert.deepEqual(bench.faults, []);
      }));

    it('[TRN4] an owner may take its time; a client that left meanwhile is never accepted', () => {
      const answers: (() => void)[] = [];
      return using(
        {
          upgrade: (_request, bench) =>
            new Promise((resolve) => {
              answers.push(() => {
                resolve(bench.accept());
              });
              bench.changed();
            }),
        },
        async (bench) => {
          const staying = bench.client('/');
          await bench.until(() => answers.length === 1);
          answers[0]?.();
          await once(staying, 'open');
          assert.equal(bench.listeners.length, 1);
          const leaving = bench.socket();
          leaving.write(handshake());
          await bench.until(() => answers.length === 2);
          leaving.resetAndDestroy();
          staying.send('after'); // Its echo shows that the server has seen the reset.
          await textFrom(staying);
          staying.send('after');
          await textFrom(staying);
          answers[1]?.();
          staying.send('on');
          assert.equal(await textFrom(staying), 'on');
          assert.equal(bench.listeners.length, 1);
          assert.deepEqual(bench.faults, []);
        },
      );
    });

    it('[TRN5] an owner that throws, rejects or never answers costs that client a 500 and is reported', () =>
      using(
        {
          upgrade: (request, bench) => {
            if (request.path === '/throw') throw new Error('upgrade');
            if (request.path === '/reject') return Promise.reject(new Error('upgrade'));
            if (request.path !== '/never') return bench.accept();
            setImmediate(() => {
              bench.clock.jump(bench.bounds.exchangeMaxMs);
            });
            return new Promise(() => undefined);
          },
        },
        async (bench) => {
          const { client } = await bench.connect();
          for (const path of ['/throw', '/reject', '/never']) {
            const failing = bench.client(path);
            const [, { statusCode }] = (await once(failing, 'unexpected-response')) as [
              unknown,
              IncomingMessage,
            ];
            assert.equal(statusCode, 500, path);
          }
          assert.equal(bench.faults.length, 3);
          client.terminate();
        },
      ));
  });

  describe(`${name}: messages`, () => {
    it('[TRN6] text and binary messages of 0 bytes to the bound arrive whole, and the receiver keeps its own', () =>
      using({}, async (bench) => {
        const { client } = await bench.connect();
        for (const bytes of [0, 1, 125, 126, 127, 1_500, 16_384, 65_535, TRANSPORT_MESSAGE_MAX_BYTES]) {
          const text = 'é'.repeat(bytes >> 1) + 'x'.repeat(bytes & 1);
          client.send(text);
          assert.equal(await textFrom(client), text);
          const message = randomBytes(bytes);
          client.send(message);
          assert.equal(await textFrom(client), digest(message));
        }
      }));

    it('[TRN6] messages keep their order', () =>
      using({}, async (bench) => {
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.string({ unit: 'grapheme', maxLength: 2_000 }), { maxLength: 60 }),
            async (texts) => {
              const { client } = await bench.connect();
              const got: string[] = [];
              client.on('message', (message: Buffer) => got.push(message.toString()));
              for (const text of texts) client.send(text);
              client.send('the end');
              while (got.length <= texts.length) await once(client, 'message');
              client.terminate();
              assert.deepEqual(got, [...texts, 'the end']);
            },
          ),
          { numRuns: 20 },
        );
      }));

    it(`[TRN7] [TRN25] a message over the bound ends its connection only; the client sees ${known.oversizeCode}`, () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        const { client: other } = await bench.connect();
        client.send(new Uint8Array(TRANSPORT_MESSAGE_MAX_BYTES + 1));
        assert.equal((await closeOf(client))[0], known.oversizeCode);
        assert.equal(await bench.closing(listener), 'closed 1006');
        assert.deepEqual(listener.heard, ['closed 1006']);
        assert.deepEqual(bench.limits, ['message_bytes']);
        other.send('on');
        assert.equal(await textFrom(other), 'on');
        assert.deepEqual(bench.faults, []);
      }));

    it(`[TRN7] so does text that is not UTF-8; the client sees ${known.badUtf8Code}`, () =>
      using({}, async (bench) => {
        const { client, listener } = await bench.connect();
        client.send(Buffer.from([0xc3, 0x28]), { binary: false });
        assert.equal((await closeOf(client))[0], known.badUtf8Code);
        assert.equal(await bench.closing(listener), 'closed 1006');
        assert.deepEqual(listener.heard, ['closed 1006']);
        assert.deepEqual(bench.faults, []);
      }));

    it('[TRN8] a frame without a mask is never delivered, and its connection ends', () =>
      using({}, async (bench) => {
        const { socket, listener } = await bench.rawConnect();
        socket.write(Buffer.concat([frame(1, Buffer.from('mark')), frame(1, Buffer.from('bad'), false)]));
        await bench.until(() => listener.heard.length > 0);
        socket.resume();
        const ended = once(socket, 'close');
        bench.clock.jump(4 * bench.bounds.keepAliveIntervalMs);
        await ended;
        assert.equal(await bench.closing(listener), 'closed 1006');
        assert.deepEqual(listener.heard, ['text mark', 'closed 1006']);
      }));

    it('[TRN8] no bytes behind a handshake end the server', () =>
      using({}, async (bench) => {
        const { client } = await bench.connect();
        await fc.assert(
          fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
            const { socket, listener } = await bench.rawConnect();
            socket.resume();
            socket.end(bytes);
            await bench.closing(listener);
          }),
          { numRuns: 100 },
        );
        client.send('on');
        assert.equal(await textFrom(client), 'on');
        assert.deepEqual(bench.faults, []);
      }));
  });

  describe(`${name}: faults of ours`, () => {
    const throwing = (
      part: keyof ConnectionListener | 'listener',
      listener: EchoListener,
    ): ConnectionListener => {
      if (part === 'listener') throw new Error(part);
      const echo: ConnectionListener = {
        text: (message) => {
          listener.text(message);
        },
        binary: (message) => {
          listener.binary(message);
        },
        drained: () => {
          listener.drained();
        },
        closed: (code) => {
          listener.closed(code);
        },
      };
      return {
        ...echo,
        [part]: (value: never) => {
          echo[part](value);
          throw new Error(part);
        },
      };
    };

    for (const part of ['listener', 'text', 'binary', 'drained', 'closed'] as const) {
      it(`[TRN9] a throw from ${part} goes to fault and costs its own connection only`, () =>
        using(
          {
            upgrade: (request, bench) =>
              request.path === '/bad' ? bench.accept((listener) => throwing(part, listener)) : bench.accept(),
          },
          async (bench) => {
            const { client: other } = await bench.connect();
            const { client, listener } = await bench.connect('/bad');
            const closed = closeOf(client);
            if (part === 'text') client.send('now');
            if (part === 'binary') client.send(new Uint8Array(3));
            if (part === 'closed') client.close(1000);
            if (part === 'drained') {
              client.pause();
              fill(listener.connection);
              client.resume();
            }
            assert.deepEqual(await closed, part === 'closed' ? [1000, ''] : [1011, 'internal']);
            if (part !== 'listener' && part !== 'closed')
              assert.equal(await bench.closing(listener), 'closed 1011');
            await bench.until(() => bench.faults.length > 0);
            assert.deepEqual(bench.faults.map(String), [`Error: ${part}`]);
            other.send('on');
            assert.equal(await textFrom(other), 'on');
          },
        ));
    }
  });
}
