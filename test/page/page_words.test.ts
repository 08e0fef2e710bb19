import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_PREFERENCES, parsePreferences } from '../../client/page/preferences.ts';
import { captureTrouble, sessionTrouble, statusOf } from '../../client/page/status.ts';

describe('the words of the page', () => {
  it('[PAGE4] a lost connection is told calmly, with its reason and what becomes of the words', () => {
    const texts = (['unknown', 'reachable', 'busy', 'unreachable'] as const).map((reach) => {
      const { tone, text, detail } = statusOf({ type: 'reconnecting', reach });
      assert.equal(tone, 'waiting');
      assert.match(detail ?? '', /What you say is kept/);
      return text;
    });
    assert.deepEqual(texts, ['Reconnecting', 'Reconnecting', 'Server busy', 'Offline']);
    assert.deepEqual(statusOf({ type: 'live' }), { tone: 'live', text: 'Listening' });
  });

  it('[PAGE4] every trouble says what to do', () => {
    assert.match(captureTrouble('permission_denied').advice, /Allow it/);
    assert.match(captureTrouble('insecure_page').advice, /https/);
    assert.match(sessionTrouble('unauthorized', 'reachable').title, /key/);
    assert.match(sessionTrouble('overloaded', 'busy').title, /no room/);
    assert.match(sessionTrouble('connection_lost', 'unreachable').title, /cannot be reached/);
    assert.match(sessionTrouble('internal', 'reachable').advice, /internal/);
  });
});

describe('preferences', () => {
  it('[PAGE5] are read as they were kept', () => {
    const kept = { ...DEFAULT_PREFERENCES, way: 'pcm', theme: 'dark', silenceMs: 900, shortcuts: false };
    assert.deepEqual(parsePreferences(JSON.stringify(kept)), kept);
    assert.deepEqual(parsePreferences(null), DEFAULT_PREFERENCES);
  });

  it('[PAGE5] what is not valid is as if it was never chosen', () => {
    for (const text of [
      '',
      'null',
      '[]',
      '7',
      '{',
      '{"way":"tape","theme":1,"silenceMs":99,"shortcuts":"no"}',
    ]) {
      assert.deepEqual(parsePreferences(text), DEFAULT_PREFERENCES, text);
    }
  });
});
