import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServerMessage } from '../../client/protocol.ts';
import { finalOf } from '../support/scripted_socket.ts';
import { quantiles, reportLoad, violations } from './load_report.ts';
import type { HeardSession } from './load_session.ts';

const TEXTS = ['two green tigers', 'nine wooden ladders'] as const;

/** A session that says one sentence from 1,000 to 3,000 ms and hears these messages, at these times. */
function heard(text: string, ...messages: (readonly [atMs: number, message: ServerMessage])[]): HeardSession {
  return {
    script: { sentences: [{ text, startAudioMs: 1_000, endAudioMs: 3_000 }], packets: [] },
    received: messages.map(([atMs, message]) => ({ atMs, message })),
    lateMs: [0],
    timeOf: (audioMs) => audioMs,
  };
}

function final(text: string, utteranceId = 1, startAudioMs = 900): ServerMessage {
  return { ...finalOf(utteranceId, startAudioMs + 2_200, text), startAudioMs };
}

function partial(revision: number): ServerMessage {
  const span = { startAudioMs: 900, endAudioMs: 2_000 };
  return { type: 'partial', utteranceId: 1, revision, text: 'two', stableLength: 0, ...span };
}

const START: ServerMessage = { type: 'speechStart', utteranceId: 1, audioMs: 900 };
const END: ServerMessage = { type: 'speechEnd', utteranceId: 1, audioMs: 3_100 };
const GOOD = [
  [1_200, START],
  [2_100, partial(1)],
  [3_500, END],
  [3_600, final(TEXTS[0])],
] as const;

function faults(session: HeardSession): string[] {
  const other = heard(TEXTS[1], [1_200, START], [2_100, partial(1)], [3_500, END], [3_600, final(TEXTS[1])]);
  return violations(reportLoad([other, session], []));
}

describe('the report of a load', () => {
  it('[LOAD1] what was heard as it should be is no violation', () => {
    assert.deepEqual(faults(heard(TEXTS[0], ...GOOD)), []);
    assert.deepEqual(violations(reportLoad([], ['closed'])), ['1 sessions that failed']);
  });

  it('[LOAD2] lost, repeated, unordered, invented and unanswered utterances are counted', () => {
    const [start, one, end] = GOOD;
    assert.deepEqual(faults(heard(TEXTS[0], start, one, end, [3_600, final('')])), ['1 utterances lost']);
    assert.deepEqual(faults(heard(TEXTS[0], start, one, end)), [
      ...['1 utterances lost', '1 utterances without final'],
    ]);
    assert.deepEqual(faults(heard(TEXTS[0], ...GOOD, [3_700, final('', 1)])), [
      ...['1 finals repeated', '1 finals out of order'],
    ]);
    assert.deepEqual(faults(heard(TEXTS[0], ...GOOD, [9_000, final('', 3)])), ['1 finals out of order']);
    assert.deepEqual(faults(heard(TEXTS[0], ...GOOD, [9_000, final('thanks', 2, 7_000)])), [
      '1 texts where nobody spoke',
    ]);
  });

  it("[LOAD3] another session's words are told from words misheard", () => {
    const [start, one, end] = GOOD;
    const hear = (text: string): string[] => faults(heard(TEXTS[0], start, one, end, [3_600, final(text)]));
    assert.deepEqual(hear('nine wooden letters'), ['1 texts of another session']);
    assert.deepEqual(hear('too keen triggers'), []);
  });

  it('[LOAD4] a gap between partials counts until the speech ends, and latency from there', () => {
    const [start, one, end, last] = GOOD;
    assert.deepEqual(faults(heard(TEXTS[0], start, [2_201, partial(1)], end, last)), [
      '1 gaps between partials above 1000 ms',
    ]);
    assert.deepEqual(faults(heard(TEXTS[0], start, end, last)), ['1 gaps between partials above 1000 ms']);
    const report = reportLoad([heard(TEXTS[0], start, one, end, last)], []);
    assert.deepEqual(report.partialGapMs, { count: 2, p50: 900, p95: 900, p99: 900, max: 900 });
    assert.equal(report.finalAfterSpeechEndMs.max, 100);
    assert.equal(report.finalAfterTrueEndMs.max, 600);
    assert.equal(report.wordErrorRate, 0);
  });

  it('[LOAD5] quantiles are values that occurred, never between two', () => {
    const values = Array.from({ length: 200 }, (_, i) => 200 - i);
    assert.deepEqual(quantiles(values), { count: 200, p50: 100, p95: 190, p99: 198, max: 200 });
    assert.deepEqual(quantiles([]), { count: 0, p50: NaN, p95: NaN, p99: NaN, max: NaN });
  });
});
