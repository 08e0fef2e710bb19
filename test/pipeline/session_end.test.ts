import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { msToSamples, type AudioEncoding } from '../../pipeline/audio.ts';
import {
  AHEAD_OF_REALTIME_CLOSE_MS,
  AHEAD_OF_REALTIME_MAX_MS,
  AUDIO_STOPPED_GRACE_MS,
  CONTAINER_SLICE_MAX_MS,
  DRAIN_SPEECH_MAX_MS,
  IDLE_MAX_MS,
  SESSION_MAX_MS,
  SESSION_STOP_MAX_MS,
} from '../../pipeline/limits.ts';
import type { Refusal } from '../../pipeline/refusal.ts';
import type { Session } from '../../pipeline/session.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';
import { settle } from '../support/fake_clock.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';
import { MESSAGE, SETTINGS, SessionSetting } from '../support/session_setting.ts';

describe('session: the clock', () => {
  it('[SES30] when audio stops coming, the utterance in progress is ended by the clock, once', async () => {
    const setting = new SessionSetting();
    setting.session.push(MESSAGE);
    const stoppedAfterMs = SETTINGS.endpointing.silenceMs + AUDIO_STOPPED_GRACE_MS;
    await setting.clock.advance(stoppedAfterMs);
    setting.session.tick();
    assert.equal(setting.track.inputs.length, 1);
    await setting.clock.advance(1);
    for (let i = 0; i < 3; i++) setting.session.tick();
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['audio', 'audioStopped'],
    );
    setting.session.push(MESSAGE);
    await setting.clock.advance(stoppedAfterMs + 1);
    setting.session.tick();
    assert.equal(setting.track.inputs.filter(({ type }) => type === 'audioStopped').length, 2);
  });

  it('[CON14] a recorder sends slices: audio has not stopped before the next one could be full', async () => {
    const format = { ...SETTINGS.format, encoding: 'auto' } as const;
    const setting = new SessionSetting({ format });
    for (let slice = 0; slice < 5; slice++) {
      setting.session.push(MESSAGE);
      await setting.clock.advance(1_400);
      setting.session.tick();
    }
    assert(setting.track.inputs.every(({ type }) => type === 'audio'));
    await setting.clock.advance(
      SETTINGS.endpointing.silenceMs + AUDIO_STOPPED_GRACE_MS + CONTAINER_SLICE_MAX_MS,
    );
    setting.session.tick();
    assert.equal(setting.track.inputs.at(-1)?.type, 'audioStopped');
  });

  it('[SES31] without audio or keepAlive the session is closed as idle; keepAlive and empty messages prevent it', async () => {
    for (const stayAlive of [
      (session: Session): void => {
        session.keepAlive();
      },
      (session: Session): void => {
        session.push(new Uint8Array(0));
      },
    ]) {
      const setting = new SessionSetting();
      await setting.clock.advance(IDLE_MAX_MS);
      stayAlive(setting.session);
      await setting.clock.advance(IDLE_MAX_MS);
      setting.session.tick();
      assert.equal(setting.failure, undefined);
      await setting.clock.advance(1);
      setting.session.tick();
      assert.equal(setting.failure, 'idle_timeout');
    }
  });

  it('[SES32] an empty message is no audio: it is not kept, and does not hold an utterance open', async () => {
    const setting = new SessionSetting();
    setting.session.push(MESSAGE);
    await setting.clock.advance(SETTINGS.endpointing.silenceMs + AUDIO_STOPPED_GRACE_MS + 1);
    setting.session.push(new Uint8Array(0));
    setting.session.tick();
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['audio', 'audioStopped'],
    );
    assert.equal(setting.telemetry.total('packets_total', { outcome: 'ignored' }), 1);
  });

  it('[SES33] a session that has lasted as long as it may is drained, in mid-word too', async () => {
    const setting = new SessionSetting({ partials: false });
    setting.clock.stall(SESSION_MAX_MS - 1);
    setting.track.start();
    setting.track.speak(1_000);
    setting.session.keepAlive();
    setting.session.tick();
    assert.deepEqual(setting.of('goAway'), []);
    setting.clock.stall(1);
    setting.session.tick();
    setting.session.tick();
    assert.deepEqual(setting.of('goAway'), [
      { type: 'goAway', deadlineMs: DRAIN_SPEECH_MAX_MS, ackedAudioMs: 0, nextUtteranceId: 1 },
    ]);
    setting.track.end();
    setting.session.tick();
    setting.track.answerFlushes();
    await setting.succeed('the end');
    assert.deepEqual(setting.types, ['speechStart', 'goAway', 'speechEnd', 'final', 'done']);
  });

  it('[SES34] a stop that cannot be answered does not wait for ever', async () => {
    const setting = new SessionSetting({}, 0);
    setting.track.utter();
    setting.session.stop();
    await setting.clock.advance(SESSION_STOP_MAX_MS);
    setting.session.tick();
    assert.equal(setting.failure, undefined);
    await setting.clock.advance(1);
    setting.session.tick();
    assert.equal(setting.failure, 'unavailable');
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[SES35] time in which the server stood still is neither silence nor idleness, nor held against a stop', async () => {
    const setting = new SessionSetting({}, 0);
    setting.session.push(MESSAGE);
    const stall = (): void => {
      setting.clock.stall(SESSION_STOP_MAX_MS);
      setting.session.forgive(SESSION_STOP_MAX_MS);
      setting.session.tick();
    };
    stall();
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['audio'],
    );
    setting.track.utter();
    setting.session.stop();
    stall();
    stall();
    assert.equal(setting.failure, undefined);
    await settle();
  });

  it('[SES35] audio that waited while the server stood still is not ahead of anything', () => {
    const setting = new SessionSetting();
    const stalledMs = AHEAD_OF_REALTIME_MAX_MS + 10_000;
    setting.clock.stall(stalledMs);
    setting.session.forgive(stalledMs);
    for (let ms = 0; ms < stalledMs; ms += 20) setting.session.push(MESSAGE);
    assert.deepEqual(setting.events, []);
  });
});

