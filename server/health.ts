/** What the server may honestly say of itself, as a pure function of its workers. */
import type { LoadSource } from '../pipeline/load_ladder.ts';
import type { Telemetry } from '../pipeline/telemetry.ts';
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
  const missing = facts.workers.filter((worker) => worker.state !== 'ready').map(describe);
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
  for (const candidate of STATUSES)
    telemetry.set('health_status', { status: candidate }, Number(candidate === status));
}

const STATUSES = [
  'starting',
  'ready',
  'degraded',
  'draining',
  'failed',
] as const satisfies readonly Health['status'][];

function describe(worker: WorkerReport): string {
  return `an ${worker.role} worker is ${worker.state} after ${worker.restarts} restarts`;
}
