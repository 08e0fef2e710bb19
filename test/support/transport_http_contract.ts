/** What every transport does with plain HTTP, as tests: called once for each. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { HttpAnswer } from '../../server/transport/transport.ts';
import { ask, readToEnd, TransportBench, type CreateTransport, type ReadRequest } from './transport_bench.ts';

function sizeAnswer(bytes: number): HttpAnswer {
  return { status: 200, headers: {}, body: String(bytes) };
}

/** Declares the contract for one transport. */
export function describeTransportHttp(name: string, create: CreateTransport): void {
  const using = TransportBench.use.bind(TransportBench, create);

  describe(`${name}: plain HTTP`, () => {
    it('[TRN20] GET and HEAD are answered by the owner, and the connection ends', () =>
      using({}, async ({ port }) => {
        const page = await ask(port, { path: '/?a=1', headers: { Connection: 'keep-alive' } });
        assert.equal(page.status, 200);
        assert.equal(page.body, 'page');
        assert.equal(page.headers['content-length'], '4');
        assert.equal(page.headers.connection, 'close');
        assert.equal((await ask(port, { path: '/x' })).status, 404);
        const head = await ask(port, { path: '/', method: 'HEAD' });
        assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', '4']);
      }));

    it('[TRN20] the owner sees the whole request, and its headers and bytes are sent', () => {
      const requests: ReadRequest[] = [];
      return using(
        {
          http: (request) => {
            requests.push(request);
            return {
              status: 201,
              headers: { 'X-Type': 'b', 'Content-Length': '99' },
              body: new Uint8Array([104, 105]),
            };
          },
        },
        async ({ port }) => {
          const options = {
            path: '/p%20q?a=b%20c',
            method: 'POST',
            headers: { 'X-Two': ['1', '2'], 'Content-Length': 5 },
          };
          const reply = await ask(port, options, 'hello');
          assert.deepEqual([reply.status, reply.body, reply.headers['x-type']], [201, 'hi', 'b']);
          const [request] = requests;
          assert(request !== undefined);
          assert.equal(request.method, 'POST');
          assert.equal(request.path, '/p%20q');
          assert.equal(request.query.get('a'), 'b c');
          assert.equal(request.headers.get('x-two'), '1, 2');
          assert.equal(request.remoteAddress, '127.0.0.1');
          assert.equal(Buffer.from(request.body).toString(), 'hello');
        },
      );
    });

    it('[TRN20] an offer of another protocol is ignored', () =>
      using({}, async ({ port }) => {
        const headers = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': '' };
        assert.equal((await ask(port, { path: '/', headers })).body, 'page');
      }));

    it('[TRN21] a body arrives whole up to its bound; a larger one, or one of unknown length, is refused', () =>
      using(
        {
          bounds: { bodyMaxBytes: 300_000 },
          http: ({ body }) => ({ status: 200, headers: {}, body: String(body.length) }),
        },
        async ({ port, limits }) => {
          const post = (bytes: number, headers: Record<string, string> = {}): ReturnType<typeof ask> =>
            ask(
              port,
              { method: 'POST', path: '/', headers: { 'Content-Length': String(bytes), ...headers } },
              'x'.repeat(bytes),
            );
          assert.equal((await post(300_000)).body, '300000');
          const socketReply = async (head: string): Promise<string> => {
            const socket = connect(port, '127.0.0.1');
            socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`);
            return (await readToEnd(socket)).slice(9, 12);
          };
          assert.equal(await socketReply('Content-Length: 300001'), '413');
          assert.equal(await socketReply('Transfer-Encoding: chunked'), '411');
          assert.deepEqual(limits, ['body_bytes']);
        },
      ));

    it('[TRN27] what the owner answers from the head is sent without the body being read', () => {
      const refusal: HttpAnswer = { status: 404, headers: {}, body: 'nothing here' };
      let asked = 0;
      return using(
        {
          judge: ({ path }) => {
            if (path === '/throw') throw new Error('owner');
            return path === '/no' ? refusal : undefined;
          },
          http: () => {
            asked++;
            return { status: 200, headers: {}, body: '' };
          },
        },
        async ({ port, faults }) => {
          const replyTo = async (path: string): Promise<string> => {
            const client = connect(port, '127.0.0.1');
            client.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\nx`);
            return (await readToEnd(client)).slice(9, 12);
          };
          assert.equal(await replyTo('/no'), '404');
          assert.equal(await replyTo('/throw'), '500');
          assert.equal(faults.length, 1);
          assert.equal(asked, 0);
          const headers = { Connection: 'Upgrade', Upgrade: 'h2c' };
          assert.equal((await ask(port, { path: '/no', headers })).status, 404);
        },
      );
    });

    it('[TRN27] what the owner answers later from the head is sent without the body being read', () =>
      using(
        {
          bounds: { bodiesMaxBytes: 1_000 },
          judge: async ({ path }) => {
            await setImmediate();
            return path === '/no'
              ? { status: 401, headers: {}, body: '' }
              : ({ length }) => sizeAnswer(length);
          },
        },
        async (bench) => {
          // Each of them would take all the room there is, for a body that never comes.
          for (let i = 0; i < 3; i++) {
            const client = bench.socket();
            client.write('POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx');
            assert.equal((await readToEnd(client)).slice(9, 12), '401');
          }
          const options = { method: 'POST', path: '/', headers: { 'Content-Length': '900' } };
          assert.equal((await ask(bench.port, options, 'x'.repeat(900))).body, '900');
          assert.deepEqual([bench.limits, bench.faults], [[], []]);
        },
      ));

    it('[TRN29] a body that comes while its head is judged is kept, whole and in order', () => {
      const body = Buffer.from(Array.from({ length: 400_000 }, (_, i) => i % 251));
      const judged: ((isIn: boolean) => void)[] = [];
      return using(
        {
          judge: async ({ path }) => {
            if (path === '/') return sizeAnswer(0);
            await new Promise((resolve) => judged.push(resolve));
            return (received) => ({ status: 200, headers: {}, body: received });
          },
        },
        async (bench) => {
          const client = bench.socket();
          client.write(`POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
          client.write(body);
          while (judged.length === 0) await ask(bench.port, { path: '/' });
          for (let i = 0; i < 10; i++) await ask(bench.port, { path: '/' });
          judged[0]?.(true);
          const reply = Buffer.from(await readToEnd(client), 'latin1');
          assert.equal(reply.subarray(-body.length).equals(body), true);
        },
      );
    });

    it('[TRN29] an exchange ends once, however it ends, and its owner is told', () => {
      const ended: string[] = [];
      const never = new Promise<HttpAnswer>(() => undefined);
      return using(
        {
          bounds: { bodyMaxBytes: 1_000 },
          judge: ({ path, ended: signal }) => {
            if (path !== '/') {
              signal.addEventListener('abort', () => {
                ended.push(path);
              });
            }
            return path === '/body' || path === '/slow' || path === '/large' ? () => never : sizeAnswer(0);
          },
        },
        async (bench) => {
          const { port } = bench;
          const told = async (path: string): Promise<void> => {
            while (!ended.includes(path)) await ask(port, { path: '/' });
          };
          await ask(port, { path: '/answered' });
          await told('/answered');
          const send = (path: string, bytes: number): Socket => {
            const socket = bench.socket();
            socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\nx`);
            return socket;
          };
          send('/large', 1_001);
          await told('/large');
          // Left while its body was read, and while its answer was waited for.
          for (const [path, bytes] of [
            ['/body', 10],
            ['/slow', 1],
          ] as const) {
            const socket = send(path, bytes);
            while (bench.clock.timerCount === 0) await ask(port, { path: '/' });
            socket.resetAndDestroy();
            await told(path);
          }
          assert.deepEqual(ended, ['/answered', '/large', '/body', '/slow']);
          assert.deepEqual(bench.faults, []);
        },
      );
    });

    it('[TRN29] what the owner throws when its client has left is no fault', () => {
      let isRejected = false;
      return using(
        {
          judge: ({ path, ended }) =>
            path === '/'
              ? sizeAnswer(0)
              : () =>
                  new Promise((_resolve, reject) => {
                    ended.addEventListener('abort', () => {
                      isRejected = true;
                      reject(new Error('nobody waits'));
                    });
                  }),
        },
        async (bench) => {
          const socket = bench.socket();
          socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
          while (bench.clock.timerCount === 0) await ask(bench.port, { path: '/' });
          socket.resetAndDestroy();
          while (!isRejected) await ask(bench.port, { path: '/' });
          await ask(bench.port, { path: '/' });
          assert.deepEqual([bench.faults, bench.clock.timerCount], [[], 0]);
        },
      );
    });

    it('[TRN21] bodies share one room: a request that finds none is told to come back', () =>
      using({ bounds: { bodiesMaxBytes: 1_000 } }, async (bench) => {
        const first = bench.socket();
        first.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 800\r\n\r\nx');
        const refused = async (): Promise<boolean> => {
          const options = { method: 'POST', path: '/', headers: { 'Content-Length': '300' } };
          const reply = await ask(bench.port, options, 'x'.repeat(300));
          if (reply.status === 503) {
            assert.equal(reply.headers['retry-after'], '1');
            const { error } = JSON.parse(reply.body) as { error: { code: string; retryable: boolean } };
            assert.deepEqual([error.code, error.retryable], ['overloaded', true]);
          }
          return reply.status === 503;
        };
        while (!(await refused())); // Until the first has been seen.
        assert.deepEqual(bench.limits, ['bodies_bytes']);
        first.destroy();
        while (await refused()); // Until its leaving has been seen.
      }));

    it('[TRN21] a body that does not come is not waited for', () =>
      using({}, async (bench) => {
        const socket = bench.socket();
        socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx');
        const ended = once(socket, 'close');
        socket.resume();
        // The timer starts when the head has been read, which shows in nothing else.
        while (bench.clock.timerCount === 0) await ask(bench.port, { path: '/' });
        bench.clock.jump(bench.bounds.exchangeMaxMs);
        await ended;
        assert.deepEqual(bench.limits, ['body_time']);
      }));

    it('[TRN22] an owner that throws, rejects, forges or never answers costs that client a 500 and is reported', () => {
      const never = new Promise<HttpAnswer>(() => undefined);
      const answers: Readonly<Record<string, () => HttpAnswer | Promise<HttpAnswer>>> = {
        '/throw': () => {
          throw new Error('http');
        },
        '/reject': () => Promise.reject(new Error('http')),
        '/forge': () => ({ status: 200, headers: { A: 'b\r\nC: d' }, body: '' }),
        '/status': () => ({ status: 99, headers: {}, body: '' }),
        '/never': () => never,
        '/later': () => Promise.resolve({ status: 200, headers: {}, body: 'later' }),
      };
      return using({ http: ({ path }) => answers[path]?.() ?? never }, async (bench) => {
        for (const path of ['/throw', '/reject', '/forge', '/status', '/never']) {
          const reply = ask(bench.port, { path });
          if (path === '/never') {
            while (bench.clock.timerCount === 0) await ask(bench.port, { path: '/later' });
            bench.clock.jump(bench.bounds.exchangeMaxMs);
          }
          const fault = { error: { code: 'internal', message: 'the server failed', retryable: false } };
          assert.deepEqual([(await reply).status, JSON.parse((await reply).body)], [500, fault], path);
        }
        assert.equal(bench.faults.length, 5);
        assert.equal((await ask(bench.port, { path: '/later' })).body, 'later');
      });
    });

    it('[TRN22] a client that leaves before its answer costs nothing', () => {
      const answers: ((answer: HttpAnswer) => void)[] = [];
      return using(
        {
          http: ({ path }) =>
            path === '/'
              ? { status: 200, headers: {}, body: 'page' }
              : new Promise((resolve) => answers.push(resolve)),
        },
        async (bench) => {
          const socket = bench.socket();
          socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
          while (answers.length === 0) await ask(bench.port, { path: '/' });
          socket.resetAndDestroy();
          await ask(bench.port, { path: '/' });
          answers[0]?.({ status: 200, headers: {}, body: 'too late' });
          assert.equal((await ask(bench.port, { path: '/' })).body, 'page');
          assert.deepEqual(bench.faults, []);
        },
      );
    });
  });
}
