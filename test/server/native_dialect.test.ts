import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StartMessage } from '../../client/protocol.ts';
import { CLOSE_CODES } from '../../pipeline/errors.ts';
import {
  CONTROL_MESSAGE_MAX_BYTES,
  DRAIN_MAX_MS,
  HANDSHAKE_MAX_MS,
  IDLE_MAX_MS,
  LATE_MESSAGE_GRACE_MS,
  PCM_MESSAGE_MAX_BYTES,
  STARTS_AWAITED_MAX_COUNT,
} from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { NativeDialect } from '../../server/dialects/native_dialect.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import { FakeClock, settle } from '../support/fake_clock.ts';
import { FakeConnection } from '../support/fake_connection.ts';
import { RecordingTelemetry } from '../support/recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from '../support/scripted_pool.ts';
import { MESSAGE, ScriptedTrack } from '../support/session_setting.ts';

const START: StartMessage = { type: 'start', version: 1, audio: { encoding: 'pcm_s16le' } };

class Setting {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly track = new ScriptedTrack();
  readonly pool = new ScriptedPool(1);
  readonly connection = new FakeConnection();
  readonly registry: SessionRegistry;
  readonly dialect: NativeDialect;
  isReady = true;

  constructor(start?: StartMessage, maxSessions = 1) {
    const { clock, telemetry, pool } = this;
    const onPartialsSuspended = (): void => undefined;
    const scheduler = new Scheduler({ pool, clock, telemetry, partialIntervalMs: 500, onPartialsSuspended });
    const isReady = (): boolean => this.isReady;
    this.registry = new SessionRegistry({
      ...{ audioPool: this.track, scheduler, clock, telemetry, maxSessions, isReady },
    });
    const defaults = { silenceMs: 500, maxUtteranceMs: 20_000, model: 'tiny' };
    this.dialect = new NativeDialect(
      this.connection,
      { registry: this.registry, clock, telemetry, defaults },
      start,
    );
  }

  say(message: unknown): void {
    this.dialect.text(JSON.stringify(message));
  }

  /** The error that was sent, and how the connection was closed. */
  assertEnded(code: keyof typeof CLOSE_CODES): void {
    const last = this.connection.messages.at(-1);
    assert(last?.type === 'error', `ended by ${last?.type ?? 'nothing'}`);
    assert.equal(last.code, code);
    assert.deepEqual(this.connection.closes, [{ code: CLOSE_CODES[code], reason: code }]);
    assert.equal(this.registry.count, 0);
    assert.equal(this.clock.timerCount, 0);
  }
}

