import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LimitError } from '../../pipeline/errors.ts';
import { InputMeter } from '../../pipeline/input_meter.ts';
import {
  AHEAD_OF_REALTIME_CLOSE_MS,
  AHEAD_OF_REALTIME_MAX_MS,
  CATCH_UP_RATIO,
  CONTAINER_MESSAGE_MAX_BYTES,
  CONTAINER_RATE_MAX_BYTES,
  FLOAT_MESSAGE_MAX_BYTES,
  OPUS_MESSAGE_MAX_BYTES,
  PCM_MESSAGE_MAX_BYTES,
} from '../../pipeline/limits.ts';

const PCM = { encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 } as const;
/** One second of it. */
const SECOND = new Uint8Array(32_000);

describe('input meter', () => {
  it('[SES60] audio in real time is accepted for ever, however long the pauses', () => {
    const meter = new InputMeter(PCM, 0);
    let nowMs = 0;
    for (let second = 1; second < 10_000; second++) {
      nowMs += second % 100 === 0 ? 60_000 : 1_000;
      assert.equal(meter.judge(SECOND, nowMs), 'accepted');
    }
    // A pause is no credit: after it the bound is what it always was.
    const burst = Array.from({ length: 31 }, () => meter.judge(SECOND, nowMs));
    assert.equal(burst.indexOf('throttled'), AHEAD_OF_REALTIME_MAX_MS / 1_000 - 1);
  });

  it('[SES61] a burst is accepted up to the bound, throttled once beyond it, and refused much later', () => {
    const meter = new InputMeter(PCM, 0);
    const verdicts = Array.from({ length: AHEAD_OF_REALTIME_CLOSE_MS / 1_000 + 1 }, () =>
      meter.judge(SECOND, 0),
    );
    const throttledAt = AHEAD_OF_REALTIME_MAX_MS / 1_000;
    assert.deepEqual(verdicts.slice(0, throttledAt), new Array<string>(throttledAt).fill('accepted'));
    assert.equal(verdicts[throttledAt], 'throttled');
    assert(verdicts.slice(throttledAt + 1, -1).every((verdict) => verdict === 'accepted'));
    const last = verdicts.at(-1);
    assert(last instanceof LimitError && last.code === 'too_fast');
  });

  it('[SES62] a client that slowed down is told again the next time', () => {
    const meter = new InputMeter(PCM, 0);
    const count = AHEAD_OF_REALTIME_MAX_MS / 1_000;
    for (let i = 0; i < count; i++) meter.judge(SECOND, 0);
    assert.equal(meter.judge(SECOND, 0), 'throttled');
    assert.equal(meter.judge(SECOND, 5_000), 'accepted');
    for (let i = 0; i < 5; i++) assert.equal(meter.judge(SECOND, 5_000), 'accepted');
    assert.equal(meter.judge(SECOND, 5_000), 'throttled');
  });

  it('[SES67] a client that catches up, faster than real time by half, is never too fast', () => {
    const meter = new InputMeter(PCM, 0);
    for (let i = 1; i < AHEAD_OF_REALTIME_MAX_MS / 1_000; i++) meter.judge(SECOND, 0);
    const stepMs = 1_000 / CATCH_UP_RATIO;
    for (let i = 1; i <= 600; i++) assert.equal(meter.judge(SECOND, i * stepMs), 'accepted');
    assert.equal(meter.isAhead, false);
  });

  it('[SES68] a container that held more than it may ends the session although nothing comes any more', () => {
    const meter = new InputMeter({ ...PCM, encoding: 'webm_opus' }, 0);
    assert.equal(meter.judge(new Uint8Array(4_000), 0, 0), 'accepted');
    assert.equal(meter.judgeDecoded(AHEAD_OF_REALTIME_CLOSE_MS, 1_000), undefined);
    assert.equal(meter.judgeDecoded(3 * AHEAD_OF_REALTIME_CLOSE_MS, 2_000)?.code, 'too_fast');
    assert.equal(new InputMeter(PCM, 0).judgeDecoded(1e9, 1), undefined, 'of bare audio it is known before');
  });

  it('[SES63] a message above the bound of its encoding is refused, one at it is not', () => {
    const opus = { encoding: 'opus', sampleRateHz: 48_000, channels: 1 } as const;
    for (const [format, maxBytes] of [
      [PCM, PCM_MESSAGE_MAX_BYTES],
      [{ ...PCM, encoding: 'alaw' }, PCM_MESSAGE_MAX_BYTES],
      [{ ...PCM, encoding: 'pcm_f32le' }, FLOAT_MESSAGE_MAX_BYTES],
      [{ ...PCM, encoding: 'webm_opus' }, CONTAINER_MESSAGE_MAX_BYTES],
      [{ ...PCM, encoding: 'auto' }, CONTAINER_MESSAGE_MAX_BYTES],
      [opus, OPUS_MESSAGE_MAX_BYTES],
    ] as const) {
      assert.equal(new InputMeter(format, 0).judge(new Uint8Array(maxBytes), 0), 'accepted');
      const verdict = new InputMeter(format, 0).judge(new Uint8Array(maxBytes + 1), 0);
      assert(verdict instanceof LimitError && verdict.code === 'message_too_large');
      assert.match(verdict.message, new RegExp(`${maxBytes}.*${maxBytes + 1}`));
    }
  });

  it('[SES64] Opus is measured by what its packets claim: 120 ms packets are ahead six times as fast as 20 ms ones', () => {
    const countUntilThrottled = (toc: number, ...rest: number[]): number => {
      const meter = new InputMeter({ encoding: 'opus', sampleRateHz: 48_000, channels: 1 }, 0);
      for (let count = 1; ; count++) {
        if (meter.judge(Uint8Array.of(toc, ...rest), 0) === 'throttled') return count;
      }
    };
    // SILK 20 ms, one frame; SILK 60 ms, two frames of equal size.
    assert.equal(countUntilThrottled(0b0000_1000, 1), AHEAD_OF_REALTIME_MAX_MS / 20 + 1);
    assert.equal(countUntilThrottled(0b0001_1001, 1, 1), AHEAD_OF_REALTIME_MAX_MS / 120 + 1);
  });

  it('[SES64] floats and G.711 are measured by the bytes of their samples', () => {
    for (const [encoding, secondBytes] of [
      ['pcm_f32le', 64_000],
      ['mulaw', 16_000],
      ['alaw', 16_000],
    ] as const) {
      const meter = new InputMeter({ ...PCM, encoding }, 0);
      const slice = new Uint8Array(secondBytes / 2);
      const verdicts = Array.from({ length: 2 * (AHEAD_OF_REALTIME_MAX_MS / 1_000) + 1 }, () =>
        meter.judge(slice, 0),
      );
      assert.equal(verdicts.indexOf('throttled'), verdicts.length - 1, encoding);
    }
  });

  const WEBM = { ...PCM, encoding: 'webm_opus' } as const;
  const SLICE = new Uint8Array(4_000);

  it('[CON12] a container in real time is accepted for ever, also when its worker stands still for long', () => {
    const meter = new InputMeter(WEBM, 0);
    for (let second = 1; second < 1_000; second++) {
      // What is known is what was decoded two seconds ago; for a minute and a half nothing is.
      const isStill = second > 300 && second < 390;
      const decodedMs = 1_000 * Math.max(0, isStill ? 298 : second - 2);
      assert.equal(meter.judge(SLICE, 1_000 * second, decodedMs), 'accepted', `second ${second}`);
    }
  });

  it('[CON12] a container that is decoded faster than real time is throttled, then refused; a pause is no credit', () => {
    const meter = new InputMeter(WEBM, 0);
    const judge = (decodedMs: number, nowMs = 600_000) => meter.judge(SLICE, nowMs, decodedMs);
    assert.equal(judge(0), 'accepted');
    assert.equal(judge(1_000), 'accepted');
    assert.equal(judge(1_000 + AHEAD_OF_REALTIME_MAX_MS), 'accepted');
    assert.equal(judge(1_001 + AHEAD_OF_REALTIME_MAX_MS), 'throttled');
    assert.equal(judge(1_000 + AHEAD_OF_REALTIME_CLOSE_MS), 'accepted');
    const last = judge(1_001 + AHEAD_OF_REALTIME_CLOSE_MS);
    assert(last instanceof LimitError && last.code === 'too_fast');
  });

  it('[CON12] bytes that hold no audio are bounded by a rate that no audio has', () => {
    const meter = new InputMeter(WEBM, 0);
    const message = new Uint8Array(CONTAINER_MESSAGE_MAX_BYTES);
    const limit = (CONTAINER_RATE_MAX_BYTES * AHEAD_OF_REALTIME_CLOSE_MS) / 1_000;
    let sentBytes = 0;
    while (!(meter.judge(message, 0) instanceof LimitError)) sentBytes += message.length;
    assert(sentBytes <= limit && sentBytes > limit - 2 * message.length);
    meter.forgive(10_000);
    assert(!(meter.judge(message, 10_000) instanceof LimitError), 'what we did not listen to is forgiven');
  });
});
