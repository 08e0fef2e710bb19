import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AudioReply, AudioRequest } from '../../pipeline/audio_messages.ts';
import { WorkerAudioPool, type AudioTrack } from '../../pipeline/audio_pool.ts';
import type { AudioDecoderFactory, TrackEvent } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { FakeLauncher } from '../support/fake_worker.ts';
import { breakOpusSnapshot, encodeStream } from '../support/opus_material.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { actAudioWorker } from '../support/scripted_audio.ts';

const SETTINGS = {
  format: { encoding: 'opus', sampleRateHz: 48_000, channels: 1 },
  endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
  originSamples: 0,
} as const;
const PACKETS = encodeStream({
  ...{ kind: 'tone', frames: 20, sampleRateHz: 48_000, application: 'restricted_lowdelay' },
  ...{ bitrate: 48_000, frameMs: 20 },
});

/** The first decoder traps at its first packet. */
function withBrokenFirst(decoders: AudioDecoderFactory): AudioDecoderFactory {
  let count = 0;
  return {
    create: (format) => {
      const decoder = decoders.create(format);
      if (count++ === 0) decoder.restore(breakOpusSnapshot(decoder.snapshot()));
      return decoder;
    },
  };
}

describe('a trap of the codec', () => {
  it('[OPUS26] R-18 is counted once; both sessions are told once and go on', async () => {
    const clock = new FakeClock();
    const launcher = new FakeLauncher<AudioRequest, AudioReply>();
    const telemetry = new RecordingTelemetry();
    let noteTrap: (() => void) | undefined;
    const decoders = withBrokenFirst(await loadDecoderFactory({ onOpusRebuilt: () => noteTrap?.() }));
    launcher.onLaunch = (process) => {
      const worker = actAudioWorker(process, { clock, decoders });
      noteTrap = () => {
        worker.noteOpusTrap();
      };
    };
    const pool = new WorkerAudioPool({
      ...{ launch: launcher.launch, clock, random: () => 0.5, telemetry, workerCount: 1, spareCount: 0 },
      ...{ rssMaxBytes: 1_000, onChange: () => undefined, onDeath: () => assert.fail('no worker died') },
    });
    pool.start();
    await settle();
    const heard: TrackEvent[][] = [[], []];
    const tracks = heard.map((events): AudioTrack => pool.open(SETTINGS, (event) => events.push(event)));
    for (const packet of PACKETS) {
      for (const track of tracks) assert.equal(track.push({ type: 'audio', bytes: packet }), 'accepted');
      await clock.advance(20);
    }
    await clock.advance(100);
    assert.equal(telemetry.total('opus_traps_total', {}), 1);
    for (const events of heard) assert.equal(events.filter(({ type }) => type === 'fault').length, 1);
    assert.equal(telemetry.total('packets_total', { outcome: 'concealed' }), 2);
    assert.equal(telemetry.total('packets_total', { outcome: 'decoded' }), 2 * PACKETS.length - 2);
    const closed = pool.close();
    await clock.advance(10_000);
    await closed;
  });
});
