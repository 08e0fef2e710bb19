import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { audioDurationMs } from '../../client/audio_duration.ts';
import { samplesToMs } from '../../pipeline/audio.ts';
import { readOpusPacket } from '../../pipeline/codecs/opus_packet.ts';

describe('the duration of a message', () => {
  it('[DUR1] of PCM follows from its length', () => {
    const bytes = new Uint8Array(9_600);
    assert.equal(audioDurationMs({ encoding: 'pcm_s16le' }, bytes), 300);
    const audio = { encoding: 'pcm_s16le', sampleRateHz: 48_000, channels: 2 } as const;
    assert.equal(audioDurationMs(audio, bytes), 50);
    assert.equal(audioDurationMs({ encoding: 'pcm_f32le' }, bytes), 150);
    assert.equal(audioDurationMs({ encoding: 'mulaw', sampleRateHz: 8_000 }, bytes), 1_200);
    assert.equal(audioDurationMs({ encoding: 'alaw', sampleRateHz: 8_000, channels: 2 }, bytes), 600);
  });

  it('[DUR2] of an Opus packet is what the server reads in it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 12 }), (bytes) => {
        const packet = readOpusPacket(bytes);
        if (packet === undefined) return;
        assert.equal(audioDurationMs({ encoding: 'opus' }, bytes), samplesToMs(packet.durationSamples));
      }),
      { numRuns: 2_000 },
    );
  });
});
