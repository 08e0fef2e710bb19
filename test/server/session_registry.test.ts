import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TICK_INTERVAL_MS } from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { ScriptedPool } from '../support/scripted_pool.ts';
import { ScriptedTrack, SETTINGS } from '../support/session_setting.ts';

describe('session registry', () => {
  it('[SES71] a throw when a session looks at the clock ends that one, told with its cause; the others get their turn', async () => {
    const [clock, telemetry, audioPool] = [new FakeClock(), new RecordingTelemetry(), new ScriptedTrack()];
    const onPartialsSuspended = (): void => undefined;
    const scheduler = new Scheduler({
      ...{ pool: new ScriptedPool(1), clock, telemetry, partialIntervalMs: 500, onPartialsSuspended },
    });
    const faults: unknown[] = [];
    const registry = new SessionRegistry({
      ...{ audioPool, scheduler, clock, telemetry, maxSessions: 2, isReady: () => true },
      onFault: ({ cause }) => faults.push(cause),
    });
    const heard: SessionEvent[] = [];
    const bug = new Error('a bug');
    const broken = registry.open(SETTINGS, (event) => heard.push(event));
    broken.tick = () => {
      throw bug;
    };
    let tickCount = 0;
    registry.open(SETTINGS, () => undefined).tick = () => {
      tickCount++;
    };
    registry.start();
    await clock.advance(TICK_INTERVAL_MS);
    assert.deepEqual(faults, [bug]);
    assert.equal(tickCount, 2);
    assert.equal(registry.count, 1);
    assert(heard[0]?.type === 'failed' && heard[0].error.code === 'internal' && heard[0].error.retryable);
    registry.close();
    await clock.advance(10 * TICK_INTERVAL_MS);
    assert.equal(tickCount, 2, 'nobody looks at the clock after the end');
    assert.equal(clock.timerCount, 0);
  });
});
