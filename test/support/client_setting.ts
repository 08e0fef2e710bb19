/** A client whose server and time are played by a test. */
import assert from 'node:assert/strict';
import type { Cancel } from '../../client/client_clock.ts';
import type { StartMessage } from '../../client/protocol.ts';
import { StreamClient, type StreamClientOptions } from '../../client/stream_client.ts';
import { FakeClock } from './fake_clock.ts';
import { ScriptedServer } from './scripted_socket.ts';

/** Remembers the delay of the timer made last. */
export class RecordingClock extends FakeClock {
  lastDelayMs = 0;

  override after(delayMs: number, fire: () => void): Cancel {
    this.lastDelayMs = delayMs;
    return super.after(delayMs, fire);
  }
}

/** A client with a scripted server; messages are 20 ms long and hold their number. */
export function setUp(options: Partial<StreamClientOptions> = {}) {
  const clock = new RecordingClock();
  const server = new ScriptedServer();
  const client = new StreamClient({
    url: 'ws://server/v1/stream',
    audio: { encoding: 'opus' },
    createSocket: server.createSocket,
    clock,
    random: () => 0.5,
    ...options,
  });
  const seen: string[] = [];
  client.on('speechStart', ({ utteranceId }) => seen.push(`start ${utteranceId}`));
  client.on('partial', ({ utteranceId, revision }) => seen.push(`partial ${utteranceId}.${revision}`));
  client.on('speechEnd', ({ utteranceId }) => seen.push(`end ${utteranceId}`));
  client.on('final', ({ utteranceId }) => seen.push(`final ${utteranceId}`));
  client.on('audioLost', ({ fromAudioMs, toAudioMs }) => seen.push(`lost ${fromAudioMs}-${toAudioMs}`));
  client.on('error', ({ code }) => seen.push(`error ${code}`));
  let count = 0;
  const say = (messages: number): void => {
    for (let i = 0; i < messages; i++) client.send(Uint8Array.of(count++), { durationMs: 20 });
  };
  return { clock, server, client, seen, say };
}

export function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** What became of promises, without waiting for those that never settle. */
export async function outcomes(promises: readonly Promise<void>[]): Promise<string[]> {
  const settled = promises.map((promise) =>
    promise.then(
      () => 'kept',
      (error: unknown) => (error as { code: string }).code,
    ),
  );
  const pending = new Promise<string>((resolve) => setImmediate(resolve, 'pending'));
  return Promise.all(settled.map((outcome) => Promise.race([outcome, pending])));
}

export function resumeOf(server: ScriptedServer): NonNullable<StartMessage['resume']> {
  const { resume } = server.socket.start;
  assert(resume !== undefined, 'the session is not resumed');
  return resume;
}

export function failWith(server: ScriptedServer, retryable: boolean): void {
  server.socket.receive({ type: 'error', code: 'bad_settings', message: 'no', retryable });
}

export function refuseAll(server: ScriptedServer, clock: RecordingClock): void {
  while (clock.timerCount > 0) {
    server.socket.drop();
    clock.jump(clock.lastDelayMs);
  }
}
