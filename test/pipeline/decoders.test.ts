import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { before, describe, it } from 'node:test';
import type { AudioEncoding, AudioFormat } from '../../pipeline/audio.ts';
import type { AudioDecoder, AudioDecoderFactory, DecodedAudio } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { LimitError, ProtocolError } from '../../pipeline/errors.ts';
import { DECODERS_PER_SHARD_COUNT, SHARDS_PER_WORKER_COUNT } from '../../pipeline/limits.ts';
import { readOpusPacket } from '../../pipeline/codecs/opus_packet.ts';
import {
  breakOpusSnapshot,
  encodeStream,
  makeCorpus,
  makeSignal,
  PacketMutator,
} from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import type { DecodingTask } from './decoder_child.ts';

const OPUS: AudioFormat = { encoding: 'opus', sampleRateHz: 48_000, channels: 1 };
const SPEECH = encodeStream({
  ...{ kind: 'voiced', frames: 60, sampleRateHz: 16_000, application: 'voip', bitrate: 24_000, frameMs: 20 },
});
/** A table of contents that promises 49 frames of 2.5 ms. */
const BAD_PACKET = Uint8Array.of((16 << 3) | 3, 49, 0, 0);

function decodeAll(decoder: AudioDecoder, messages: readonly Uint8Array[]): DecodedAudio[] {
  return messages.map((message) => decoder.decode(message));
}

/** 20 ms packets of every mode in turn, a few at a time, some of them damaged. */
function makeSwitchingStream(): Uint8Array[] {
  const streams = makeCorpus(40).slice(0, 11);
  const stream: Uint8Array[] = [...SPEECH.slice(0, 16)];
  for (let round = 0; round < 10; round++) {
    for (const packets of streams) stream.push(...packets.slice(round * 3, round * 3 + 3));
    if (round % 2 === 1) stream.push(...Array.from({ length: (round + 1) / 2 }, () => BAD_PACKET));
  }
  const modes = new Set(stream.map((packet) => readOpusPacket(packet)?.mode));
  assert.deepEqual(modes, new Set(['silk', 'hybrid', 'celt', undefined]));
  return stream;
}