describe('session: drain and end', () => {
  it('[SES40] drained in silence, a session says where to go on and stops at once', async () => {
    const setting = new SessionSetting();
    setting.track.utter();
    await setting.succeed('one');
    setting.session.drain();
    setting.session.drain();
    assert.deepEqual(setting.of('goAway'), [
      { type: 'goAway', deadlineMs: 0, ackedAudioMs: 1_000, nextUtteranceId: 2 },
    ]);
    setting.track.answerFlushes();
    assert.equal(setting.events.at(-1)?.type, 'done');
  });

  it('[SES41] drained in speech, the utterance may end by itself; audio is still taken', async () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(1_000);
    setting.session.drain();
    setting.session.push(MESSAGE);
    setting.session.tick();
    assert.deepEqual(
      setting.track.inputs.map(({ type }) => type),
      ['audio'],
    );
    setting.track.end();
    setting.session.tick();
    setting.track.answerFlushes();
    while (setting.pool.running.length > 0) await setting.succeed('the end');
    assert.deepEqual(setting.types, ['speechStart', 'goAway', 'speechEnd', 'final', 'done']);
  });

  it('[SES42] drained in endless speech, the session stops when the time for that is over', async () => {
    const setting = new SessionSetting({ partials: false });
    setting.track.start();
    setting.session.drain();
    await setting.clock.advance(DRAIN_SPEECH_MAX_MS - 1);
    setting.session.push(MESSAGE);
    setting.session.tick();
    assert.equal(setting.session.state, 'open');
    await setting.clock.advance(1);
    setting.session.tick();
    assert.equal(setting.session.state, 'stopping');
  });

  it('[SES43] a closed session says nothing more, asks for nothing more, and leaves nothing behind', async () => {
    const setting = new SessionSetting();
    setting.track.start();
    setting.track.speak(800);
    await setting.clock.advance(500);
    setting.track.speak(100);
    setting.track.end();
    setting.track.start();
    setting.session.close();
    setting.session.close();
    const count = setting.events.length;
    setting.session.push(MESSAGE);
    setting.session.flush('x');
    setting.session.stop();
    setting.session.drain();
    setting.session.tick();
    setting.session.notePartialsSuspended(true);
    setting.track.speak(100);
    setting.track.end();
    while (setting.pool.running.length > 0) await setting.succeed('nobody hears it');
    assert.equal(setting.events.length, count);
    assert.equal(setting.telemetry.total('jobs_total', { kind: 'final', outcome: 'aborted' }), 1);
    assert.equal(setting.clock.timerCount, 0);
    assert(setting.track.isClosed);
  });

  it('[SES43] a final that comes for a closed session is counted as stale', async () => {
    const setting = new SessionSetting();
    setting.track.utter();
    setting.session.close();
    await setting.succeed('too late');
    assert.equal(setting.telemetry.total('stale_results_total', {}), 1);
  });

  it('[SES44] whoever hears an event may close the session in it; nothing is asked for on its behalf', async () => {
    for (const type of ['speechStart', 'speechEnd', 'final', 'notice', 'partial'] as const) {
      const setting = new SessionSetting();
      setting.onEvent = (event) => {
        if (event.type === type) setting.session.close();
      };
      setting.track.start();
      setting.track.emit({ type: 'fault', code: 'undecodable_packet', count: 1 });
      setting.track.speak(800);
      await setting.clock.advance(500);
      if (setting.pool.running.length > 0) await setting.succeed('partial');
      setting.track.speak(100);
      setting.track.end();
      const startedCount = setting.pool.started.length;
      if (setting.pool.running.length > 0) await setting.succeed('final');
      await setting.clock.advance(10_000);
      assert.equal(setting.events.at(-1)?.type, type);
      assert.equal(setting.pool.started.length, startedCount);
      assert.equal(setting.clock.timerCount, 0);
      const jobs = { speechStart: 0, notice: 0, partial: 1, speechEnd: 1, final: 2 };
      assert.equal(startedCount, jobs[type], type);
    }
  });

  it('[SES45] audio that cannot be kept up with, or comes much too fast, ends the session; faster is a notice first', () => {
    const behind = new SessionSetting();
    behind.track.isFull = true;
    behind.session.push(MESSAGE);
    assert.equal(behind.failure, 'overloaded', 'who speaks in real time is not to blame');
    const full = new SessionSetting();
    for (let i = 0; i <= AHEAD_OF_REALTIME_MAX_MS / 1_000; i++) full.session.push(new Uint8Array(32_000));
    full.track.isFull = true;
    full.session.push(MESSAGE);
    assert.equal(full.failure, 'too_fast');
    const fast = new SessionSetting();
    const secondCount = AHEAD_OF_REALTIME_MAX_MS / 1_000;
    for (let i = 0; i < secondCount; i++) fast.session.push(new Uint8Array(32_000));
    assert.deepEqual(fast.events, []);
    for (let i = 0; i < secondCount; i++) fast.session.push(new Uint8Array(32_000));
    assert.deepEqual(
      fast.of('notice').map(({ code }) => code),
      ['input_throttled'],
    );
    fast.session.push(new Uint8Array(32_000));
    assert.equal(fast.failure, 'too_fast');
  });

  it('[SES46] a lost packet is a notice; audio that is none ends the session', () => {
    const setting = new SessionSetting();
    setting.track.emit({ type: 'fault', code: 'undecodable_packet', count: 1 });
    assert.equal(setting.of('notice')[0]?.code, 'packets_lost');
    setting.track.emit({ type: 'fault', code: 'unsupported_audio', count: 31 });
    assert.equal(setting.failure, 'unsupported_audio');
  });

  it('[ENC5] a refusal says what the audio is and what to send instead', () => {
    const refuse = (encoding: AudioEncoding, reason?: Refusal): SessionEvent | undefined => {
      const setting = new SessionSetting({ format: { ...SETTINGS.format, encoding } });
      setting.track.emit({ type: 'fault', code: 'unsupported_audio', count: 1, ...(reason && { reason }) });
      return setting.events.at(-1);
    };
    for (const [encoding, reason, code, words] of [
      ['opus', undefined, 'unsupported_audio', /^the bytes are not opus: send what `audio.encoding` names$/],
      ['opus', 'webm', 'unsupported_audio', /^the bytes are not opus: this is WebM: name `webm_opus`/],
      ['auto', undefined, 'unsupported_audio', /^the audio cannot be read: too much of it/],
      ['auto', 'mp4', 'unsupported_audio', /MP4.*record `audio\/webm;codecs=opus`, or send PCM$/],
      ['auto', 'unknown', 'unsupported_audio', /name `audio.encoding`/],
      ['ogg_opus', 'codec', 'unsupported_audio', /^the bytes are not ogg_opus: its audio is not Opus$/],
      ['webm_opus', 'too_fast', 'too_fast', /^one message holds more than a minute/],
    ] as const) {
      const event = refuse(encoding, reason);
      assert(event?.type === 'failed');
      assert.equal(event.error.code, code);
      assert.match(event.error.message, words);
    }
  });

  it('[CON12] how far a container is ahead is known when it is decoded, and counts from then on', () => {
    const format = { ...SETTINGS.format, encoding: 'webm_opus' } as const;
    const setting = new SessionSetting({ format, originAudioMs: 5_000 });
    setting.track.decodedSamples = msToSamples(5_000 + AHEAD_OF_REALTIME_CLOSE_MS);
    setting.session.push(MESSAGE);
    assert.equal(setting.of('notice')[0]?.code, 'input_throttled');
    setting.track.decodedSamples += 100;
    setting.session.push(MESSAGE);
    assert.equal(setting.failure, 'too_fast');
  });

  it('[SES47] partials suspended and resumed are told to those who asked for partials', () => {
    const setting = new SessionSetting();
    setting.session.notePartialsSuspended(true);
    setting.session.notePartialsSuspended(false);
    assert.deepEqual(
      setting.of('notice').map(({ code }) => code),
      ['partials_suspended', 'partials_resumed'],
    );
    const without = new SessionSetting({ partials: false });
    without.session.notePartialsSuspended(true);
    assert.deepEqual(without.events, []);
  });
});

