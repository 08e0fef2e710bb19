import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TRACE_AUDIO_GAP_MS, TRACE_MARKS_MAX_COUNT } from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { Session } from '../../pipeline/session.ts';
import { SessionTrace } from '../../pipeline/session_trace.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from '../support/scripted_pool.ts';
import { MESSAGE, ScriptedTrack, SETTINGS } from '../support/session_setting.ts';

/** A session with a trace that the test can look at. */
function tracedSession() {
  const [clock, telemetry, track, pool] = [
    new FakeClock(),
    new RecordingTelemetry(),
    new ScriptedTrack(),
    new ScriptedPool(1),
  ];
  const trace = new SessionTrace(clock);
  const onPartialsSuspended = (): void => undefined;
  const scheduler = new Scheduler({ pool, clock, telemetry, partialIntervalMs: 500, onPartialsSuspended });
  const session = new Session({
    ...{ id: 'session', settings: SETTINGS, audioPool: track, scheduler, clock, telemetry, trace },
    onEvent: () => undefined,
  });
  const kinds = (): readonly string[] => trace.marks().map(({ kind }) => kind);
  return { clock, telemetry, track, pool, trace, session, kinds };
}

void describe('session trace', () => {
  it('[TRA1] the steps of an utterance are marked in their order, each with its time', async () => {
    const { clock, track, pool, trace, session, kinds } = tracedSession();
    session.push(MESSAGE.slice());
    await clock.advance(100);
    track.utter();
    await clock.advance(40);
    pool.first.succeed(hypothesisOf('hello'));
    await settle();
    session.stop();
    assert.deepEqual(kinds(), [
      ...['opened', 'audio', 'speechStart', 'speechEnd', 'finalQueued', 'finalStarted', 'finalDone'],
      ...['finalSent', 'stopped'],
    ]);
    const sent = trace.marks().find(({ kind }) => kind === 'finalSent');
    assert.deepEqual(sent, { kind: 'finalSent', atMs: 140, utteranceId: 1, valueMs: 40 });
  });

  it('[TRA1] partials and early finals are marked as such', async () => {
    const { clock, track, pool, session, kinds } = tracedSession();
    session.push(MESSAGE.slice());
    track.start();
    track.speak(1_000);
    await clock.advance(600);
    pool.first.succeed(hypothesisOf('hello'));
    await settle();
    track.speak(500, 200);
    await settle();
    pool.first.succeed(hypothesisOf('hello there'));
    await settle();
    track.end(1_000, 200);
    assert.deepEqual(kinds().slice(3), [
      ...['partialStarted', 'partialDone', 'partialSent'],
      ...['pause', 'earlyStarted', 'partialDone', 'partialSent', 'speechEnd', 'finalDone', 'finalSent'],
    ]);
  });

  it('[TRA2] audio is a moment of its own only after a gap', async () => {
    const { clock, session, trace } = tracedSession();
    for (let i = 0; i < 50; i++) {
      session.push(MESSAGE.slice());
      await clock.advance(20);
    }
    await clock.advance(TRACE_AUDIO_GAP_MS);
    session.push(MESSAGE.slice());
    const audio = trace.marks().filter(({ kind }) => kind === 'audio');
    assert.deepEqual(
      audio.map(({ atMs, valueMs }) => [atMs, valueMs]),
      [
        [0, 0],
        [2_000, 1_020],
      ],
    );
  });

  it('[TRA3] a trace keeps its latest marks and says how many it forgot', () => {
    const trace = new SessionTrace(new FakeClock());
    for (let i = 1; i <= TRACE_MARKS_MAX_COUNT + 9; i++) trace.mark('notice', i);
    const marks = trace.marks();
    assert.equal(marks.length, TRACE_MARKS_MAX_COUNT);
    assert.equal(trace.forgottenCount, 10);
    assert.deepEqual(
      marks.map(({ utteranceId }) => utteranceId),
      Array.from({ length: TRACE_MARKS_MAX_COUNT }, (_, i) => i + 10),
    );
  });

  it('[MET11] what a final and its drafts cost, and what ended the utterance, is told apart', async () => {
    const { clock, telemetry, track, pool } = tracedSession();
    track.utter();
    await clock.advance(40);
    const costs = { encodeMs: 30, decodeMs: 10, reusedMs: 200, decoderSteps: 4, draftAcceptedTokens: 0 };
    const audioSeconds = pool.first.job.pcm.length / 16_000;
    pool.first.succeed({ ...hypothesisOf('hello'), ...costs });
    await settle();
    assert.equal(telemetry.total('model_seconds_total', { phase: 'encode' }), 0.03);
    assert.equal(telemetry.total('decoder_steps_total', {}), 4);
    assert.equal(telemetry.total('encoder_audio_seconds_total', { outcome: 'reused' }), 0.2);
    assert.equal(telemetry.total('encoder_audio_seconds_total', { outcome: 'encoded' }), audioSeconds - 0.2);
    assert.equal(telemetry.total('utterance_ends_total', { reason: 'silence' }), 1);
    assert.deepEqual(telemetry.values('final_latency_seconds', {}), [0.04]);
    // The silence of half a second that ended it comes on top.
    assert.deepEqual(telemetry.values('speech_final_latency_seconds', {}), [0.54]);
  });
});