describe('native dialect: start', () => {
  it('[NAT20] start is answered by ready with the limits and settings in force', () => {
    const setting = new Setting();
    setting.say({ ...START, endpointing: { silenceMs: 300 } });
    const [ready] = setting.connection.messages;
    assert(ready?.type === 'ready');
    assert.equal(ready.model, 'tiny');
    assert.deepEqual(ready.endpointing, { silenceMs: 300, maxUtteranceMs: 20_000 });
    assert.equal(ready.limits.messageMaxBytes, PCM_MESSAGE_MAX_BYTES);
    assert.equal(ready.limits.idleMaxMs, IDLE_MAX_MS);
    assert.equal(setting.registry.count, 1);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[NAT21] a start in the query needs no message', () => {
    const setting = new Setting(START);
    assert.deepEqual(setting.connection.types, ['ready']);
    setting.dialect.binary(MESSAGE);
    assert.equal(setting.track.inputs.length, 1);
  });

  it('[NAT22] who does not start in time is told and closed', async () => {
    const setting = new Setting();
    await setting.clock.advance(HANDSHAKE_MAX_MS + LATE_MESSAGE_GRACE_MS - 1);
    assert.deepEqual(setting.connection.messages, []);
    await setting.clock.advance(1);
    setting.assertEnded('handshake_timeout');
  });

  it('[NAT27] a connection counts as waiting until it has started, failed or gone', async () => {
    for (const end of ['start', 'fault', 'leave', 'timeout'] as const) {
      const setting = new Setting();
      for (let i = 1; i < STARTS_AWAITED_MAX_COUNT; i++) setting.registry.awaitStart();
      assert.equal(setting.registry.crowdRefusal()?.error.code, 'overloaded');
      if (end === 'start') setting.say(START);
      else if (end === 'fault') setting.dialect.text('{');
      else if (end === 'leave') setting.dialect.closed();
      else await setting.clock.advance(HANDSHAKE_MAX_MS + LATE_MESSAGE_GRACE_MS);
      assert.equal(setting.registry.crowdRefusal(), undefined, end);
    }
  });

  it('[NAT26] a start that waited unread while we stood still is in time', async () => {
    const setting = new Setting();
    setting.clock.stall(2 * HANDSHAKE_MAX_MS);
    await setting.clock.advance(1);
    setting.say(START);
    await setting.clock.advance(HANDSHAKE_MAX_MS);
    assert.deepEqual(setting.connection.types, ['ready']);
  });

  it('[NAT23] audio, flush, stop and keepAlive before start, and a second start, are errors', () => {
    const acts: readonly ((setting: Setting) => void)[] = [
      ({ dialect }) => {
        dialect.binary(MESSAGE);
      },
      ...['flush', 'stop', 'keepAlive'].map((type) => (setting: Setting) => {
        setting.say({ type, id: 'x' });
      }),
    ];
    for (const act of acts) {
      const setting = new Setting();
      act(setting);
      setting.assertEnded('not_started');
    }
    const twice = new Setting(START);
    twice.say(START);
    twice.assertEnded('bad_message');
    assert(twice.track.isClosed);
  });

  it('[NAT24] bad and oversized messages and settings end the connection with their code', () => {
    const bad = new Setting();
    bad.dialect.text('{');
    bad.assertEnded('bad_message');
    const large = new Setting(START);
    large.dialect.text(
      JSON.stringify({ type: 'keepAlive', padding: 'ä'.repeat(CONTROL_MESSAGE_MAX_BYTES / 2) }),
    );
    large.assertEnded('message_too_large');
    const model = new Setting({ ...START, model: 'huge' });
    model.assertEnded('bad_settings');
    assert.equal(model.telemetry.total('errors_total', { class: 'protocol' }), 1);
  });

  it('[NAT25] a server that is full, not ready or draining refuses with a retryable error', async () => {
    const full = new Setting(undefined, 0);
    full.say(START);
    full.assertEnded('overloaded');
    const notReady = new Setting();
    notReady.isReady = false;
    notReady.say(START);
    notReady.assertEnded('overloaded');
    const draining = new Setting();
    await draining.registry.drain();
    draining.say(START);
    draining.assertEnded('draining');
    const [error] = draining.connection.messages;
    assert(error?.type === 'error' && error.retryable);
  });
});

