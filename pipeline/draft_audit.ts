/**
 * Proof in production that drafts change nothing: of the hypotheses that were made with a draft some are made again
 * without one, while no other job wants a slot, and the two must be the same. Stands between scheduler and pool. Partials
 * are left out, which need not be exact. On accelerators there is none: they round differently in a run of another
 * shape, where choices are close.
 */
import type { Cancel, Clock } from './clock.ts';
import type { Hypothesis } from './contracts.ts';
import type { InferenceJob, InferencePool } from './inference_pool.ts';
import { DRAFT_AUDIT_EVERY_COUNT, DRAFT_AUDIT_RETRY_MS } from './limits.ts';
import type { Telemetry } from './telemetry.ts';

export interface DraftAuditOptions {
  readonly pool: InferencePool;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** True if the pool runs the model in whole numbers, so that a result does not depend on how it was reached. */
  readonly isExact: boolean;
}

/** A job that had a draft, and what came of it. */
interface Sample {
  readonly job: InferenceJob;
  readonly tokens: readonly number[];
}

export class DraftAudit implements InferencePool {
  readonly #options: DraftAuditOptions;
  #draftedCount = 0;
  /** The newest: what people said is not kept until a busy server is idle. */
  #sample: Sample | undefined;
  #cancelRetry: Cancel | undefined;

  constructor(options: DraftAuditOptions) {
    this.#options = options;
  }

  get slotCount(): number {
    return this.#options.pool.slotCount;
  }

  get freeCount(): number {
    return this.#options.pool.freeCount;
  }

  get idleCount(): number {
    return this.#options.pool.idleCount;
  }

  get isDisturbed(): boolean {
    return this.#options.pool.isDisturbed;
  }

  async run(job: InferenceJob): Promise<Hypothesis> {
    const hypothesis = await this.#options.pool.run(job);
    const isExact = this.#options.isExact && job.partialOf === undefined;
    if (isExact && job.draft.length > 0 && ++this.#draftedCount % DRAFT_AUDIT_EVERY_COUNT === 0) {
      this.#sample = { job, tokens: hypothesis.tokens };
      this.#retryLater();
    }
    return hypothesis;
  }

  /** Audits no more. Idempotent. */
  close(): void {
    this.#cancelRetry?.();
    this.#sample = undefined;
  }

  #retryLater(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = this.#options.clock.after(DRAFT_AUDIT_RETRY_MS, () => {
      void this.#auditIfIdle();
    });
  }

  async #auditIfIdle(): Promise<void> {
    const { pool, telemetry } = this.#options;
    const sample = this.#sample;
    if (sample === undefined) return;
    if (pool.idleCount === 0 || pool.idleCount < pool.slotCount) {
      this.#retryLater();
      return;
    }
    this.#sample = undefined;
    try {
      // Ids of the scheduler are positive: this one is no other job's.
      const { tokens } = await pool.run({ ...sample.job, jobId: -sample.job.jobId, draft: [] });
      const outcome = tokens.join() === sample.tokens.join() ? 'same' : 'different';
      telemetry.count('draft_audits_total', { outcome });
    } catch {
      // Its worker died or is being stopped: nothing was found out, and nobody waits for it.
      telemetry.count('draft_audits_total', { outcome: 'failed' });
    }
  }
}