describe('session: whatever happens', () => {
  const step = fc.oneof(
    fc.constantFrom(
      'start',
      'end',
      'fault',
      'flush',
      'answer',
      'tick',
      'succeed',
      'succeedLast',
      'die',
      'refuse',
    ),
    fc.record({ speakMs: fc.integer({ min: 1, max: 900 }) }),
    fc.record({ waitMs: fc.nat(800) }),
  );

  it('[SES80] every utterance has exactly one final, in order, after its end; flushes keep their place; done is last', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, partials) => {
        const setting = new SessionSetting({ partials }, 2);
        const flushes: string[] = [];
        let isSpeaking = false;
        for (const next of steps) {
          if (typeof next === 'object' && 'waitMs' in next) await setting.clock.advance(next.waitMs);
          else if (typeof next === 'object') setting.track.speak(next.speakMs);
          else if (next === 'start' || next === 'end') {
            if (isSpeaking === (next === 'start')) continue;
            isSpeaking = !isSpeaking;
            setting.track[next]();
          } else if (next === 'flush') {
            flushes.push(`${flushes.length}`);
            setting.session.flush(`${flushes.length - 1}`);
          } else act(setting, next);
          setting.session.keepAlive();
          await settle();
        }
        if (isSpeaking) setting.track.end();
        setting.session.stop();
        setting.track.answerFlushes();
        while (setting.pool.running.length > 0) await setting.succeed('text');
        assertWhole(setting, flushes);
      }),
      { numRuns: 200 },
    );
  });

  function act({ session, track, pool }: SessionSetting, what: string): void {
    if (what === 'tick') session.tick();
    else if (what === 'answer') track.answerFlushes();
    else if (what === 'fault') track.emit({ type: 'fault', code: 'undecodable_packet', count: 1 });
    else if (what === 'succeed') pool.running[0]?.succeed(hypothesisOf('first'));
    else if (what === 'succeedLast') pool.running.at(-1)?.succeed(hypothesisOf('last one'));
    else pool.running[0]?.fail(what === 'die' ? 'worker_died' : 'internal');
  }

  function assertWhole(setting: SessionSetting, flushes: readonly string[]): void {
    const ids = setting.of('speechStart').map(({ utteranceId }) => utteranceId);
    assert.deepEqual(
      ids,
      ids.map((_, index) => index + 1),
    );
    for (const type of ['speechEnd', 'final'] as const) {
      assert.deepEqual(
        setting.of(type).map(({ utteranceId }) => utteranceId),
        ids,
      );
    }
    assert.deepEqual(
      setting.of('flushed').map(({ id }) => id),
      flushes,
    );
    assert.equal(setting.events.at(-1)?.type, 'done');
    for (const final of setting.of('final')) {
      const at = setting.events.indexOf(final);
      const before = setting.events.slice(0, at);
      assert(before.some((event) => event.type === 'speechEnd' && event.utteranceId === final.utteranceId));
      const after = setting.events.slice(at);
      assert(!after.some((event) => event.type === 'partial' && event.utteranceId === final.utteranceId));
    }
    assert.equal(setting.clock.timerCount, 0);
  }
});
