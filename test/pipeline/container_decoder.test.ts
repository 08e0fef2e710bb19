import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { OggOutputFormat, WebMOutputFormat } from 'mediabunny';
import type { AudioEncoding, AudioFormat } from '../../pipeline/audio.ts';
import { joinPcm } from '../../pipeline/audio.ts';
import type { AudioDecoderFactory, DecodedAudio } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { AHEAD_OF_REALTIME_CLOSE_MS } from '../../pipeline/limits.ts';
import { UNDECODABLE_PACKET } from '../../pipeline/codecs/opus_packet.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import {
  cutInto,
  element,
  liveWebm,
  muxed,
  oggPage,
  oggPages,
  opusHead,
  webmBlock,
} from '../support/containers.ts';
import { encodeStream, makeSignal } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import { wavOf } from '../support/wav.ts';
import type { DecodingTask } from './decoder_child.ts';

const PCM = makeSignal({ kind: 'voiced', samples: 16_000, sampleRateHz: 16_000 });
const PACKETS = encodeOpus(PCM);
const PRE_SKIP = 312;

function formatOf(encoding: AudioEncoding): AudioFormat {
  return { encoding, sampleRateHz: 16_000, channels: 1 };
}

/** A stream, and the encodings it can be sent as. */
interface Stream {
  readonly name: string;
  readonly encodings: readonly AudioEncoding[];
  readonly bytes: Uint8Array;
}

async function makeStreams(): Promise<Stream[]> {
  const head = opusHead({ preSkip: PRE_SKIP });
  const pages = oggPages(PACKETS, { head, perPage: 7 });
  const damaged = Buffer.concat(pages.map((page, i) => (i === 4 ? page.fill(0, 30, 40) : page)));
  const blocks = PACKETS.map((packet, i) => element(0xa3, webmBlock(i === 20 ? UNDECODABLE_PACKET : packet)));
  const floats = Float32Array.from(PCM, (sample, i) => (i === 5_000 ? NaN : sample / 32_768));
  const bare = { sampleRateHz: 44_100, channels: 2 };
  return [
    {
      name: 'Ogg',
      encodings: ['ogg_opus', 'auto'],
      bytes: await muxed(PACKETS, new OggOutputFormat({ maximumPageDuration: 0.3 }), head),
    },
    { name: 'damaged Ogg', encodings: ['ogg_opus', 'auto'], bytes: damaged },
    {
      name: 'WebM',
      encodings: ['webm_opus', 'auto'],
      bytes: await muxed(PACKETS, new WebMOutputFormat({ appendOnly: true }), head),
    },
    { name: 'live WebM', encodings: ['webm_opus', 'auto'], bytes: liveWebm(blocks) },
    {
      name: 'refused WebM',
      encodings: ['webm_opus', 'auto'],
      bytes: Buffer.concat([liveWebm(blocks), Buffer.alloc(64, 1)]),
    },
    { name: 'WAV', encodings: ['wav', 'auto'], bytes: wavOf(PCM, { before: [['LIST', 301]] }) },
    {
      name: 'WAV, 24 bits',
      encodings: ['wav', 'auto'],
      bytes: wavOf(PCM, { ...bare, bitsPerSample: 24, dataBytes: 0 }),
    },
    { name: 'WAV, 96 kHz', encodings: ['wav'], bytes: wavOf(PCM, { sampleRateHz: 96_000, channels: 6 }) },
    { name: 'refused WAV', encodings: ['wav', 'auto'], bytes: wavOf(PCM, { tag: 2 }) },
    { name: 'floats', encodings: ['pcm_f32le'], bytes: new Uint8Array(floats.buffer) },
    { name: 'G.711', encodings: ['mulaw', 'alaw'], bytes: new Uint8Array(PCM.buffer) },
    { name: 'MP4', encodings: ['auto', 'ogg_opus'], bytes: Buffer.from('\0\0\0\x20ftypM4A ') },
  ];
}

