import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { RealServer } from '../support/real_server.ts';
import { CORPUS, listenTo } from './audio_verdicts.ts';
import { startDigestServer } from './digest_crowd.ts';
import { throwEverywhere } from './thrown_faults.ts';

describe('unusual audio', { concurrency: 4 }, () => {
  let server: RealServer;
  before(async () => {
    server = await startDigestServer();
  });
  after(async () => {
    await server.close();
    const deaths = server.log.lines.filter(({ event }) => event.endsWith('worker died'));
    assert.deepEqual(deaths, [], 'no recording ends a worker');
  });

  for (const item of CORPUS) {
    it(`[R-19] ${item.title}: ${item.verdict}`, async () => {
      assert.equal(await listenTo(server, item), item.verdict);
    });
  }
});

describe('exceptions in what serves a session', () => {
  it('[R-12] each costs its own session, with 1011, counted once; a session beside it goes on', async () => {
    const { violations, lost } = await throwEverywhere(1);
    assert.deepEqual([...violations, lost], [0]);
  });
});
