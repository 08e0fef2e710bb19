import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HeardEvent } from '../../server/load/load_dialect.ts';
import { Latencies } from '../../server/load/latencies.ts';
import type { LoadPlan } from '../../server/load/load_plan.ts';
import { reportLoad, type LoadReport } from '../../server/load/load_report.ts';
import { renderReport } from '../../server/load/report_text.ts';
import { SessionHearing } from '../../server/load/session_hearing.ts';
import type { SessionRecord } from '../../server/load/session_record.ts';

const TEXTS = ['two green tigers', 'nine wooden ladders'] as const;
const PLAN: LoadPlan = {
  ...{
    url: 'ws://somebody:secret@127.0.0.1:1/?token=secret',
    dialect: 'native',
    encoding: 'opus',
    talkRatio: 0.5,
    seed: 1,
  },
  ...{ stages: [{ sessionCount: 2, rampMs: 0, holdMs: 10_000 }], retriesRefusals: false, processCount: 1 },
  credential: 'secret',
};

type Told = readonly [atMs: number, event: HeardEvent];

/** A session that says one sentence from 1,000 to 3,000 ms and hears this, at these times. */
function heard(text: string, told: readonly Told[], changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    ...{ index: 0, outcome: 'done', reason: '', openedAtMs: 0, endedAtMs: 10_000, openMs: 5 },
    sentences: [{ text, startAudioMs: 1_000, endAudioMs: 3_000 }],
    judgedAudioMs: Infinity,
    heard: told.map(([atMs, event]) => ({ atMs, event })),
    ...{ refusals: [], reconnectCount: 0 },
    ...changes,
  };
}

function report(...sessions: SessionRecord[]): LoadReport {
  const [lateness, partialGaps] = [Latencies.of([1, 2]).encode(), Latencies.of([3]).encode()];
  const record = { sessions, lateness, partialGaps, cpuMs: 100, elapsedMs: 10_000 };
  return reportLoad(PLAN, [record], { wasInterrupted: false });
}

function final(text: string, utteranceId = 1, startAudioMs = 900): HeardEvent {
  return { type: 'final', utteranceId, startAudioMs, endAudioMs: startAudioMs + 2_200, text };
}

const START: Told = [1_200, { type: 'speechStart', utteranceId: 1 }];
const PARTIAL: Told = [2_100, { type: 'partial', utteranceId: 1, startAudioMs: 900, endAudioMs: 2_000 }];
const END: Told = [3_500, { type: 'speechEnd', utteranceId: 1 }];
const GOOD: readonly Told[] = [START, PARTIAL, END, [3_600, final(TEXTS[0])]];

/** What is wrong with a session, beside one that is right. */
function faults(told: readonly Told[], changes: Partial<SessionRecord> = {}): object {
  const other = heard(TEXTS[1], [START, PARTIAL, END, [3_600, final(TEXTS[1])]]);
  const all = report(other, heard(TEXTS[0], told, changes)).faults;
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0));
}

