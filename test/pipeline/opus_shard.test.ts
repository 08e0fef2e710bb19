import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { ConfigError, LimitError } from '../../pipeline/errors.ts';
import { DECODERS_PER_SHARD_COUNT } from '../../pipeline/limits.ts';
import { assertOpusHash, OpusModule } from '../../pipeline/codecs/opus_module.ts';
import { OpusShard, type ShardDecoder } from '../../pipeline/codecs/opus_shard.ts';
import { createReferenceDecoder, encodeStream, makeCorpus } from '../support/opus_material.ts';

const CELT_PACKETS = encodeStream({
  ...{ kind: 'tone', frames: 20, sampleRateHz: 48_000, application: 'restricted_lowdelay' },
  ...{ bitrate: 48_000, frameMs: 20 },
});

function decodeAll(decoder: ShardDecoder, packets: readonly Uint8Array[]): Int16Array[] {
  return packets.map((packet) => {
    const pcm = decoder.decode(packet);
    assert(pcm !== undefined);
    return pcm;
  });
}

/** Points the decoder at constants that lie outside the instance's memory, so that its next CELT packet traps. */
function breakState(decoder: ShardDecoder): void {
  const state = decoder.copyState();
  const words = new DataView(state.buffer);
  const celtOffset = words.getInt32(0, true);
  words.setInt32(celtOffset, 0x7fff_fff0, true);
  decoder.writeState(state);
}

