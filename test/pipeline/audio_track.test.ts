import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RunningTrack } from '../../pipeline/audio_track.ts';
import type { DecodedAudio, TrackEvent } from '../../pipeline/contracts.ts';
import { FAULT_WINDOW_COUNT, FAULT_WINDOW_MAX_COUNT } from '../../pipeline/limits.ts';
import { ENDPOINTING, FORMAT } from '../support/audio_world.ts';
import { scriptedParts } from '../support/scripted_audio.ts';

/** Runs messages through a track whose decoder says this of each; returns the faults, and the packets of each outcome. */
function hear(results: readonly DecodedAudio[]): { faults: string[]; packets: Record<string, number> } {
  const waiting = [...results];
  const faults: string[] = [];
  const packets: Record<string, number> = { decoded: 0, concealed: 0, ignored: 0 };
  const decoder = {
    decode: () => waiting.shift() ?? { pcm: new Int16Array(0) },
    snapshot: () => new Uint8Array(0),
    restore: () => undefined,
    close: () => undefined,
  };
  const track = new RunningTrack(
    { format: FORMAT, endpointing: ENDPOINTING, originSamples: 0 },
    { ...scriptedParts(), decoders: { create: () => decoder } },
    {
      output: {
        emit: (event: TrackEvent) => {
          if (event.type === 'fault') faults.push(event.reason ?? event.code);
        },
        decoded: (counts) => {
          for (const [outcome, count] of Object.entries(counts))
            packets[outcome] = (packets[outcome] ?? 0) + count;
        },
      },
    },
  );
  for (const index of results.keys()) track.enqueue(index + 1, { type: 'audio', bytes: Uint8Array.of(1) });
  track.nextFrame();
  return { faults, packets };
}

/** One message with so many good packets, then so many that were concealed. */
function message(goodCount: number, concealedCount = 0): DecodedAudio {
  const concealed = Array.from({ length: goodCount + concealedCount }, (_, i) => i >= goodCount);
  return { pcm: new Int16Array(0), concealed, ...(concealedCount > 0 && { fault: 'undecodable_packet' }) };
}

describe('audio track', () => {
  it('[CON13] packets are counted, not messages: a message without any is none, one with many is many', () => {
    assert.deepEqual(hear([message(0), message(0), message(5, 2), message(0), message(3)]), {
      faults: ['undecodable_packet'],
      packets: { decoded: 8, concealed: 2, ignored: 0 },
    });
    assert.deepEqual(hear([{ pcm: new Int16Array(0) }]).packets, { decoded: 1, concealed: 0, ignored: 0 });
  });

  it('[CON13] a burst is over after a hundred good packets, in however many messages', () => {
    const twice = [message(0, 1), message(FAULT_WINDOW_COUNT), message(0, 1)];
    assert.deepEqual(hear(twice).faults, ['undecodable_packet', 'undecodable_packet']);
    const once = [message(0, 1), message(FAULT_WINDOW_COUNT - 1), message(0, 1)];
    assert.deepEqual(hear(once).faults, ['undecodable_packet']);
  });

  it('[CON13] one damaged packet in each large message is not the end, thirty-one of a hundred packets are', () => {
    const fine = Array.from({ length: 200 }, () => message(49, 1));
    assert.deepEqual(hear(fine).faults, ['undecodable_packet']);
    const { faults } = hear([message(69, FAULT_WINDOW_MAX_COUNT), message(0, 1_000)]);
    assert.deepEqual(faults, ['undecodable_packet', 'mismatch']);
  });
});
