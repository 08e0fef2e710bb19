import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mutated, MUTATIONS } from './mutations.ts';

const BUILD = fileURLToPath(new URL('../../', import.meta.url));

describe('simulation: planted bugs', () => {
  it('[SIM4] each can be planted: the code that it replaces is there exactly once', async () => {
    for (const mutation of MUTATIONS) await mutated(BUILD, mutation);
  });
});