describe('Opus sessions', () => {
  let factory: AudioDecoderFactory;
  before(async () => {
    factory = await loadDecoderFactory();
  });

  it('[OPUS12] an empty message gives no audio and no fault', () => {
    const decoder = factory.create(OPUS);
    decodeAll(decoder, SPEECH.slice(0, 5));
    const before = decoder.snapshot();
    assert.deepEqual(decoder.decode(new Uint8Array(0)), { pcm: new Int16Array(0) });
    assert.deepEqual(decoder.snapshot(), before);
    decoder.close();
  });

  it('[OPUS13] a message that is no packet is concealed by the length of the last good one, 20 ms at first', () => {
    const first = factory.create(OPUS);
    const { pcm, fault } = first.decode(BAD_PACKET);
    assert.deepEqual([pcm.length, fault], [320, 'undecodable_packet']);
    for (const frameMs of [2.5, 10, 60, 120]) {
      const decoder = factory.create(OPUS);
      const frames = encodeStream({
        ...{ kind: 'tone', frames: 3, sampleRateHz: 48_000, application: 'audio', bitrate: 64_000, frameMs },
      });
      for (const { fault: none } of decodeAll(decoder, frames)) assert.equal(none, undefined);
      const concealed = decoder.decode(BAD_PACKET);
      assert.deepEqual([concealed.pcm.length, concealed.fault], [frameMs * 16, 'undecodable_packet']);
      assert(
        concealed.pcm.some((sample) => Math.abs(sample) > 500),
        'concealment goes on with the tone',
      );
      decoder.close();
    }
    first.close();
  });

  it('[OPUS14] after three faults in a row, not two, the decoder is as new', () => {
    const fresh = factory.create(OPUS);
    const expected = decodeAll(fresh, SPEECH.slice(30));
    for (const faults of [2, 3]) {
      const decoder = factory.create(OPUS);
      decodeAll(decoder, SPEECH.slice(0, 30));
      decodeAll(decoder, new Array<Uint8Array>(faults).fill(BAD_PACKET));
      const found = decodeAll(decoder, SPEECH.slice(30));
      if (faults === 3) assert.deepEqual(found, expected);
      else assert.notDeepEqual(found, expected);
      decoder.close();
    }
    fresh.close();
  });

  it('[OPUS15] a container as first message is unsupported for good; later the same bytes are one bad packet', () => {
    const magics = { ogg: 'OggS', webm: '\x1aE\xdf\xa3', wav: 'RIFF', flac: 'fLaC', mp3: 'ID3' };
    for (const [reason, magic] of Object.entries(magics)) {
      const message = Buffer.from(`${magic}${'\x00'.repeat(60)}`, 'latin1');
      const decoder = factory.create(OPUS);
      const refused = { pcm: new Int16Array(0), fault: 'unsupported_audio', reason };
      assert.deepEqual(decoder.decode(message), refused);
      assert.deepEqual(decoder.decode(SPEECH[0] ?? message), refused);
      decoder.close();
      const later = factory.create(OPUS);
      later.decode(SPEECH[0] ?? message);
      assert.notEqual(later.decode(message).fault, 'unsupported_audio');
      assert.equal(later.decode(SPEECH[1] ?? message).fault, undefined);
      later.close();
    }
  });

  it('[OPUS16] raw PCM sent as Opus is unsupported within 16 messages', () => {
    const sources = ['voiced', 'noise', 'chirp', 'tone', 'silence'] as const;
    for (const kind of sources) {
      const pcm = makeSignal({ kind, samples: 32_000, sampleRateHz: 16_000 });
      // A microphone's own noise of a few steps: pure digital silence is only the first of the cases.
      const random = seededRandom(7);
      const quiet = kind === 'silence' ? pcm : pcm.map((sample) => sample + Math.floor(8 * random()) - 4);
      for (const messageBytes of [320, 640, 960, 1_280, 3_200]) {
        const decoder = factory.create(OPUS);
        const bytes = new Uint8Array(quiet.buffer);
        const faults = Array.from(
          { length: 16 },
          (_, i) => decoder.decode(bytes.subarray(i * messageBytes, (i + 1) * messageBytes)).fault,
        );
        assert.equal(faults.at(-1), 'unsupported_audio', `${kind} in messages of ${messageBytes} bytes`);
        decoder.close();
      }
    }
  });

  it('[OPUS17] Opus with one message in five damaged is never taken for something else (1,000 sessions)', () => {
    const seed = 11;
    const random = seededRandom(seed);
    const streams = makeCorpus(16);
    for (let session = 0; session < 1_000; session++) {
      const packets = streams[session % streams.length] ?? [];
      const mutator = new PacketMutator(packets, random);
      const decoder = factory.create(OPUS);
      for (const packet of packets) {
        const message = random() < 0.2 ? mutator.next().packet : packet;
        const { fault } = decoder.decode(message);
        assert.notEqual(fault, 'unsupported_audio', `seed ${seed}, session ${session}`);
      }
      decoder.close();
    }
  });

  it('[OPUS18] a state lost to a trap in another session is told once, with the next message', async () => {
    const causes: unknown[] = [];
    const own = await loadDecoderFactory({ onOpusRebuilt: (cause) => causes.push(cause) });
    const [culprit, bystander, muted] = [own.create(OPUS), own.create(OPUS), own.create(OPUS)];
    const celt = encodeStream({
      ...{ kind: 'tone', frames: 1, sampleRateHz: 48_000, application: 'restricted_lowdelay' },
      ...{ bitrate: 48_000, frameMs: 20 },
    });
    decodeAll(bystander, SPEECH.slice(0, 20));
    culprit.restore(breakOpusSnapshot(culprit.snapshot()));
    const [trapped] = decodeAll(culprit, celt);
    assert.deepEqual([trapped?.pcm.length, trapped?.fault, causes.length], [320, 'undecodable_packet', 1]);
    const fresh = own.create(OPUS);
    const expected = decodeAll(fresh, SPEECH.slice(20)).map(({ pcm }) => pcm);
    const found = decodeAll(bystander, SPEECH.slice(20));
    assert.deepEqual(
      found.map(({ pcm }) => pcm),
      expected,
    );
    assert.deepEqual(
      found.map(({ fault }) => fault).filter((fault) => fault !== undefined),
      ['undecodable_packet'],
    );
    const restored = own.create(OPUS);
    restored.restore(muted.snapshot());
    assert.equal(restored.decode(SPEECH[0] ?? BAD_PACKET).fault, 'undecodable_packet');
  });

  it('[OPUS19] R-15 damaged packets never throw, and every output has a legal length (10,000 packets)', () => {
    const seed = 3;
    const random = seededRandom(seed);
    const mutator = new PacketMutator(makeCorpus(16).flat(), random);
    const decoder = factory.create(OPUS);
    decodeAll(decoder, SPEECH.slice(0, 16));
    for (let i = 0; i < 10_000; i++) {
      const { packet } = mutator.next();
      const { pcm, fault } = decoder.decode(packet);
      assert.notEqual(fault, 'unsupported_audio');
      const isLegal = pcm.length % 40 === 0 && pcm.length <= 1_920 && (pcm.length > 0 || packet.length === 0);
      assert(isLegal, `seed ${seed}: ${pcm.length} samples of ${Buffer.from(packet).toString('hex')}`);
    }
    decoder.close();
  });
});

