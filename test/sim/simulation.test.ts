import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FAULT_RATES } from './faults.ts';
import { simulate } from './world.ts';

/** A few of the thousand worlds that `sim_main.js` runs. */
const SEEDS = Array.from({ length: 20 }, (_, index) => index + 1);

void describe('simulation', () => {
  it('[SIM1] worlds with seeded faults break no rule', async () => {
    let finalCount = 0;
    let processCount = 0;
    const active = new Set<string>();
    for (const seed of SEEDS) {
      const outcome = await simulate(seed);
      const replay = `replay: node dist/test/sim/sim_main.js --seed ${seed} --trace`;
      assert.deepEqual(outcome.violations, [], `seed=${seed}; ${replay}`);
      finalCount += outcome.finalCount;
      processCount += outcome.processCount;
      for (const fault of outcome.activeFaults) active.add(fault);
    }
    assert.ok(finalCount > 100, `${finalCount} finals`);
    assert.ok(processCount > 5 * SEEDS.length, `${processCount} processes, so some were started again`);
    assert.deepEqual([...active].sort(), Object.keys(FAULT_RATES).sort(), 'every fault was active somewhere');
  });

  it('[SIM2] the same seed gives the same world, event for event', async () => {
    for (const seed of SEEDS.slice(0, 5)) {
      assert.equal((await simulate(seed)).digest, (await simulate(seed, { keepsTrace: true })).digest);
    }
    assert.notEqual((await simulate(1)).digest, (await simulate(2)).digest);
  });

  it('[SIM3] what anybody is told does not depend on the wall clock, which is set by an hour now and then', async () => {
    for (const seed of SEEDS) {
      const [jumpy, steady] = [await simulate(seed), await simulate(seed, { jumps: false })];
      assert.equal(jumpy.digest, steady.digest, `seed=${seed}`);
    }
  });
});
