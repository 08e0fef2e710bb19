import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Hypothesis } from '../../pipeline/contracts.ts';
import { DraftAudit } from '../../pipeline/draft_audit.ts';
import { DRAFT_AUDIT_EVERY_COUNT, DRAFT_AUDIT_RETRY_MS } from '../../pipeline/limits.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from '../support/scripted_pool.ts';

class Setting {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly pool = new ScriptedPool(2);
  readonly isExact: boolean;
  readonly audit: DraftAudit;
  #jobId = 1;

  constructor(isExact = true) {
    this.isExact = isExact;
    this.audit = new DraftAudit(this);
  }

  /** Runs so many jobs that had a draft, or none, one after the other. */
  async run(count: number, draft: readonly number[] = [7], partialOf?: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const done = this.begin(draft, partialOf);
      this.pool.first.succeed(hypothesisOf('one two'));
      await done;
    }
  }

  begin(draft: readonly number[] = [7], partialOf?: number): Promise<Hypothesis> {
    return this.audit.run({ jobId: this.#jobId++, pcm: Int16Array.of(1, 2), draft, partialOf });
  }

  /** The audit that runs. */
  async audited(): Promise<(typeof this.pool.running)[number]> {
    await this.clock.advance(DRAFT_AUDIT_RETRY_MS);
    return this.pool.first;
  }

  count(outcome: 'same' | 'different' | 'failed'): number {
    return this.telemetry.total('draft_audits_total', { outcome });
  }
}

void describe('the audit of drafts', () => {
  it('[DRA1] one in so many hypotheses that had a draft is made again without it', async () => {
    const setting = new Setting();
    await setting.run(DRAFT_AUDIT_EVERY_COUNT, []);
    await setting.run(DRAFT_AUDIT_EVERY_COUNT - 1);
    assert.equal(setting.clock.timerCount, 0);
    await setting.run(1);
    const audited = await setting.audited();
    assert.deepEqual([audited.job.draft, [...audited.job.pcm]], [[], [1, 2]]);
    audited.succeed(hypothesisOf('one two'));
    await settle();
    assert.deepEqual([setting.count('same'), setting.count('different')], [1, 0]);
  });

  it('[DRA2] other tokens are counted as a difference, a dead worker as no result', async () => {
    const setting = new Setting();
    await setting.run(DRAFT_AUDIT_EVERY_COUNT);
    (await setting.audited()).succeed(hypothesisOf('one three'));
    await setting.run(DRAFT_AUDIT_EVERY_COUNT);
    (await setting.audited()).fail('worker_died');
    await settle();
    assert.deepEqual([setting.count('same'), setting.count('different'), setting.count('failed')], [0, 1, 1]);
  });

  it('[DRA6] partials, which need not be exact, are not among them', async () => {
    const setting = new Setting();
    await setting.run(2 * DRAFT_AUDIT_EVERY_COUNT, [7], 1);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[DRA3] it waits until every slot is free', async () => {
    const setting = new Setting();
    await setting.run(DRAFT_AUDIT_EVERY_COUNT);
    const busy = setting.begin([]);
    await setting.clock.advance(10 * DRAFT_AUDIT_RETRY_MS);
    assert.equal(setting.pool.running.length, 1);
    setting.pool.first.succeed(hypothesisOf('busy'));
    await busy;
    assert.deepEqual((await setting.audited()).job.draft, []);
  });

  it('[DRA5] on accelerators nothing is made again', async () => {
    const setting = new Setting(false);
    await setting.run(3 * DRAFT_AUDIT_EVERY_COUNT);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[DRA4] closing leaves nothing behind', async () => {
    const setting = new Setting();
    await setting.run(DRAFT_AUDIT_EVERY_COUNT);
    setting.audit.close();
    setting.audit.close();
    assert.equal(setting.clock.timerCount, 0);
  });
});
