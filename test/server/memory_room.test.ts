import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MEMORY_ROOM_MIN_BYTES } from '../../pipeline/limits.ts';
import type { WorkerReport } from '../../server/admin.ts';
import { MemoryRoom, proportionalBytes } from '../../server/memory_room.ts';

const MIB = 1_024 * 1_024;

/** A gateway of 100 MiB, and workers of 250 MiB each, 100 of which they share. */
class Setting {
  readonly tight: { readonly limitBytes: number; readonly neededBytes: number }[] = [];
  ownBytes = 100 * MIB;
  readonly room: MemoryRoom;

  constructor(limitBytes: number, isShareKnown = true) {
    this.room = new MemoryRoom({
      limitBytes,
      own: { pid: 1, rssBytes: () => this.ownBytes },
      proportionalBytes: (pid) => (!isShareKnown ? undefined : pid === 1 ? 100 * MIB : 150 * MIB),
      onTight: (facts) => this.tight.push(facts),
    });
  }

  used(growthBytes = 0, change: Partial<WorkerReport> = {}): number {
    const worker = { pid: 2, state: 'ready', restarts: 0, rssBytes: 250 * MIB };
    return this.room.usedRatio([
      { role: 'audio', ...worker },
      { role: 'inference', ...worker, rssBytes: worker.rssBytes + growthBytes },
      { role: 'inference', ...worker, ...change },
    ]);
  }
}

describe('memory room', () => {
  it('[MEM1] what the processes take at rest is no load, shared pages count once, and growth counts against the rest', () => {
    const setting = new Setting(1_024 * MIB);
    assert.equal(setting.used(), 0);
    // 100 for the gateway and 3 × 150 for the workers are needed, so that 474 are left.
    assert.equal(setting.used(237 * MIB), 0.5);
    setting.ownBytes += 237 * MIB;
    assert.equal(setting.used(237 * MIB), 1);
    assert.equal(setting.used(0, { state: 'backoff', rssBytes: 0 }), 0, 'less than at rest is none');
    assert.deepEqual(setting.tight, []);
  });

  it('[MEM2] nothing counts until every worker is there and has said what it takes', () => {
    const setting = new Setting(1_024 * MIB);
    assert.equal(setting.used(0, { state: 'starting', rssBytes: 0 }), 0);
    assert.equal(setting.used(300 * MIB, { rssBytes: 0 }), 0);
    assert.equal(setting.used(300 * MIB), 0, 'this is what it is at rest');
    assert.equal(setting.used(300 * MIB), 0);
    assert(setting.used(400 * MIB) > 0);
  });

  it('[MEM3] a limit below what the workers need is warned of once and refuses nobody by itself', () => {
    const setting = new Setting(600 * MIB, false);
    for (let i = 0; i < 10; i++) assert.equal(setting.used(), 0);
    assert.deepEqual(setting.tight, [{ limitBytes: 600 * MIB, neededBytes: 850 * MIB }]);
    assert.equal(setting.used(MEMORY_ROOM_MIN_BYTES / 2), 0.5);
  });

  it('[MEM4] the kernel says what a process takes, where it says so; of no process it says nothing', () => {
    const ownBytes = proportionalBytes(process.pid);
    if (process.platform === 'linux') assert(ownBytes !== undefined && ownBytes > MIB);
    assert.equal(proportionalBytes(0), undefined);
  });
});