describe('the report of a load', () => {
  it('[LOAD1] what was heard as it should be is no fault', () => {
    assert.deepEqual(faults(GOOD), {});
  });

  it('[LOAD2] lost, repeated, unordered, invented and unanswered utterances are counted', () => {
    const begun = [START, PARTIAL, END];
    assert.deepEqual(faults([...begun, [3_600, final('')]]), { lost: 1 });
    assert.deepEqual(faults(begun), { lost: 1, unanswered: 1 });
    assert.deepEqual(faults([...GOOD, [3_700, final('', 1)]]), { repeated: 1, disordered: 1 });
    assert.deepEqual(faults([...GOOD, [3_700, final(TEXTS[0], 2)]]), { repeated: 1 });
    assert.deepEqual(faults([...GOOD, [9_000, final('', 3)]]), { disordered: 1 });
    assert.deepEqual(faults([...GOOD, [9_000, final('thanks', 2, 7_000)]]), { invented: 1 });
  });

  it('[LOAD16] what was cut off by the end of the load is no fault; what a failed session was owed is', () => {
    const cut = { sentences: [], judgedAudioMs: 1_000, outcome: 'interrupted' } as const;
    assert.deepEqual(faults(GOOD, cut), {});
    assert.deepEqual(faults([START, PARTIAL], { outcome: 'failed', reason: 'closed with 1006' }), {
      lost: 1,
    });
  });

  it("[LOAD3] another session's words are told from words misheard", () => {
    const hear = (text: string): object => faults([START, PARTIAL, END, [3_600, final(text)]]);
    assert.deepEqual(hear('nine wooden letters'), { crossed: 1 });
    assert.deepEqual(hear('too keen triggers'), {});
    // What a session says elsewhere itself is nobody else's.
    const sentences = TEXTS.map((text, i) => ({ text, startAudioMs: 1_000, endAudioMs: 3_000 + i }));
    assert.deepEqual(report(heard('', GOOD, { sentences })).faults.crossed, 0);
    assert.deepEqual(report(heard('', GOOD, { sentences }), heard(TEXTS[0], GOOD)).faults.crossed, 1);
  });

  it('[LOAD35] a session that ends when another is opened is not open with it', () => {
    const peakOf = (...spans: (readonly [openedAtMs: number | undefined, endedAtMs: number])[]): number =>
      report(...spans.map(([openedAtMs, endedAtMs]) => heard(TEXTS[0], [], { openedAtMs, endedAtMs })))
        .sessions.peak;
    assert.equal(peakOf([0, 10], [10, 20], [5, 5], [undefined, 7]), 1);
    assert.equal(peakOf([15, 30], [0, 20], [15, 40], [20, 25]), 3);
  });

  it('[LOAD4] every latency counts from when it was due: partials, end decided, last sound', () => {
    const { latencyMs, wordErrorRate } = report(heard(TEXTS[0], GOOD));
    assert.equal(latencyMs.partialGap.max, 3);
    assert.equal(latencyMs.firstPartial.max, 1_100);
    assert.equal(latencyMs.final.max, 100);
    assert.equal(latencyMs.trueEnd.max, 600);
    assert.equal(latencyMs.open.max, 5);
    assert.equal(wordErrorRate, 0);
    // A session that was opened late speaks late: that is not held against the server.
    const late = report(heard(TEXTS[0], GOOD, { openedAtMs: 400 }));
    assert.equal(late.latencyMs.trueEnd.max, 200);
  });

  it('[LOAD32] of hours of partials the first of each utterance is kept, and the gaps until the last sound', () => {
    const gaps = new Latencies();
    const sentences = [1_000, 10_000].map((startAudioMs) => ({
      ...{ text: TEXTS[0], startAudioMs },
      endAudioMs: startAudioMs + 2_000,
    }));
    const hearing = new SessionHearing(sentences, gaps);
    const partial = (utteranceId: number): HeardEvent => ({
      ...{ type: 'partial', utteranceId, startAudioMs: 900, endAudioMs: 2_000 },
    });
    const late: Told[] = [3_050, 3_100].map((atMs) => [atMs, partial(1)]);
    const told: Told[] = [START, PARTIAL, [2_800, partial(1)], ...late, END, [3_600, final(TEXTS[0])]];
    // A sentence with a pause in it is two utterances; what turns out to be no speech has no gaps.
    told.push([5_000, partial(2)], [6_000, partial(2)], [6_500, final('', 2)]);
    told.push([10_500, partial(3)], [10_900, partial(3)], [11_000, final('two', 3, 8_800)]);
    told.push([11_600, partial(4)], [11_700, partial(4)], [13_000, final('green tigers', 4, 10_800)]);
    for (const [atMs, event] of told) hearing.note({ event, atMs }, 0);
    hearing.end(20_000, 0);
    const kept = hearing.heard.flatMap(({ event, atMs }) => (event.type === 'partial' ? atMs : []));
    assert.deepEqual(kept, [2_100, 5_000, 10_500, 11_600]);
    assert.equal(hearing.heard.filter(({ event }) => event.type === 'final').length, 4);
    // 900 700 200, 400 700 100 300
    const { count, max, p50 } = gaps.quantiles();
    assert.deepEqual([count, max, Math.round(p50)], [7, 900, 400]);
  });

  it('[LOAD5] quantiles are durations that occurred, to a thousandth, also of joined processes', () => {
    const values = Array.from({ length: 200 }, (_, i) => 200 - i);
    assert.deepEqual(Latencies.of(values).quantiles(), {
      count: 200,
      p50: 100,
      p95: 190,
      p99: 198,
      max: 200,
    });
    assert.deepEqual(Latencies.of([]).quantiles(), { count: 0, p50: NaN, p95: NaN, p99: NaN, max: NaN });
    const joined = Latencies.decode(Latencies.of(values.slice(0, 100)).encode());
    joined.add(Latencies.decode(Latencies.of(values.slice(100)).encode()));
    assert.deepEqual(joined.quantiles(), Latencies.of(values).quantiles());
    for (const ms of [0.1, 3.7, 199.9, 1_234.5, 98_765.4]) {
      const { p50, max } = Latencies.of([ms, ms]).quantiles();
      assert.ok(Math.abs(p50 - ms) <= ms / 1_000 && Math.abs(max - ms) <= ms / 1_000, `${ms}: ${p50} ${max}`);
    }
  });

  it('[LOAD29] notices are counted by their code', () => {
    const suspended: Told = [2_000, { type: 'notice', code: 'partials_suspended' }];
    const told = report(heard(TEXTS[0], [...GOOD, suspended]), heard(TEXTS[1], [suspended]));
    assert.deepEqual(told.notices, { partials_suspended: 2 });
    assert.match(renderReport(told), /^2 notices: partials_suspended$/m);
  });

  it('[LOAD17] a report holds no credential, and shows in words what was not measured', () => {
    assert.doesNotMatch(JSON.stringify(report()), /secret/);
    assert.match(renderReport(report()), /last sound → final {2,}0 {2,}– /);
    assert.match(
      renderReport(report(heard(TEXTS[0], [], { outcome: 'failed', reason: 'HTTP 404' }))),
      /1 sessions failed: HTTP 404/,
    );
  });
});