describe('containers and encodings', () => {
  let factory: AudioDecoderFactory;
  let streams: Stream[];
  before(async () => {
    factory = await loadDecoderFactory();
    streams = await makeStreams();
  });

  function decode(encoding: AudioEncoding, messages: readonly Uint8Array[]): DecodedAudio[] {
    const decoder = factory.create(formatOf(encoding));
    const results = messages.map((message) => decoder.decode(message));
    decoder.close();
    return results;
  }

  function pcmOf(encoding: AudioEncoding, messages: readonly Uint8Array[]): Int16Array {
    return joinPcm(decode(encoding, messages).map(({ pcm }) => pcm));
  }

  /** What is the same for every cut: the samples, what became of each packet, and why no more are taken. */
  function summaryOf(results: readonly DecodedAudio[]): unknown {
    return {
      pcm: createHash('sha256')
        .update(joinPcm(results.map(({ pcm }) => pcm)))
        .digest('hex'),
      concealed: results.flatMap(({ concealed = [] }) => concealed),
      reason: results.find(({ reason }) => reason !== undefined)?.reason,
    };
  }

  function stream(name: string): Uint8Array {
    const found = streams.find((each) => each.name === name);
    assert(found !== undefined);
    return found.bytes;
  }

  it('[CON2] any cut of the bytes gives the same audio, also across snapshots', () => {
    for (const { encodings, bytes, name } of streams) {
      for (const encoding of encodings) {
        const whole = summaryOf(decode(encoding, [bytes]));
        assert.deepEqual(summaryOf(decode(encoding, cutInto(bytes, [1]))), whole, `${name} byte by byte`);
        fc.assert(
          fc.property(
            fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 8 }),
            (sizes) => {
              let decoder = factory.create(formatOf(encoding));
              const results = cutInto(bytes, sizes).map((message) => {
                const result = decoder.decode(message);
                // Laid at an odd offset: a snapshot out of a message may lie anywhere.
                const saved = Uint8Array.of(0, ...decoder.snapshot()).subarray(1);
                decoder.close();
                decoder = factory.create(formatOf(encoding));
                decoder.restore(saved);
                return result;
              });
              decoder.close();
              assert.deepEqual(summaryOf(results), whole, name);
            },
          ),
          { numRuns: 12 },
        );
      }
    }
  });

  it('[CON2] cut after any message, a restored decoder goes on bit-identically, whatever it held before', () => {
    for (const { encodings, bytes, name } of streams) {
      for (const encoding of encodings) {
        const messages = cutInto(bytes.subarray(0, 12_000), [1, 3, 400, 40, 1_500]);
        const original = factory.create(formatOf(encoding));
        const copy = factory.create(formatOf(encoding));
        const snapshots: Uint8Array[] = [];
        const expected = messages.map((message) => {
          snapshots.push(original.snapshot());
          return original.decode(message);
        });
        for (const [from, snapshot] of snapshots.entries()) {
          copy.restore(snapshot);
          assert.deepEqual(copy.snapshot(), snapshot);
          const until = Math.min(messages.length, from + 6);
          const found = messages.slice(from, until).map((message) => copy.decode(message));
          assert.deepEqual(found, expected.slice(from, until), `${name} as ${encoding}, from ${from}`);
        }
        original.close();
        copy.close();
      }
    }
  });

  it('[CON2] decoders restored in another process go on bit-identically to the end of the stream', async () => {
    const child = fork(new URL('./decoder_child.js', import.meta.url), [], { serialization: 'advanced' });
    for (const { encodings, bytes } of streams) {
      for (const encoding of encodings) {
        const format = formatOf(encoding);
        const messages = cutInto(bytes, [500]);
        for (const share of [0, 0.3, 0.7]) {
          const cut = Math.floor(messages.length * share);
          const decoder = factory.create(format);
          for (const message of messages.slice(0, cut)) decoder.decode(message);
          const task: DecodingTask = { format, snapshot: decoder.snapshot(), messages: messages.slice(cut) };
          child.send(task);
          const [results] = (await once(child, 'message')) as [DecodedAudio[]];
          assert.deepEqual(
            results,
            task.messages.map((message) => decoder.decode(message)),
          );
          decoder.close();
        }
      }
    }
    child.disconnect();
    await once(child, 'exit');
  });

  it('[CON3] packets out of a container are decoded, and concealed, as bare ones', () => {
    const bare = pcmOf('opus', PACKETS);
    const concealed = pcmOf(
      'opus',
      PACKETS.map((packet, i) => (i === 20 ? UNDECODABLE_PACKET : packet)),
    );
    assert.deepEqual(pcmOf('webm_opus', [stream('live WebM')]), concealed);
    const [heard] = decode('webm_opus', [stream('live WebM')]);
    assert.deepEqual(
      heard?.concealed,
      PACKETS.map((_, i) => i === 20),
    );
    assert.equal(heard.fault, 'undecodable_packet');
    assert.deepEqual(pcmOf('ogg_opus', [stream('Ogg')]), bare.subarray(PRE_SKIP / 3));
    // The evidence against a stream that is not Opus counts packets, too.
    const random = seededRandom(5);
    const noise = Array.from({ length: 40 }, () =>
      Uint8Array.from({ length: 70 }, () => Math.floor(256 * random())),
    );
    const [refused] = decode('ogg_opus', [Buffer.concat(oggPages(noise))]);
    assert.deepEqual([refused?.fault, refused?.reason], ['unsupported_audio', 'mismatch']);
  });

  it('[CON4] the pre-skip of every stream is left out, whatever the cut; the end is not trimmed', () => {
    const bare = pcmOf('opus', PACKETS);
    const webm = stream('WebM');
    assert.deepEqual(pcmOf('webm_opus', cutInto(webm, [1])), bare.subarray(PRE_SKIP / 3));
    const [first, second] = [1, 2].map((serial) =>
      Buffer.concat(oggPages(PACKETS, { serial, head: opusHead({ preSkip: 960 }) })),
    );
    const chain = pcmOf('ogg_opus', [Buffer.concat([first ?? webm, second ?? webm])]);
    assert.equal(chain.length, 2 * (bare.length - 320));
    assert.deepEqual(chain.subarray(0, bare.length - 320), bare.subarray(320));
    // A last page that says where its audio ends.
    const last = oggPage({ flags: 4, sequence: 2, packets: PACKETS });
    assert.equal(pcmOf('ogg_opus', [...oggPages([]), last]).length, bare.length);
  });

  it('[CON10] more than a minute of audio in one message is refused, before all of it is decoded', () => {
    const minute = encodeStream({
      ...{ kind: 'silence', frames: 520, sampleRateHz: 16_000, application: 'voip', bitrate: 6_000 },
      ...{ frameMs: 120, dtx: true },
    });
    const bytes = Buffer.concat(oggPages(minute, { perPage: 80 }));
    assert(bytes.length < 65_536);
    const [refused] = decode('ogg_opus', [bytes]);
    assert.deepEqual([refused?.fault, refused?.reason], ['unsupported_audio', 'too_fast']);
    assert((refused?.pcm.length ?? 0) <= AHEAD_OF_REALTIME_CLOSE_MS * 16);
    assert.equal(pcmOf('ogg_opus', cutInto(bytes, [1_000])).length, 520 * 120 * 16);
  });

  it('[ENC4] without an encoding the first bytes decide, with as few of them as it takes', () => {
    for (const [name, named] of [
      ['Ogg', 'ogg_opus'],
      ['WebM', 'webm_opus'],
      ['WAV', 'wav'],
    ] as const) {
      const expected = pcmOf(named, [stream(name)]);
      assert(expected.length > 15_000);
      for (const size of [1, 2, 3, 5, 8, 1_000])
        assert.deepEqual(pcmOf('auto', cutInto(stream(name), [size])), expected);
    }
    for (const head of ['', 'O', 'Ogg', '\x1aE\xdf', 'RIF', '\0\0\0\x20fty']) {
      assert.deepEqual(decode('auto', [Buffer.from(head, 'latin1')])[0]?.fault, undefined);
    }
  });

  it('[ENC5] what cannot be taken is refused by what it is, and for good', () => {
    const cases = {
      mp4: '\0\0\0\x20ftypM4A ',
      flac: 'fLaC',
      mp3: 'ID3',
      aac: '\xff\xf1',
      unknown: 'words',
      damaged: 'RIFF\0\0\0\0AVI ',
    };
    for (const [reason, head] of Object.entries(cases)) {
      for (const size of [1, 100]) {
        const results = decode('auto', [...cutInto(Buffer.from(head, 'latin1'), [size]), ...PACKETS]);
        assert.deepEqual(results.at(-1), { pcm: new Int16Array(0), fault: 'unsupported_audio', reason });
      }
    }
    assert.equal(decode('auto', [Buffer.of(0xff, 0xfb)])[0]?.reason, 'mp3');
    // Bare packets and samples begin with anything.
    assert.equal(decode('auto', PACKETS)[0]?.reason, 'unknown');
    assert.equal(decode('auto', [new Uint8Array(640)])[0]?.reason, 'unknown');
  });

  it('[ENC6] a stream that is not the container that was named is refused by what it is', () => {
    const names = { ogg_opus: 'ogg', webm_opus: 'webm', wav: 'wav' } as const;
    const bytes = { ogg: stream('Ogg'), webm: stream('WebM'), wav: stream('WAV') };
    for (const [encoding, own] of Object.entries(names) as [keyof typeof names, keyof typeof bytes][]) {
      for (const other of ['ogg', 'webm', 'wav'] as const) {
        const [result] = decode(encoding, [bytes[other]]);
        assert.equal(result?.reason, other === own ? undefined : other);
      }
      assert.equal(decode(encoding, PACKETS)[0]?.reason, 'headerless');
      assert.equal(decode(encoding, [Buffer.from('fLaC')])[0]?.reason, 'flac');
    }
  });

  it('[CON11] WAV of every kind of samples, with its length open or wrong, is heard as its samples', () => {
    const own = pcmOf('pcm_s16le', [new Uint8Array(PCM.buffer)]);
    for (const spec of [
      {},
      ...[0, 0xffff_ffff].map((dataBytes) => ({ dataBytes })),
      ...[24, 32].map((bitsPerSample) => ({ bitsPerSample })),
      ...[32, 64].map((bitsPerSample) => ({ bitsPerSample, tag: 3 })),
      { isExtensible: true, before: [['JUNK', 5_001]] as const },
    ]) {
      assert.deepEqual(pcmOf('wav', cutInto(wavOf(PCM, spec), [999])), own, JSON.stringify(spec));
    }
    // What comes after the samples is none.
    const trailed = Buffer.concat([wavOf(PCM), Buffer.from('LIST\x08\0\0\0INFOISFT')]);
    assert.deepEqual(pcmOf('wav', [trailed]), own);
    const g711 = Uint8Array.from({ length: 8_000 }, (_, i) => (i * 7) & 255);
    for (const [tag, encoding] of [
      [7, 'mulaw'],
      [6, 'alaw'],
    ] as const) {
      const wav = wavOf(g711, { tag, bitsPerSample: 8, sampleRateHz: 16_000 });
      assert.deepEqual(pcmOf('wav', [wav]), pcmOf(encoding, [g711]));
    }
    const u8 = pcmOf('wav', [wavOf(PCM, { bitsPerSample: 8 })]);
    assert(u8.every((sample, i) => Math.abs(sample - (PCM[i] ?? 0)) <= 256));
  });

  it('[CON11] a WAV that cannot be read is refused with the reason', () => {
    const cases: readonly (readonly [bytes: Uint8Array, reason: string])[] = [
      [wavOf(PCM, { tag: 2 }), 'wav_format'],
      [wavOf(PCM, { channels: 0 }), 'wav_format'],
      [wavOf(PCM, { channels: 65 }), 'wav_format'],
      [wavOf(PCM, { sampleRateHz: 7_999 }), 'wav_format'],
      [Buffer.from('RIFF\0\0\0\0WAVEdata\0\0\0\0', 'latin1'), 'damaged'],
      [Buffer.from('RIFF\0\0\0\0WAVEfmt \x0f\0\0\0', 'latin1'), 'damaged'],
      [Buffer.from('RIFF\0\0\0\0WAVEfmt \0\0\0\x7f', 'latin1'), 'damaged'],
    ];
    for (const [bytes, reason] of cases) assert.equal(decode('wav', [bytes])[0]?.reason, reason);
  });

  it('[CON9] a decoder that waits holds what it waits for, and no more', () => {
    const largest = new Map<string, number>();
    for (const { encodings, bytes, name } of streams) {
      for (const encoding of encodings) {
        const decoder = factory.create(formatOf(encoding));
        for (const message of cutInto(bytes, [97])) {
          decoder.decode(message);
          largest.set(name, Math.max(largest.get(name) ?? 0, decoder.snapshot().length));
        }
        decoder.close();
      }
    }
    // A page, a block, and 18 KB of codec.
    for (const [name, bytes] of largest) assert(bytes < 25_000, `${name}: ${bytes} bytes`);
  });
});
