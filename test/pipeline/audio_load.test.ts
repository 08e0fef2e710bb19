import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AudioReply } from '../../pipeline/audio_messages.ts';
import { AudioWorker } from '../../pipeline/audio_worker.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { scriptedParts } from '../support/scripted_audio.ts';
import { SETTINGS } from '../support/session_setting.ts';

describe('load of an audio worker', () => {
  it('[LAD15] it is the processor time of the process since it was told last, not the time that others had', async () => {
    const clock = new FakeClock();
    let cpuMs = 1_000;
    const replies: AudioReply[] = [];
    const worker = new AudioWorker({
      parts: scriptedParts(),
      clock,
      cpuMs: () => cpuMs,
      reply: (message) => replies.push(message),
      onTrackFailed: (error) => {
        throw error;
      },
    });
    const settings = { format: SETTINGS.format, endpointing: SETTINGS.endpointing, originSamples: 0 };
    await worker.receive({ type: 'entries', entries: [{ type: 'open', track: 1, settings }] });
    for (const spentMs of [7, 11]) {
      cpuMs += spentMs;
      await clock.advance(500);
      const input = { type: 'audio', bytes: new Uint8Array(16) } as const;
      await worker.receive({ type: 'entries', entries: [{ type: 'input', track: 1, seq: spentMs, input }] });
    }
    assert.equal(
      replies.reduce((sum, { stats }) => sum + stats.busyMs, 0),
      18,
    );
  });
});
