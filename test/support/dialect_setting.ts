/** One connection of a dialect, with everything behind it scripted. */
import assert from 'node:assert/strict';
import type { UtteranceEndReason } from '../../pipeline/contracts.ts';
import { Scheduler } from '../../pipeline/scheduler.ts';
import type { Dialect, DialectParts, Opening } from '../../server/dialects/dialect.ts';
import { SessionRegistry } from '../../server/session_registry.ts';
import type { ConnectionListener, UpgradeRequest } from '../../server/transport/transport.ts';
import { FakeClock, settle } from './fake_clock.ts';
import { FakeConnection } from './fake_connection.ts';
import { RecordingTelemetry } from './recording_telemetry.ts';
import { hypothesisOf, ScriptedPool } from './scripted_pool.ts';
import { ScriptedTrack } from './session_setting.ts';

/** The time of day in it. */
export const TODAY = new Date('2030-01-01T00:00:00Z');

/** What a request may say that a test cares about. */
export interface Asked {
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly protocols?: readonly string[];
}

/** A message that was sent, fields not known. */
export type Sent = Readonly<Record<string, unknown>> & { readonly type?: string };

/** Parts of a dialect of which the sessions are the test's. */
export class ScriptedParts implements DialectParts {
  readonly clock = new FakeClock();
  readonly telemetry = new RecordingTelemetry();
  readonly track = new ScriptedTrack();
  readonly pool = new ScriptedPool(2);
  readonly registry: SessionRegistry;
  readonly defaults = {
    silenceMs: 500,
    maxUtteranceMs: 20_000,
    model: 'moonshine-tiny-en',
    voskSampleRateHz: 8_000,
  };
  readonly tokens = { issueToken: () => Promise.resolve('token') };

  constructor() {
    const { clock, telemetry, pool } = this;
    const onPartialsSuspended = (): void => undefined;
    const scheduler = new Scheduler({ pool, clock, telemetry, partialIntervalMs: 500, onPartialsSuspended });
    this.registry = new SessionRegistry({
      ...{ audioPool: this.track, scheduler, clock, telemetry, maxSessions: 2, isReady: () => true },
    });
  }

  readonly now = (): Date => TODAY;
}

export class DialectSetting extends ScriptedParts {
  readonly connection = new FakeConnection();
  readonly dialect: Dialect;
  readonly opening: Opening;
  readonly listener: ConnectionListener;

  constructor(create: (parts: DialectParts) => Dialect, asked: Asked = {}) {
    super();
    this.dialect = create(this);
    this.opening = this.dialect.open(requestOf(asked));
    this.listener = this.opening.listener(this.connection);
  }

  get sent(): readonly Sent[] {
    return this.connection.messages as unknown as readonly Sent[];
  }

  of(type: string): readonly Sent[] {
    return this.sent.filter((message) => message.type === type);
  }

  say(message: unknown): void {
    this.listener.text(JSON.stringify(message));
  }

  /** Somebody says this within a second, and then there is silence, or what `reason` says. */
  async utter(text: string, reason: UtteranceEndReason = 'silence'): Promise<void> {
    this.track.start();
    this.track.speak(1_000);
    this.track.end(1_000, 0, reason);
    await this.recognise(text);
  }

  /** The oldest job comes back. */
  async recognise(text: string): Promise<void> {
    this.pool.first.succeed(hypothesisOf(text));
    await settle();
  }

  /** Time passes until a partial is run, which comes back with this. */
  async show(text: string): Promise<void> {
    this.track.speak(500);
    for (let waitedMs = 0; this.pool.running.length === 0 && waitedMs < 2_000; waitedMs += 50) {
      await this.clock.advance(50);
    }
    await this.recognise(text);
  }

  /** Fails unless the connection was ended once, like this, and nothing is left of it. */
  assertClosed(code: number, reason?: string): void {
    const [close, ...more] = this.connection.closes;
    assert.deepEqual(more, []);
    assert.equal(close?.code, code);
    if (reason !== undefined) assert.equal(close.reason, reason);
    this.assertNothingLeft();
  }

  assertNothingLeft(): void {
    assert.equal(this.registry.count, 0);
    assert.equal(this.clock.timerCount, 0);
  }
}

/** A request for a WebSocket. */
export function requestOf({ query = '', headers = {}, protocols = [] }: Asked): UpgradeRequest {
  return {
    ...{ method: 'GET', path: '/', remoteAddress: '127.0.0.1', protocols },
    query: new URLSearchParams(query),
    headers: new Map(Object.entries(headers)),
  };
}