describe('Opus shards', () => {
  let module: OpusModule;
  before(async () => {
    module = await OpusModule.load();
  });

  it('[OPUS4] a codec with another hash is refused, naming both hashes', () => {
    assert.throws(
      () => {
        assertOpusHash('simd', Uint8Array.of(1, 2, 3));
      },
      (error) => error instanceof ConfigError && /sha256 is 039058c6.*expected 47705009/.test(error.message),
    );
  });

  it('[OPUS5] the samples are those of the package itself, for every mode, rate and duration, in both builds', async () => {
    for (const build of ['simd', 'plain'] as const) {
      const shard = new OpusShard({ module: await OpusModule.load(build) });
      for (const packets of makeCorpus(10)) {
        const decoder = shard.create();
        const reference = createReferenceDecoder();
        const expected = packets.map((packet) => Uint8Array.from(reference.decode(packet)));
        const found = decodeAll(decoder, packets).map((pcm) => new Uint8Array(pcm.buffer));
        assert.deepEqual(found, expected);
        reference.drop();
        decoder.close();
      }
    }
  });

  it('[OPUS6] an empty packet never reaches the codec, and a closed decoder is never used', () => {
    const decoder = new OpusShard({ module }).create();
    assert.throws(() => decoder.decode(new Uint8Array(0)), /not an Opus packet/);
    assert.throws(() => decoder.conceal(1_960));
    decoder.close();
    decoder.close();
    assert.throws(() => decoder.decode(Uint8Array.of(0)), /after it was closed/);
    assert.throws(() => decoder.copyState(), /after it was closed/);
  });

  it('[OPUS7] concealment has the length asked for and goes on from what was decoded', () => {
    const decoder = new OpusShard({ module }).create();
    decodeAll(decoder, CELT_PACKETS);
    for (const samples of [40, 80, 320, 960, 1_920]) assert.equal(decoder.conceal(samples)?.length, samples);
    decoder.reset();
    assert(decoder.conceal(320)?.every((sample) => sample === 0));
  });

  it('[OPUS8] R-18 a full shard refuses one more decoder and has room again when one is closed', () => {
    const shard = new OpusShard({ module });
    const decoders = Array.from({ length: DECODERS_PER_SHARD_COUNT }, () => shard.create());
    assert(shard.isFull);
    assert.throws(
      () => shard.create(),
      (error) => error instanceof LimitError && error.code === 'overloaded' && error.retryable,
    );
    decoders[3]?.close();
    decodeAll(shard.create(), CELT_PACKETS);
  });

  it('[OPUS9] R-18 a trap rebuilds the shard within 20 ms; its decoders are as new and are told, other shards untouched', ({
    mock,
  }) => {
    const instantiate = mock.method(module, 'instantiate');
    const causes: unknown[] = [];
    const shard = new OpusShard({ module, onRebuilt: (cause) => causes.push(cause) });
    const other = new OpusShard({ module }).create();
    const culprit = shard.create();
    const bystanders = Array.from({ length: DECODERS_PER_SHARD_COUNT - 1 }, () => shard.create());
    const expected = decodeAll(other, CELT_PACKETS);
    for (const bystander of bystanders) decodeAll(bystander, CELT_PACKETS.slice(0, 5));
    // Compiled code is warm and a busy machine may stop us once: the best of five counts.
    const elapsedMs: number[] = [];
    for (let round = 0; round < 5; round++) {
      breakState(culprit);
      const startedAtMs = performance.now();
      assert.equal(culprit.decode(CELT_PACKETS[0] ?? Uint8Array.of()), undefined);
      elapsedMs.push(performance.now() - startedAtMs);
      assert.equal(culprit.takeLost(), false);
      for (const bystander of bystanders) {
        assert.equal(bystander.takeLost(), true);
        assert.equal(bystander.takeLost(), false);
      }
    }
    assert(Math.min(...elapsedMs) <= 20, `rebuilt in ${elapsedMs.join(', ')} ms`);
    assert.equal(causes.length, 5);
    // Two shards, and a new instance for each trap: what has trapped is never run again.
    assert.equal(instantiate.mock.callCount(), 2 + 5);
    assert.match(String(causes[0]), /RuntimeError/);
    assert.equal(other.takeLost(), false);
    for (const decoder of [culprit, ...bystanders]) {
      assert.deepEqual(decodeAll(decoder, CELT_PACKETS), expected);
    }
  });

  it('[OPUS10] R-17 silent decoders beside speaking ones stay silent, in one shard and across shards', () => {
    const silence = encodeStream({
      ...{ kind: 'silence', frames: 50, sampleRateHz: 16_000, application: 'voip' },
      ...{ bitrate: 24_000, frameMs: 20 },
    });
    const corpus = makeCorpus(50);
    for (const shardCount of [1, 2, 4]) {
      const shards = Array.from({ length: shardCount }, () => new OpusShard({ module }));
      const streams = Array.from({ length: 48 }, (_, i) => {
        const decoder = shards[i % shardCount]?.create();
        assert(decoder !== undefined);
        return {
          decoder,
          isSilent: i % 3 === 1,
          packets: i % 3 === 1 ? silence : (corpus[i % corpus.length] ?? []),
        };
      });
      let loudest = 0;
      for (let frame = 0; frame < 50; frame++) {
        for (const { decoder, isSilent, packets } of streams) {
          const pcm = decoder.decode(packets[frame] ?? Uint8Array.of());
          assert(pcm !== undefined);
          if (isSilent) for (const sample of pcm) loudest = Math.max(loudest, Math.abs(sample));
        }
      }
      // The decoder dithers nothing: silence is exactly that, up to one step of rounding.
      assert(loudest <= 1, `a silent session reached ${loudest} with ${shardCount} shards`);
    }
  });

  it('[OPUS11] R-20 memory stays flat over 20,000 decoders created and closed', () => {
    const shard = new OpusShard({ module });
    const packet = CELT_PACKETS[0] ?? Uint8Array.of();
    const churn = (rounds: number): void => {
      for (let i = 0; i < rounds; i++) {
        const decoder = shard.create();
        decoder.decode(packet);
        decoder.close();
      }
    };
    churn(2_000);
    const beforeBytes = process.memoryUsage().rss;
    churn(18_000);
    const grownBytes = process.memoryUsage().rss - beforeBytes;
    assert.equal(shard.decoderCount, 0);
    // 18,000 states that were not freed would be 327 MB.
    assert(grownBytes < 20e6, `grew by ${grownBytes} bytes`);
  });
});
