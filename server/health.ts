/** What the server may honestly say of itself, as a pure function of its workers. */
import type { LoadSource } from '../pipeline/load_ladder.ts';
import { METRICS, type Telemetry } from '../pipeline/telemetry.ts';
import type { Health, WorkerReport } from './admin.ts';

export interface HealthFacts {
  readonly workers: readonly WorkerReport[];
  /** What can work now and what was configured: inference jobs at the same time, and audio workers. */
  readonly slotCount: number;
  readonly wantedSlotCount: number;
  readonly audioCount: number;
  readonly wantedAudioCount: number;
  readonly isDraining: boolean;
  /** What new sessions have been refused for, for long. */
  readonly refusedFor?: LoadSource | undefined;
}

/**
 * Ready only when audio can be decoded and transcribed; degraded with fewer workers than were configured, without their
 * device, or while load leaves no room for new sessions.
 */
export function judgeHealth(facts: HealthFacts): Health {
  if (facts.isDraining) return { status: 'draining', reasons: ['the server is shutting down'] };
  const fallbacks = facts.workers.flatMap(({ role, device, fallback }) =>
    fallback === undefined ? [] : [`an ${role} worker runs on ${device ?? 'another device'}: ${fallback}`],
  );
  const { refusedFor } = facts;
  const loads = refusedFor === undefined ? [] : [`new sessions are refused for load: ${refusedFor}`];
  const missing = describeMissing(facts.workers);
  const reasons = [...missing, ...fallbacks, ...loads];
  if (facts.audioCount > 0 && facts.slotCount > 0) {
    const isWhole = facts.slotCount >= facts.wantedSlotCount && facts.audioCount >= facts.wantedAudioCount;
    return isWhole && fallbacks.length === 0 && loads.length === 0
      ? { status: 'ready', reasons: [] }
      : { status: 'degraded', reasons };
  }
  const isHopeless = (['audio', 'inference'] as const).some((role) =>
    facts.workers
      .filter((worker) => worker.role === role)
      .every((worker) => worker.state === 'failed' || worker.state === 'parked'),
  );
  return { status: isHopeless ? 'failed' : 'starting', reasons };
}

/** Sets the gauges. */
export function reportHealth(telemetry: Telemetry, { status }: Health): void {
  for (const candidate of METRICS.health_status.labels.status)
    telemetry.set('health_status', { status: candidate }, Number(candidate === status));
}

const STATE_WORDS: Readonly<Record<string, string>> = {
  starting: 'starting',
  stopping: 'ending',
  backoff: 'about to be started again',
  parked: 'not started again for a while, after too many deaths',
  failed: 'not started again, for it cannot work as configured',
};

/** One sentence for all workers of a role that are in the same state. */
function describeMissing(workers: readonly WorkerReport[]): readonly string[] {
  const groups = new Map<string, WorkerReport[]>();
  for (const worker of workers) {
    const name = `${worker.role} ${worker.state}`;
    if (worker.state !== 'ready') groups.set(name, [...(groups.get(name) ?? []), worker]);
  }
  return [...groups.values()].map((group) => {
    const [{ role, state } = { role: '', state: '' }] = group;
    const who = group.length === 1 ? `an ${role} worker is` : `${group.length} ${role} workers are`;
    const restarts = group.reduce((sum, worker) => sum + worker.restarts, 0);
    return `${who} ${STATE_WORDS[state] ?? state}${restarts === 0 ? '' : ` (restarts so far: ${restarts})`}`;
  });
}