/** Enough of a stream to have a decoder of its own. */
const BEGINNINGS: Readonly<Partial<Record<AudioEncoding, Uint8Array>>> = {
  ogg_opus: Buffer.from('OggS'),
  webm_opus: Buffer.of(0x1a, 0x45, 0xdf, 0xa3),
  wav: Buffer.from('RIFF'),
  auto: Buffer.from('OggS'),
};

describe('Snapshots', () => {
  it('[OPUS20] a restored Opus decoder goes on bit-identically at another address, in another instance', async () => {
    const [one, other] = [await loadDecoderFactory(), await loadDecoderFactory()];
    for (let i = 0; i < 5; i++) other.create(OPUS);
    for (const stream of [makeSwitchingStream(), ...makeCorpus(44)]) {
      const original = one.create(OPUS);
      const snapshots: Uint8Array[] = [];
      const expected = stream.map((message) => {
        snapshots.push(original.snapshot());
        return original.decode(message);
      });
      for (let from = 0; from < stream.length; from += 11) {
        const until = Math.min(from + 40, stream.length - 1);
        const copy = other.create(OPUS);
        decodeAll(copy, SPEECH.slice(0, from % 5)); // what was there before must not matter
        copy.restore(snapshots[from] ?? new Uint8Array(0));
        assert.deepEqual(decodeAll(copy, stream.slice(from, until)), expected.slice(from, until));
        assert.deepEqual(copy.snapshot(), snapshots[until]);
        copy.close();
      }
      original.close();
    }
  });

  it('[OPUS21] decoders restored in another process go on bit-identically to the end of the stream', async () => {
    const factory = await loadDecoderFactory();
    const child = fork(new URL('./decoder_child.js', import.meta.url), [], { serialization: 'advanced' });
    const bytes = new Uint8Array(
      makeSignal({ kind: 'voiced', samples: 44_100, sampleRateHz: 44_100, channels: 2 }).buffer,
    );
    const pcmMessages = Array.from({ length: 80 }, (_, i) => bytes.subarray(i * 1_001, (i + 1) * 1_001));
    const cases: [format: AudioFormat, messages: Uint8Array[]][] = [
      [OPUS, makeSwitchingStream()],
      [OPUS, SPEECH],
      [{ encoding: 'pcm_s16le', sampleRateHz: 44_100, channels: 2 }, pcmMessages],
      [{ encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 }, pcmMessages],
    ];
    for (const [format, messages] of cases) {
      for (const share of [0, 0.05, 0.31, 0.5, 0.77]) {
        const cut = Math.floor(messages.length * share);
        const decoder = factory.create(format);
        decodeAll(decoder, messages.slice(0, cut));
        const task: DecodingTask = { format, snapshot: decoder.snapshot(), messages: messages.slice(cut) };
        child.send(task);
        const [results] = (await once(child, 'message')) as [DecodedAudio[]];
        assert.deepEqual(results, decodeAll(decoder, task.messages));
        decoder.close();
      }
    }
    child.disconnect();
    const [status] = (await once(child, 'exit')) as [number];
    assert.equal(status, 0);
  });

  it('[OPUS25] what a session knows besides the codec is in its snapshot: cut after any message it decides the same', async () => {
    const factory = await loadDecoderFactory();
    const speech40 = encodeStream({
      ...{
        kind: 'voiced',
        frames: 12,
        sampleRateHz: 16_000,
        application: 'voip',
        bitrate: 24_000,
        frameMs: 40,
      },
    });
    const noise = new Uint8Array(makeSignal({ kind: 'noise', samples: 8_000, sampleRateHz: 16_000 }).buffer);
    const ogg = Buffer.from(`OggS${'\x00'.repeat(60)}`);
    const streams: Uint8Array[][] = [
      [...speech40.slice(0, 4), BAD_PACKET, BAD_PACKET, BAD_PACKET, ...speech40.slice(4), BAD_PACKET],
      Array.from({ length: 20 }, (_, i) => noise.subarray(i * 640, (i + 1) * 640)),
      [ogg, ...speech40],
      [...speech40.slice(0, 1), ogg, ...speech40.slice(1)],
    ];
    for (const stream of streams) {
      const original = factory.create(OPUS);
      const snapshots: Uint8Array[] = [];
      const expected = stream.map((message) => {
        snapshots.push(original.snapshot());
        return original.decode(message);
      });
      for (const [from, snapshot] of snapshots.entries()) {
        const copy = factory.create(OPUS);
        copy.restore(snapshot);
        assert.deepEqual(
          decodeAll(copy, stream.slice(from)),
          expected.slice(from),
          `cut before message ${from}`,
        );
        copy.close();
      }
      original.close();
    }
  });

  it('[OPUS22] a snapshot that is cut, of another version, encoding, rate or build is refused', async () => {
    const [factory, plain] = [await loadDecoderFactory(), await loadDecoderFactory({ opusBuild: 'plain' })];
    const pcm: AudioFormat = { encoding: 'pcm_s16le', sampleRateHz: 48_000, channels: 2 };
    const containers = (['ogg_opus', 'webm_opus', 'wav', 'auto'] as const).map((encoding) => ({
      ...pcm,
      encoding,
    }));
    for (const format of [OPUS, pcm, ...containers]) {
      const decoder = factory.create(format);
      decoder.decode(BEGINNINGS[format.encoding] ?? SPEECH[0] ?? BAD_PACKET);
      const snapshot = decoder.snapshot();
      const damaged = [
        new Uint8Array(0),
        snapshot.subarray(0, 7),
        snapshot.subarray(0, -1),
        Uint8Array.of(...snapshot, 0),
        snapshot.with(0, 99),
        snapshot.with(1, 99),
        factory.create(format === OPUS ? pcm : OPUS).snapshot(),
      ];
      for (const bad of damaged) {
        assert.throws(
          () => {
            decoder.restore(bad);
          },
          assert.AssertionError,
          `${format.encoding}: ${bad.length} bytes`,
        );
      }
      assert.deepEqual(decoder.snapshot(), snapshot);
    }
    assert.throws(() => {
      plain.create(OPUS).restore(factory.create(OPUS).snapshot());
    }, /another build/);
    const mono = factory.create({ ...pcm, channels: 1 });
    assert.throws(() => {
      mono.restore(factory.create(pcm).snapshot());
    }, /another rate/);
  });
});

