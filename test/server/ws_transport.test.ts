import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';
import { WsTransport } from '../../server/transport/ws_transport.ts';
import { TransportBench, type CreateTransport } from '../support/transport_bench.ts';
import { describeTransport } from '../support/transport_contract.ts';
import { describeTransportHttp } from '../support/transport_http_contract.ts';
import { describeTransportLife } from '../support/transport_life_contract.ts';

const create: CreateTransport = (options) => new WsTransport(options);
describeTransport('ws', create, { oversizeCode: 1009, badUtf8Code: 1007 });
describeTransportHttp('ws', create);
describeTransportLife('ws', create);

it('[TRN23] ws: a socket that sends no headers, or too slowly, is cut off', () =>
  TransportBench.use(create, { bounds: { headersMaxMs: 100 } }, async (bench) => {
    const silent = bench.socket();
    const slow = bench.socket();
    slow.write('GET / HTTP/1.1\r\nHo');
    for (const socket of [silent, slow]) socket.resume();
    await Promise.all([silent, slow].map((socket) => once(socket, 'close')));
    assert.deepEqual(bench.faults, []);
  }));