describe('native dialect: session', () => {
  it('[NAT30] events become messages; words are there only when asked for; stop ends with done and 1000', async () => {
    for (const words of [true, false]) {
      const setting = new Setting({ ...START, words });
      setting.track.utter();
      setting.pool.first.succeed(hypothesisOf('hello there'));
      await settle();
      setting.say({ type: 'flush', id: 'a' });
      setting.say({ type: 'stop' });
      setting.track.answerFlushes();
      assert.deepEqual(setting.connection.types, [
        'ready',
        'speechStart',
        'speechEnd',
        'final',
        'flushed',
        'done',
      ]);
      const final = setting.connection.messages[3];
      assert(final?.type === 'final');
      assert.equal(final.words?.length, words ? 2 : undefined);
      assert.deepEqual(setting.connection.closes, [{ code: 1000, reason: '' }]);
      assert.equal(setting.telemetry.total('sessions_total', { dialect: 'native', outcome: 'completed' }), 1);
      setting.dialect.closed();
      assert.equal(setting.telemetry.total('sessions_total', { dialect: 'native', outcome: 'abandoned' }), 0);
    }
  });

  it('[NAT31] a session that fails says why and closes with the code of it', () => {
    const setting = new Setting(START);
    setting.track.emit({ type: 'fault', code: 'unsupported_audio', count: 31 });
    setting.assertEnded('unsupported_audio');
    assert.equal(setting.telemetry.total('sessions_total', { dialect: 'native', outcome: 'failed' }), 1);
    assert.equal(setting.telemetry.total('errors_total', { class: 'audio' }), 1);
  });

  it('[NAT32] a client that has gone leaves nothing behind', () => {
    const setting = new Setting(START);
    setting.track.start();
    setting.dialect.closed();
    assert(setting.track.isClosed);
    assert.equal(setting.registry.count, 0);
    assert.equal(setting.clock.timerCount, 0);
    setting.dialect.binary(MESSAGE);
    setting.say({ type: 'stop' });
    assert.equal(setting.telemetry.total('sessions_total', { dialect: 'native', outcome: 'abandoned' }), 1);
    assert.deepEqual(setting.connection.closes, []);
    const early = new Setting();
    early.dialect.closed();
    assert.equal(early.clock.timerCount, 0);
  });

  it('[NAT33] a client that reads slowly loses partials, counted, and never a final', async () => {
    const setting = new Setting(START);
    setting.track.start();
    setting.track.speak(800);
    await setting.clock.advance(500);
    setting.connection.isFull = true;
    setting.pool.first.succeed(hypothesisOf('partial'));
    await settle();
    assert.equal(setting.telemetry.total('partials_dropped_total', {}), 1);
    assert.deepEqual(setting.connection.closes, []);
    setting.connection.isFull = false;
    setting.track.speak(100);
    setting.track.end();
    setting.connection.isFull = true;
    setting.pool.first.succeed(hypothesisOf('final'));
    await settle();
    assert.deepEqual(setting.connection.closes, [{ code: CLOSE_CODES.slow_reader, reason: 'slow_reader' }]);
    assert(setting.track.isClosed);
    assert.equal(setting.registry.count, 0);
    assert.equal(setting.telemetry.total('errors_total', { class: 'limit' }), 1);
  });

  it('[NAT34] done that cannot be sent closes as a slow reader, once', () => {
    const setting = new Setting(START);
    setting.say({ type: 'stop' });
    setting.connection.isFull = true;
    setting.track.answerFlushes();
    assert.deepEqual(setting.connection.closes, [{ code: CLOSE_CODES.slow_reader, reason: 'slow_reader' }]);
  });

  it('[NAT35] a drain says where to resume and closes with 1012 after the last final', async () => {
    const setting = new Setting(START);
    setting.track.utter();
    setting.pool.first.succeed(hypothesisOf('one'));
    await settle();
    const drained = setting.registry.drain();
    setting.track.answerFlushes();
    await drained;
    const goAway = setting.connection.messages.find(({ type }) => type === 'goAway');
    const ready = setting.connection.messages[0];
    assert(goAway?.type === 'goAway' && ready?.type === 'ready');
    assert.deepEqual(goAway.resume, { sessionId: ready.sessionId, fromAudioMs: 1_000, nextUtteranceId: 2 });
    assert.equal(goAway.deadlineMs, 0);
    assert.deepEqual(setting.connection.closes, [{ code: CLOSE_CODES.draining, reason: 'draining' }]);
    assert.equal(setting.clock.timerCount, 0);
  });

  it('[NAT36] a drain ends at its deadline, and close ends what is left', async () => {
    const setting = new Setting(START);
    setting.track.utter();
    let isDrained = false;
    const drained = setting.registry.drain().then(() => (isDrained = true));
    await setting.clock.advance(DRAIN_MAX_MS - 1);
    assert.equal(isDrained, false);
    await setting.clock.advance(1);
    await drained;
    setting.registry.close();
    setting.assertEnded('draining');
  });
});
