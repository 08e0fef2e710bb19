import { it } from 'node:test';
import { findUws } from '../../server/transport/uws_module.ts';
import { UwsTransport } from '../../server/transport/uws_transport.ts';
import type { CreateTransport } from '../support/transport_bench.ts';
import { describeTransport } from '../support/transport_contract.ts';
import { describeTransportHttp } from '../support/transport_http_contract.ts';
import { describeTransportLife } from '../support/transport_life_contract.ts';

const search = findUws();
if (search.found) {
  const create: CreateTransport = (options) => new UwsTransport(search.module, options);
  // The library cuts the connection without a close frame.
  describeTransport('uws', create, { oversizeCode: 1006, badUtf8Code: 1006 });
  describeTransportHttp('uws', create);
  describeTransportLife('uws', create);
} else {
  it('[TRN24] uWebSockets.js is optional', { skip: search.reason }, () => undefined);
}
