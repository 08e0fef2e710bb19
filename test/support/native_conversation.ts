/** One native connection of which client, server, audio path and recogniser can be played in any order. */
import assert from 'node:assert/strict';
import { CLOSE_CODES } from '../../pipeline/errors.ts';
import { FLUSH_ID_MAX_LENGTH, HANDSHAKE_MAX_MS, LATE_MESSAGE_GRACE_MS } from '../../pipeline/limits.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import { NativeDialect } from '../../server/dialects/native_dialect.ts';
import { startFromQuery } from '../../server/dialects/native_messages.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import { FakeClock, settle } from './fake_clock.ts';
import { FakeConnection } from './fake_connection.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from './scripted_pool.ts';
import { MESSAGE, ScriptedTrack } from './session_setting.ts';

const DEFAULTS = { silenceMs: 500, maxUtteranceMs: 20_000, model: 'tiny' };

/** A dialect on a connection that fails the test if anything is said after its close. */
export class Conversation {
  readonly clock = new FakeClock();
  readonly track = new ScriptedTrack();
  readonly pool = new ScriptedPool(1);
  readonly connection = new FakeConnection();
  readonly registry: SessionRegistry;
  readonly dialect: NativeDialect;
  isGone = false;

  constructor(query: string) {
    const { clock, pool } = this;
    const telemetry = new RecordingTelemetry();
    const onPartialsSuspended = (): void => undefined;
    const scheduler = new Scheduler({ pool, clock, telemetry, partialIntervalMs: 500, onPartialsSuspended });
    this.registry = new SessionRegistry({
      ...{ audioPool: this.track, scheduler, clock, telemetry, maxSessions: 1, isReady: () => true },
    });
    const { connection } = this;
    const send = connection.sendText.bind(connection);
    connection.sendText = (text) => {
      assert(connection.closes.length === 0 && !this.isGone, `sent after the close: ${text}`);
      return send(text);
    };
    const options = { registry: this.registry, clock, telemetry, defaults: DEFAULTS };
    this.dialect = new NativeDialect(connection, options, startFromQuery(new URLSearchParams(query)));
  }

  /** The client has gone. */
  close(): void {
    this.isGone = true;
    this.dialect.closed();
  }

  /** Fails unless it was ended at most once, and nothing follows the end. */
  assertDefined(): void {
    const { closes, messages, types } = this.connection;
    assert(closes.length <= 1, `closed ${closes.length} times`);
    assert(types.filter((type) => type === 'error').length <= 1);
    assert(types.filter((type) => type === 'ready').length <= 1);
    const last = messages.at(-1);
    for (const end of ['error', 'done'] as const) {
      assert([-1, types.length - 1].includes(types.indexOf(end)), `${end} is the last message`);
    }
    if (last?.type === 'error') {
      const reason = last.code as keyof typeof CLOSE_CODES;
      assert.deepEqual(closes, [{ code: CLOSE_CODES[reason], reason }]);
    }
    if (closes.length > 0) assert.equal(this.registry.count, 0);
  }
}

type Act = (conversation: Conversation) => void | Promise<void>;

const say =
  (message: unknown): Act =>
  ({ dialect }) => {
    dialect.text(JSON.stringify(message));
  };
/** What the audio path says comes only while it is open. */
const hear =
  (act: (track: ScriptedTrack) => void): Act =>
  ({ track }) => {
    if (track.settings !== undefined && !track.isClosed) act(track);
  };
const advance =
  (ms: number): Act =>
  async ({ clock }) => {
    await clock.advance(ms);
  };
/** What client, server, audio path and recogniser may do, by name. Each may come at any time. */
export const ACTS: ReadonlyMap<string, Act> = new Map<string, Act>([
  ['start', say({ type: 'start', version: 1, audio: { encoding: 'pcm_s16le' } })],
  ['wrong model', say({ type: 'start', version: 1, audio: { encoding: 'opus' }, model: 'huge' })],
  ['flush', say({ type: 'flush', id: 'x'.repeat(FLUSH_ID_MAX_LENGTH) })],
  ['stop', say({ type: 'stop' })],
  ['keepAlive', say({ type: 'keepAlive' })],
  ['rubbish', say(null)],
  [
    'audio',
    ({ dialect }) => {
      dialect.binary(MESSAGE.slice());
    },
  ],
  [
    'odd audio',
    ({ dialect }) => {
      dialect.binary(new Uint8Array(3));
    },
  ],
  [
    'muted',
    ({ dialect }) => {
      dialect.binary(new Uint8Array(0));
    },
  ],
  [
    'stop reading',
    ({ connection }) => {
      connection.isFull = true;
    },
  ],
  [
    'read',
    ({ connection, dialect }) => {
      connection.isFull = false;
      dialect.drained();
    },
  ],
  [
    'go',
    (conversation) => {
      conversation.close();
    },
  ],
  [
    'utter',
    hear((track) => {
      track.utter();
    }),
  ],
  [
    'answer',
    hear((track) => {
      track.answerFlushes();
    }),
  ],
  [
    'fault',
    hear((track) => {
      track.emit({ type: 'fault', code: 'unsupported_audio', count: 31 });
    }),
  ],
  [
    'recognise',
    async ({ pool }) => {
      pool.running[0]?.succeed(hypothesisOf('hello there'));
      await settle();
    },
  ],
  [
    'fail',
    async ({ pool }) => {
      pool.running[0]?.fail('worker_died');
      await settle();
    },
  ],
  ['time out', advance(HANDSHAKE_MAX_MS + LATE_MESSAGE_GRACE_MS)],
  [
    'drain',
    ({ registry }) => {
      if (!registry.isDraining) void registry.drain();
    },
  ],
  [
    'server close',
    ({ registry }) => {
      registry.close();
    },
  ],
]);
