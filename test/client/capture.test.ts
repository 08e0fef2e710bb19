import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AudioPacket } from '../../client/audio_source.ts';
import { CaptureError, captureErrorOf } from '../../client/capture_error.ts';
import { chooseCaptureWay } from '../../client/capture_way.ts';
import { PacketQueue } from '../../client/packet_queue.ts';

const ALL = { packets: true, recorder: true, pcm: true };

describe('the way to capture', () => {
  it('[CAP1] is the best that the browser can do', () => {
    assert.equal(chooseCaptureWay(ALL), 'packets');
    assert.equal(chooseCaptureWay({ ...ALL, packets: false }), 'recorder');
    assert.equal(chooseCaptureWay({ packets: false, recorder: false, pcm: true }), 'pcm');
    assert.equal(chooseCaptureWay({ packets: false, recorder: false, pcm: false }), undefined);
  });

  it('[CAP1] is the one that was asked for, or none', () => {
    assert.equal(chooseCaptureWay(ALL, 'recorder'), 'recorder');
    assert.equal(chooseCaptureWay({ ...ALL, packets: false }, 'packets'), undefined);
  });
});

describe('an error of the microphone', () => {
  const named = (name: string): Error => Object.assign(new Error('of the browser'), { name });

  it('[CAP2] says what the browser’s own one means', () => {
    const codes = [
      'NotAllowedError',
      'SecurityError',
      'NotFoundError',
      'OverconstrainedError',
      'NotReadableError',
      'AbortError',
      'TypeError',
    ].map((name) => captureErrorOf(named(name)).code);
    assert.deepEqual(codes, [
      ...['permission_denied', 'permission_denied', 'no_microphone', 'no_microphone'],
      ...['microphone_busy', 'microphone_busy', 'capture_failed'],
    ]);
  });

  it('[CAP2] keeps its cause, and stays what it is', () => {
    const cause = named('NotFoundError');
    assert.equal(captureErrorOf(cause).cause, cause);
    const own = new CaptureError('microphone_lost');
    assert.equal(captureErrorOf(own), own);
  });
});

describe('packets that wait', () => {
  const packet = (number: number): AudioPacket => ({ bytes: Uint8Array.of(number), durationMs: 20 });
  const read = async (queue: PacketQueue): Promise<number[]> => {
    const numbers: number[] = [];
    for await (const { bytes } of queue.read()) numbers.push(bytes[0] ?? -1);
    return numbers;
  };

  it('[CAP3] come in order, those before the end included, and then end', async () => {
    const queue = new PacketQueue();
    queue.push(packet(1));
    const numbers = read(queue);
    await Promise.resolve();
    queue.push(packet(2));
    queue.push(packet(3));
    queue.end();
    queue.push(packet(4));
    assert.deepEqual(await numbers, [1, 2, 3]);
  });

  it('[CAP3] come before the error that ended them; the first end counts', async () => {
    const queue = new PacketQueue();
    queue.push(packet(1));
    queue.fail(new CaptureError('microphone_lost'));
    queue.end();
    const numbers: number[] = [];
    await assert.rejects(
      async () => {
        for await (const { bytes } of queue.read()) numbers.push(bytes[0] ?? -1);
      },
      { code: 'microphone_lost' },
    );
    assert.deepEqual(numbers, [1]);
  });

  it('[CAP3] are bounded: the oldest go', async () => {
    const queue = new PacketQueue();
    for (let i = 0; i < 3_005; i++) queue.push(packet(i % 256));
    queue.end();
    const numbers = await read(queue);
    assert.equal(numbers.length, 3_000);
    assert.equal(numbers[0], 5);
  });
});