describe('The decoder factory', () => {
  it('[OPUS23] R-18 the cap on live decoders is refused loudly; closing, even twice, makes room for one', async () => {
    const factory = await loadDecoderFactory();
    const count = DECODERS_PER_SHARD_COUNT * SHARDS_PER_WORKER_COUNT;
    // One whose codec is made when its header comes: there is room for it then.
    const late = factory.create({ ...OPUS, encoding: 'auto' });
    const decoders = Array.from({ length: count - 1 }, () => factory.create(OPUS));
    const assertFull = (): void => {
      assert.throws(
        () => factory.create(OPUS),
        (error) => error instanceof LimitError && error.code === 'overloaded' && error.retryable,
      );
    };
    assertFull();
    assert.equal(late.decode(Buffer.from('OggS')).fault, undefined);
    decoders[70]?.close();
    decoders[70]?.close();
    const last = factory.create(OPUS);
    assertFull();
    const [reference] = decoders;
    assert(reference !== undefined);
    assert.deepEqual(decodeAll(last, SPEECH), decodeAll(reference, SPEECH));
    for (const decoder of [...decoders, last, late]) decoder.close();
    factory.create(OPUS).close();
  });

  it('[OPUS24] a format out of range is refused, naming the rule', async () => {
    const factory = await loadDecoderFactory();
    const pcm: AudioFormat = { encoding: 'pcm_s16le', sampleRateHz: 16_000, channels: 1 };
    const bad: AudioFormat[] = [
      { ...pcm, sampleRateHz: 7_999 },
      { ...pcm, sampleRateHz: 48_001 },
      { ...pcm, sampleRateHz: 16_000.5 },
      { ...pcm, sampleRateHz: Number.NaN },
      { ...pcm, channels: 0 },
      { ...pcm, channels: 3 },
      { ...pcm, encoding: 'pcm_f32le', sampleRateHz: 96_000 },
      { ...pcm, encoding: 'mulaw', sampleRateHz: 4_000 },
      { ...pcm, encoding: 'alaw', channels: 3 },
      { ...pcm, encoding: 'mp3' as 'opus' },
    ];
    for (const format of bad) {
      assert.throws(
        () => factory.create(format),
        (error) =>
          error instanceof ProtocolError && error.code === 'bad_settings' && /must be/.test(error.message),
      );
    }
  });
});
