import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { missed, parseAssertions } from '../../server/load/assertions.ts';
import { capacityOf, nextTrial, type Trial } from '../../server/load/capacity_search.ts';
import { sessionSlots, type LoadPlan } from '../../server/load/load_plan.ts';
import { reportLoad } from '../../server/load/load_report.ts';
import { Latencies } from '../../server/load/latencies.ts';
import { renderHtml } from '../../server/load/report_html.ts';
import { distinctSentences } from '../../server/load/sentences.ts';
import { SessionScript } from '../../server/load/session_script.ts';
import type { SpeechMaterial } from '../../server/load/speech_material.ts';
import { LOAD_SESSIONS_MAX_COUNT, LOAD_TRIALS_MAX_COUNT } from '../../pipeline/limits.ts';

const PLAN: LoadPlan = {
  ...{ url: 'ws://user:pass@127.0.0.1:1/?token=hidden', dialect: 'native', encoding: 'opus', talkRatio: 0.5 },
  ...{ stages: [{ sessionCount: 1, rampMs: 0, holdMs: 10_000 }], retriesRefusals: false, processCount: 1 },
  seed: 1,
};

function emptyReport(): ReturnType<typeof reportLoad> {
  const none = new Latencies().encode();
  const record = { sessions: [], lateness: none, partialGaps: none, cpuMs: 0, elapsedMs: 10_000 };
  return reportLoad(PLAN, [record], { wasInterrupted: false });
}

describe('what a load is made of', () => {
  it('[LOAD18] a ramp spreads its sessions; those that began last end first', () => {
    const slots = sessionSlots([
      { sessionCount: 2, rampMs: 100, holdMs: 900 },
      { sessionCount: 1, rampMs: 0, holdMs: 1_000 },
      { sessionCount: 2, rampMs: 0, holdMs: 1_000 },
    ]);
    assert.deepEqual(slots, [
      { index: 0, beginAtMs: 0, endAtMs: 3_000 },
      { index: 1, beginAtMs: 50, endAtMs: 1_000 },
      { index: 2, beginAtMs: 2_000, endAtMs: 3_000 },
    ]);
  });

  it('[LOAD19] a session says the same in any process, its share of the time, and not what its neighbours say', () => {
    const messages = Array.from({ length: 100 }, (_, i) => Uint8Array.of(i + 1));
    const material: SpeechMaterial = {
      sentences: distinctSentences(40, 1).map((text) => ({ text, audibleMs: 2_000, messages })),
      quiet: [Uint8Array.of(0)],
    };
    const scripts = Array.from({ length: 20 }, (_, index) => {
      const options = { material, seed: 1, index, sessionCount: 20, durationMs: 600_000, talkRatio: 0.2 };
      assert.deepEqual(new SessionScript(options).sentences, new SessionScript(options).sentences);
      return new SessionScript(options);
    });
    for (const script of scripts) {
      const speaking = Array.from({ length: script.messageCount }, (_, n) => script.message(n)[0] !== 0);
      const share = speaking.filter(Boolean).length / script.messageCount;
      assert.ok(share > 0.16 && share < 0.24, `speaks ${share} of the time`);
      const first = script.sentences[0]?.startAudioMs ?? 0;
      assert.equal(script.message(first / 20)[0], 1);
      assert.equal(script.message(first / 20 - 1)[0], 0);
    }
    assert.equal(new Set(scripts.map(({ sentences }) => sentences[0]?.text)).size, 20);
    const starts = scripts.map(({ sentences }) => sentences[0]?.startAudioMs ?? 0);
    assert.ok(Math.max(...starts) - Math.min(...starts) > 8_000, 'all speak at once');
  });

  it('[LOAD20] assertions: what is missed is told with its value; what was not measured is missed', () => {
    const report = emptyReport();
    const texts = (list: string): string[] => missed(report, parseAssertions(list)).map(({ text }) => text);
    assert.deepEqual(texts('refused=0, failed<=0,sessions<1'), []);
    // A server that let nobody in has lost nothing, and is not to be released for it.
    for (const fault of ['lost', 'unanswered', 'repeated', 'disordered', 'crossed', 'invented'])
      assert.match(texts(`${fault}=0`).join(), /=0, but it is not measured/, fault);
    const silent = { ...report, faults: { ...report.faults, lost: 3 } };
    assert.equal(missed(silent, parseAssertions('lost=0'))[0]?.text, 'lost=0, but it is 3');
    assert.deepEqual(missed({ ...report, finals: 1 }, parseAssertions('lost=0,crossed=0')), []);
    assert.deepEqual(texts('finals>0'), ['finals>0, but it is 0']);
    assert.match(texts('final_p95<500ms').join(), /^final_p95<500ms, but it is not measured/);
    const measured = { ...report, wordErrorRate: 0.125 };
    const [miss] = missed(measured, parseAssertions('wer<=10%'));
    assert.equal(miss?.text, 'wer<=10%, but it is 12.5%');
    assert.deepEqual(missed(measured, parseAssertions('wer<0.2,')), []);
  });

  it('[LOAD21] a wrong assertion is wrong usage, and what is known is told', () => {
    for (const [text, rule] of [
      ['final_p95', /expected a name, one of < <= > >= =, and a number/],
      ['final_p95<500', /final_p95 is a time such as 500ms/],
      ['lost=0ms', /lost is a count/],
      ['finl_p95<1s', /did you mean final_p95\?/],
      ['colour=3', /known are open_p50/],
      ['lost==0', /expected a name/],
    ] as const) {
      assert.throws(() => parseAssertions(text), rule, text);
    }
  });

  it('[LOAD22] the search finds the capacity within a twentieth, in bounded trials', () => {
    for (const first of [1, 10, 500]) {
      for (const capacity of [0, 1, 7, 8, 137, 200, 4_999, LOAD_SESSIONS_MAX_COUNT]) {
        const trials: Trial[] = [];
        for (;;) {
          const sessionCount = nextTrial(trials, first);
          if (sessionCount === undefined) break;
          assert.ok(!trials.some((trial) => trial.sessionCount === sessionCount), 'tried twice');
          assert.ok(sessionCount >= 1 && sessionCount <= LOAD_SESSIONS_MAX_COUNT, String(sessionCount));
          trials.push({ sessionCount, isBorne: sessionCount <= capacity });
          assert.ok(trials.length <= LOAD_TRIALS_MAX_COUNT);
        }
        const found = capacityOf(trials);
        assert.ok(
          found <= capacity && capacity - found <= Math.max(1, 0.06 * capacity),
          `${found} of ${capacity}`,
        );
      }
    }
  });

  it('[LOAD23] the page needs nothing from anywhere, and nothing that came from outside is markup in it', () => {
    const report = { ...emptyReport(), failures: { '<script>alert(1)</script>': 3 } };
    const assertions = parseAssertions('finals>0');
    const page = renderHtml(report, {
      now: new Date(0),
      asserted: assertions.map(({ text }) => text),
      missed: missed(report, assertions),
    });
    assert.match(page, /1 of 1 assertions missed/);
    assert.match(page, /finals&gt;0, but it is 0/);
    assert.doesNotMatch(page, /<script|https?:\/\/|url\(|@import|<link|src=/);
    assert.doesNotMatch(page, /hidden|pass@/);
    assert.match(page, /<svg [^]*<\/svg>/);
    assert.doesNotMatch(page, /NaN|Infinity|undefined/);
  });
});
