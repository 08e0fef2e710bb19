import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { WorkerReport } from '../../server/admin.ts';
import { judgeHealth, type HealthFacts } from '../../server/health.ts';

function worker(role: WorkerReport['role'], state: string): WorkerReport {
  return { role, state, pid: 1, restarts: 3, rssBytes: 1, cpuMs: 1 };
}

function factsOf(workers: readonly WorkerReport[]): HealthFacts {
  const readyCount = (role: WorkerReport['role']): number =>
    workers.filter((one) => one.role === role && one.state === 'ready').length;
  return {
    workers,
    slotCount: Math.min(2, readyCount('inference')),
    wantedSlotCount: 2,
    audioCount: Math.min(1, readyCount('audio')),
    wantedAudioCount: 1,
    isDraining: false,
  };
}
const AUDIO = worker('audio', 'ready');
const INFERENCE = worker('inference', 'ready');

describe('health', () => {
  it('[HEA1] ready means that audio can be decoded and transcribed by as many as were configured', () => {
    assert.deepEqual(judgeHealth(factsOf([AUDIO, INFERENCE, INFERENCE])), { status: 'ready', reasons: [] });
    const withSpareGone = factsOf([AUDIO, INFERENCE, INFERENCE, worker('inference', 'parked')]);
    assert.deepEqual(judgeHealth(withSpareGone), { status: 'ready', reasons: [] });
  });

  it('[HEA2] with fewer than were configured it is degraded and says who is missing', () => {
    assert.deepEqual(judgeHealth(factsOf([AUDIO, INFERENCE, worker('inference', 'backoff')])), {
      status: 'degraded',
      reasons: ['an inference worker is about to be started again (restarts so far: 3)'],
    });
  });

  it('[HEA2] workers that are missing for the same reason are counted, not listed one by one', () => {
    const starting = { ...worker('inference', 'starting'), restarts: 0 };
    assert.deepEqual(judgeHealth(factsOf([AUDIO, starting, starting])).reasons, [
      '2 inference workers are starting',
    ]);
  });

  it('[HEA6] a worker that does without its device makes it degraded, with the reason, and not unready', () => {
    const onCpu = { ...INFERENCE, device: 'cpu', fallback: 'fake is not used: it did not start' };
    assert.deepEqual(judgeHealth(factsOf([AUDIO, INFERENCE, onCpu])), {
      status: 'degraded',
      reasons: ['an inference worker runs on cpu: fake is not used: it did not start'],
    });
  });

  it('[HEA7] while new sessions are refused for load it is degraded and says why, and not unready', () => {
    assert.deepEqual(judgeHealth({ ...factsOf([AUDIO, INFERENCE, INFERENCE]), refusedFor: 'memory' }), {
      status: 'degraded',
      reasons: ['new sessions are refused for load: memory'],
    });
  });

  it('[HEA3] without one of the two roles it is starting, as long as there is hope', () => {
    for (const state of ['starting', 'backoff', 'stopping']) {
      const noAudio = factsOf([worker('audio', state), INFERENCE, INFERENCE]);
      assert.equal(judgeHealth(noAudio).status, 'starting');
      const noInference = factsOf([AUDIO, worker('inference', 'parked'), worker('inference', state)]);
      assert.equal(judgeHealth(noInference).status, 'starting');
    }
  });

  it('[HEA4] when every worker of a role is failed or parked it has failed', () => {
    const hopeless = factsOf([AUDIO, worker('inference', 'parked'), worker('inference', 'failed')]);
    assert.equal(judgeHealth(hopeless).status, 'failed');
    assert.equal(judgeHealth(hopeless).reasons.length, 2);
    assert.equal(judgeHealth(factsOf([worker('audio', 'failed'), INFERENCE, INFERENCE])).status, 'failed');
  });

  it('[HEA5] a server that drains says so, whatever else is true', () => {
    const facts = { ...factsOf([AUDIO, INFERENCE, INFERENCE]), isDraining: true };
    assert.deepEqual(judgeHealth(facts), { status: 'draining', reasons: ['the server is shutting down'] });
  });
});
