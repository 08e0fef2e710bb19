import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { Session } from '../../pipeline/session.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import { FakeClock } from '../support/fake_clock.ts';
import { LocalAudioPool, LocalInferencePool } from '../support/local_pools.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { concat, hum, silence, whiteNoise } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';

const TEN_MINUTES_MS = 600_000;
/** A stretch that is encoded by itself; the streams of packets follow each other without a gap. */
const STRETCH_MS = 10_000;

void describe('ten minutes without a word, through Opus, voice activity and the model', () => {
  let audioPool: LocalAudioPool;
  let inferencePool: LocalInferencePool;
  before(async () => {
    audioPool = await LocalAudioPool.load();
    inferencePool = await LocalInferencePool.load();
  });
  after(async () => {
    await inferencePool.close();
  });

  /** Plays stretches for ten minutes, on a clock that runs as fast as the machine. */
  async function play(packetsOf: (seed: number) => readonly Uint8Array[]): Promise<SessionEvent[]> {
    const events: SessionEvent[] = [];
    const clock = new FakeClock();
    const telemetry = new RecordingTelemetry();
    const scheduler = new Scheduler({
      pool: inferencePool,
      clock,
      telemetry,
      partialIntervalMs: 500,
      onPartialsSuspended: () => undefined,
    });
    const ended = new Promise<void>((resolve) => {
      const session = new Session({
        id: 'quiet',
        settings: {
          format: { encoding: 'opus', sampleRateHz: 16_000, channels: 1 },
          endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
          partials: true,
          words: false,
          originAudioMs: 0,
          firstUtteranceId: 1,
          idleMaxMs: 10_000,
          dialect: 'native',
          finalObjectiveMs: 500,
          isPaced: false,
        },
        audioPool,
        scheduler,
        clock,
        telemetry,
        onEvent: (event) => {
          events.push(event);
          if (event.type === 'done' || event.type === 'failed') resolve();
        },
      });
      void (async () => {
        for (let playedMs = 0; playedMs < TEN_MINUTES_MS; playedMs += STRETCH_MS) {
          for (const packet of packetsOf(playedMs)) session.push(packet);
          await audioPool.settled;
          await clock.advance(STRETCH_MS);
          session.keepAlive();
        }
        session.stop();
      })();
    });
    await ended;
    return events;
  }

  /** The same stretch again and again. */
  function repeated(stretch: Int16Array): () => readonly Uint8Array[] {
    const packets = encodeOpus(stretch);
    return () => packets;
  }

  const quiet: readonly (readonly [name: string, packetsOf: (seed: number) => readonly Uint8Array[]])[] = [
    ['silence', repeated(silence(STRETCH_MS))],
    [
      'white noise at -30 dBFS',
      (seed) => encodeOpus(whiteNoise({ durationMs: STRETCH_MS, dbfs: -30, seed })),
    ],
    ['a 50 Hz hum', repeated(hum({ durationMs: STRETCH_MS, dbfs: -30 }))],
  ];
  for (const [name, packetsOf] of quiet) {
    it(`[QUIET1] ${name}: zero words`, async () => {
      const events = await play(packetsOf);
      const texts = events.flatMap((event) =>
        event.type === 'final' || event.type === 'partial' ? [event.text] : [],
      );
      assert.deepEqual(
        texts.filter((text) => text !== ''),
        [],
      );
      assert.equal(events.at(-1)?.type, 'done');
    });
  }

  it('[QUIET2] the same path does hear a word', async () => {
    const word = await synthesise('good morning', { voice: 'rms' });
    const events = await play(repeated(concat(word, silence(STRETCH_MS - word.length / 16))));
    const finals = events.filter((event) => event.type === 'final');
    assert.ok(finals.length >= 55, `${finals.length} of 60`);
  });
});
