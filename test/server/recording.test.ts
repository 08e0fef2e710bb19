import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AudioFormat } from '../../pipeline/audio.ts';
import { PACED_RETRY_MS, RECORDED_MAX_MS, RECORDED_PIECE_BYTES } from '../../pipeline/limits.ts';
import { hearRecording, type Recording } from '../../server/dialects/recording.ts';
import { ScriptedParts } from '../support/dialect_setting.ts';
import { settle } from '../support/fake_clock.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const PCM: AudioFormat = { encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 };
const ENDPOINTING = { silenceMs: 500, maxUtteranceMs: 20_000 };

function hear(parts: ScriptedParts, bytes: Uint8Array, given: Partial<Recording> = {}) {
  const { signal: ended } = new AbortController();
  return hearRecording(
    { dialect: 'openai', bytes, ended, format: PCM, endpointing: ENDPOINTING, words: true, ...given },
    parts,
  );
}

describe('recorded files', () => {
  it('[BODY1] a file is given to its session as fast as that takes it, and no faster', async () => {
    const parts = new ScriptedParts();
    const heard = hear(parts, new Uint8Array(2 * RECORDED_PIECE_BYTES + 2));
    const { track, clock } = parts;
    assert.equal(track.inputs.length, 4);
    track.inputs.length = 0;
    const slow = new ScriptedParts();
    slow.track.isBehind = true;
    const waiting = hear(slow, new Uint8Array(RECORDED_PIECE_BYTES));
    await slow.clock.advance(1_000);
    assert.equal(slow.track.inputs.length, 0);
    slow.track.isBehind = false;
    await slow.clock.advance(PACED_RETRY_MS);
    assert.deepEqual(
      slow.track.inputs.map(({ type }) => type),
      ['audio', 'flush'],
    );
    slow.track.answerFlushes();
    assert.deepEqual((await waiting).finals, []);
    track.start();
    track.speak(1_000);
    track.end(1_000, 0, 'flush');
    track.emit({ type: 'flushed', id: 'stop', atSamples: 16_000 });
    parts.pool.first.succeed(hypothesisOf('hello'));
    const { durationMs, finals } = await heard;
    assert.deepEqual([durationMs, finals.map(({ text }) => text)], [1_000, ['hello']]);
    assert.equal(clock.timerCount, 0);
    assert.equal(parts.registry.count, 0);
  });

  it('[BODY2] while finals are owed no more is taken, so that live sessions have their turn', async () => {
    const parts = new ScriptedParts();
    parts.track.isBehind = true;
    const heard = hear(parts, new Uint8Array(RECORDED_PIECE_BYTES));
    parts.track.utter();
    parts.track.utter();
    parts.track.isBehind = false;
    await parts.clock.advance(1_000);
    assert.equal(parts.track.inputs.length, 0);
    parts.pool.first.succeed(hypothesisOf('one'));
    await settle();
    await parts.clock.advance(PACED_RETRY_MS);
    assert.equal(parts.track.inputs.length, 2);
    parts.pool.first.succeed(hypothesisOf('two'));
    parts.track.answerFlushes();
    assert.equal((await heard).finals.length, 2);
  });

  it('[BODY3] a file that takes too long is given up, and its session with it', async () => {
    const parts = new ScriptedParts();
    const heard = hear(parts, new Uint8Array(2));
    const rejected = assert.rejects(heard, { code: 'message_too_large' });
    await parts.clock.advance(RECORDED_MAX_MS);
    await rejected;
    assert.equal(parts.registry.count, 0);
    assert.equal(parts.clock.timerCount, 0);
  });

  it('[BODY4] what is no file is refused, and a session that fails is the answer', async () => {
    const parts = new ScriptedParts();
    await assert.rejects(hear(parts, new Uint8Array(0)), { code: 'bad_settings' });
    await assert.rejects(hear(parts, new Uint8Array(2), { format: { ...PCM, encoding: 'opus' } }), {
      code: 'bad_settings',
    });
    const failing = hear(parts, new Uint8Array(2));
    parts.track.emit({ type: 'fault', code: 'unsupported_audio', count: 31 });
    await assert.rejects(failing, { code: 'unsupported_audio' });
    void parts.registry.drain();
    await assert.rejects(hear(parts, new Uint8Array(2)), { code: 'draining' });
    assert.equal(parts.clock.timerCount, 0);
  });

  it('[BODY6] a file whose client has left is heard no further, and its session is free at once', async () => {
    const parts = new ScriptedParts();
    const ending = new AbortController();
    const heard = hear(parts, new Uint8Array(2 * RECORDED_PIECE_BYTES), { ended: ending.signal });
    parts.track.utter();
    assert.equal(parts.registry.count, 1);
    ending.abort();
    assert.equal(parts.registry.count, 0);
    assert.equal(parts.telemetry.total('sessions_total', { dialect: 'openai', outcome: 'abandoned' }), 1);
    await assert.rejects(heard, { name: 'AbortError' });
    assert.equal(parts.clock.timerCount, 0);
    await assert.rejects(hear(parts, new Uint8Array(2), { ended: ending.signal }), { name: 'AbortError' });
    assert.equal(parts.registry.count, 0);
  });
});
