import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPUS_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';
import { readOpusPacket } from '../../pipeline/codecs/opus_packet.ts';
import { createReferenceDecoder, encodeStream, makeCorpus, PacketMutator } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';

/** A packet of one frame with the given table-of-contents fields and a body of four bytes. */
function packetOf(config: number, rest = 0): Uint8Array {
  return Uint8Array.of((config << 3) | rest, 1, 2, 3, 4);
}

describe('Opus packets', () => {
  it('[OPUS1] mode, channels and duration are read from the first byte as RFC 6716 table 2 has them', () => {
    const durations = [
      ...Array.from({ length: 3 }, () => [10, 20, 40, 60]).flat(),
      ...[10, 20, 10, 20],
      ...Array.from({ length: 4 }, () => [2.5, 5, 10, 20]).flat(),
    ];
    assert.equal(durations.length, 32);
    for (const [config, frameMs] of durations.entries()) {
      const mode = config < 12 ? 'silk' : config < 16 ? 'hybrid' : 'celt';
      const expected = { mode, stereo: false, frameCount: 1, durationSamples: frameMs * 16 };
      assert.deepEqual(readOpusPacket(packetOf(config)), expected);
      assert.deepEqual(readOpusPacket(packetOf(config, 4)), { ...expected, stereo: true });
      if (frameMs > 0) {
        const two = { ...expected, frameCount: 2, durationSamples: 2 * expected.durationSamples };
        assert.deepEqual(readOpusPacket(packetOf(config, 1)), two);
      }
    }
  });

  it('[OPUS2] no bytes, a frame over 1,275 bytes, more than 120 ms and lengths that do not add up are no packet', () => {
    const rejects: [why: string, bytes: number[]][] = [
      ['R1: empty', []],
      ['R2: frame too long', [0, ...new Array<number>(1_276).fill(0)]],
      ['R3: two equal frames of odd length', [1, 0]],
      ['R4: no length', [2]],
      ['R4: first frame longer than the packet', [2, 5, 0]],
      ['R4: cut in the second byte of a length', [2, 252]],
      ['R4: second frame too long', [2, 1, ...new Array<number>(1_277).fill(0)]],
      ['R5: no frame count', [3]],
      ['R5: no frames', [3, 0]],
      ['R5: 13 frames of 10 ms', [3, 13]],
      ['R5: 49 frames of 2.5 ms', [(16 << 3) | 3, 49]],
      ['R6: not a multiple of the frame count', [3, 2, 0, 0, 0]],
      ['R6: more padding than bytes', [3, 0x41, 9, 0]],
      ['R6: padding length never ends', [3, 0x41, 255, 255]],
      ['R7: lengths beyond the end', [3, 0x82, 9, 0]],
      ['R7: length missing', [3, 0x83, 1]],
    ];
    for (const [why, bytes] of rejects) assert.equal(readOpusPacket(Uint8Array.from(bytes)), undefined, why);
    assert.equal(readOpusPacket(new Uint8Array(OPUS_MESSAGE_MAX_BYTES + 1).fill(1)), undefined);
    assert.equal(readOpusPacket(Uint8Array.of((16 << 3) | 3, 48))?.durationSamples, 1_920);
    // A padding length of 255 stands for 254 bytes and another length byte: exactly so many, and one less.
    const padded = Uint8Array.of(3, 0x41, 255, 0, ...new Uint8Array(254));
    assert.equal(readOpusPacket(padded)?.frameCount, 1);
    assert.equal(readOpusPacket(padded.subarray(0, -1)), undefined);
  });

  it('[OPUS3] what is called a packet is exactly what libopus accepts (15,000 damaged packets)', () => {
    const seed = 20_240_611;
    const random = seededRandom(seed);
    const mutator = new PacketMutator(makeCorpus(12).flat(), random);
    const reference = createReferenceDecoder();
    const verdicts = { accepted: 0, refused: 0 };
    for (let i = 0; i < 15_000; i++) {
      const { packet } = mutator.next();
      if (packet.length === 0 || packet.length > OPUS_MESSAGE_MAX_BYTES) continue;
      let samples: number | undefined;
      try {
        samples = reference.decode(packet).length / 2;
      } catch {
        samples = undefined; // libopus refused it: the other verdict
      }
      const hex = Buffer.from(packet).toString('hex');
      assert.equal(readOpusPacket(packet)?.durationSamples, samples, `seed ${seed}, packet ${hex}`);
      verdicts[samples === undefined ? 'refused' : 'accepted'] += 1;
    }
    reference.drop();
    assert(verdicts.accepted > 3_000 && verdicts.refused > 3_000, JSON.stringify(verdicts));
  });

  it('[OPUS3] packets of every duration from 2.5 to 120 ms are read with the duration they were made with', () => {
    for (const frameMs of [2.5, 5, 10, 20, 40, 60, 80, 100, 120]) {
      const packets = encodeStream({
        ...{ kind: 'chirp', frames: 4, sampleRateHz: 48_000, channels: 2 },
        ...{ application: 'audio', bitrate: 48_000, frameMs },
      });
      for (const packet of packets) assert.equal(readOpusPacket(packet)?.durationSamples, frameMs * 16);
    }
  });
});
