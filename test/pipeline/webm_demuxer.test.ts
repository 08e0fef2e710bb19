import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WebMOutputFormat } from 'mediabunny';
import {
  WEBM_BLOCK_MAX_BYTES,
  WEBM_SKIPPED_MAX_BYTES,
  WEBM_TRACKS_MAX_BYTES,
} from '../../pipeline/limits.ts';
import { UNDECODABLE_PACKET } from '../../pipeline/codecs/opus_packet.ts';
import { WebmDemuxer } from '../../pipeline/codecs/webm_demuxer.ts';
import {
  cutInto,
  element,
  liveWebm,
  muxed,
  opusHead,
  packetsByLibrary,
  WEBM_HEAD,
  webmBlock,
  webmTrack,
  webmTracks,
  type WebmTrack,
} from '../support/containers.ts';
import { describeDemuxed, hexOf } from '../support/demuxing.ts';
import { PacketMutator } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';

const mutator = new PacketMutator([], seededRandom(2));
const PACKETS = [60, 1, 127, 128, 254, 255, 256, 1_275, ...new Array<number>(92).fill(80)].map((size) =>
  mutator.randomBytes(size),
);
const HEXES = PACKETS.map(hexOf);
const SIMPLE_BLOCK = 0xa3;
const simple = (packet: Uint8Array): Buffer => element(SIMPLE_BLOCK, webmBlock(packet));
const SIMPLE_BLOCKS = PACKETS.map(simple);

function demux(bytes: Uint8Array, sizes: readonly number[] = [bytes.length]): string[] {
  return describeDemuxed(new WebmDemuxer(), cutInto(bytes, sizes));
}

/** A block with several packets, by the way they are laced. */
function laced(packets: readonly Uint8Array[], lacing: 1 | 2 | 3): Buffer {
  const sizes = packets.slice(0, -1).map(({ length }) => length);
  const heads = {
    1: sizes.flatMap((size) => [...new Array<number>(Math.floor(size / 255)).fill(255), size % 255]),
    2: [],
    // Two bytes each: 0x4000 marks that, and differences are counted from the middle of what is left.
    3: sizes.flatMap((size, i) => {
      const value = 0x4000 | (i === 0 ? size : size - (sizes[i - 1] ?? 0) + 0x1fff);
      return [value >> 8, value & 0xff];
    }),
  }[lacing];
  const content = Buffer.concat([Buffer.of(packets.length - 1, ...heads), ...packets]);
  return element(SIMPLE_BLOCK, webmBlock(content, { lacing }));
}

describe('WebM', () => {
  it('[CON1] the packets of WebM are those that an independent demuxer finds', async () => {
    for (const appendOnly of [true, false]) {
      const format = new WebMOutputFormat({ appendOnly, minimumClusterDuration: 0.25 });
      const file = await muxed(PACKETS, format, opusHead({ preSkip: 312 }));
      assert.deepEqual((await packetsByLibrary(file)).map(hexOf), HEXES);
      for (const sizes of [[file.length], [1], [7, 300]]) {
        assert.deepEqual(demux(file, sizes), ['head 312', ...HEXES]);
      }
    }
    const live = liveWebm(SIMPLE_BLOCKS);
    assert.deepEqual((await packetsByLibrary(live)).map(hexOf), HEXES);
    for (const sizes of [[live.length], [1]]) assert.deepEqual(demux(live, sizes), ['head 0', ...HEXES]);
  });

  it('[CON7] blocks may lie in groups, and those of other tracks are passed over', () => {
    const group = (packet: Uint8Array): Buffer =>
      element(
        0xa0,
        Buffer.concat([
          element(0xa1, webmBlock(packet)),
          element(0x9b, Buffer.of(20)),
          element(0x75a2, Buffer.of(1)),
        ]),
      );
    const video = element(SIMPLE_BLOCK, webmBlock(mutator.randomBytes(200_000), { track: 2 }));
    const tracks = webmTracks(
      webmTrack({ number: 2, type: 1, codec: 'V_VP9', head: 'none' }),
      webmTrack({ number: 3, codec: 'A_VORBIS', head: 'none' }),
      webmTrack({ number: 1 }),
      webmTrack({ number: 4 }),
    );
    const blocks = PACKETS.flatMap((packet, i) => [group(packet), ...(i % 40 === 0 ? [video] : [])]);
    const bytes = liveWebm([...blocks, element(0xa0, group(PACKETS[0] ?? video), 'open')], tracks);
    for (const sizes of [[bytes.length], [1], [65_536]]) {
      assert.deepEqual(demux(bytes, sizes), ['head 0', ...HEXES, HEXES[0]]);
    }
  });

  it('[CON7] several packets in one block are taken apart, however they are laced', () => {
    const [first = Buffer.alloc(0)] = PACKETS;
    const same = [1, 2, 3].map(() => mutator.randomBytes(90));
    const blocks = [
      laced(PACKETS.slice(0, 9), 1),
      laced(same, 2),
      laced(PACKETS.slice(0, 9), 3),
      simple(first),
    ];
    const expected = [...HEXES.slice(0, 9), ...same.map(hexOf), ...HEXES.slice(0, 9), HEXES[0]];
    assert.deepEqual(demux(liveWebm(blocks)), ['head 0', ...expected]);
    for (const lacing of [1, 2, 3]) {
      // 200 packets are promised, of sizes that cannot be.
      const content = Buffer.of(199, 255, 255, 255);
      const broken = element(SIMPLE_BLOCK, webmBlock(content, { lacing }));
      const heard = demux(liveWebm([broken, simple(first)]));
      assert.deepEqual(heard, ['head 0', hexOf(UNDECODABLE_PACKET), hexOf(first)]);
    }
  });

  it('[CON7] a recording that follows is read on, with its own header, and zeros between elements are padding', () => {
    const [one, other] = [
      liveWebm(SIMPLE_BLOCKS.slice(0, 30)),
      liveWebm(SIMPLE_BLOCKS.slice(30), webmTracks(webmTrack({ number: 1, head: opusHead({ preSkip: 9 }) }))),
    ];
    const heard = demux(Buffer.concat([one, Buffer.alloc(500), other]));
    assert.deepEqual(heard, ['head 0', ...HEXES.slice(0, 30), 'head 9', ...HEXES.slice(30)]);
  });

  it('[CON9] what is skipped is never kept, however long it is', () => {
    const demuxer = new WebmDemuxer();
    assert.deepEqual(describeDemuxed(demuxer, [liveWebm([])]), ['head 0']);
    const attachments = element(0x1941a469, Buffer.alloc(0), WEBM_SKIPPED_MAX_BYTES);
    const slice = new Uint8Array(65_536).fill(0xa3);
    const messages = [
      attachments,
      ...new Array<Uint8Array>(WEBM_SKIPPED_MAX_BYTES / slice.length).fill(slice),
    ];
    for (const message of messages) {
      assert.deepEqual(describeDemuxed(demuxer, [message]), []);
      assert(demuxer.save().length < 200);
    }
    assert.deepEqual(describeDemuxed(demuxer, [simple(PACKETS[0] ?? slice)]), HEXES.slice(0, 1));
  });

  it('[CON8] no header, another codec, more channels, encryption and damage are refused with the reason', () => {
    const blocks = SIMPLE_BLOCKS.slice(0, 5);
    const withTrack = (track: WebmTrack): Buffer => liveWebm(blocks, webmTracks(webmTrack(track)));
    const without = (bytes: Uint8Array): Buffer =>
      Buffer.concat([WEBM_HEAD, element(0x18538067, Buffer.alloc(0), 'open'), bytes]);
    const cases: readonly (readonly [bytes: Uint8Array, reason: string])[] = [
      [liveWebm(SIMPLE_BLOCKS).subarray(WEBM_HEAD.length), 'headerless'],
      [element(0x1f43b675, Buffer.alloc(0), 'open'), 'headerless'],
      [without(SIMPLE_BLOCKS[0] ?? Buffer.alloc(0)), 'headerless'],
      [withTrack({ codec: 'A_VORBIS' }), 'codec'],
      [withTrack({ type: 1, codec: 'V_VP8' }), 'codec'],
      [liveWebm(blocks, webmTracks()), 'codec'],
      [withTrack({ extra: element(0x6d80, Buffer.alloc(4)) }), 'codec'],
      [withTrack({ head: opusHead({ channels: 6, family: 1 }) }), 'channels'],
      [withTrack({ head: Buffer.from('no head') }), 'damaged'],
      [without(element(0x1654ae6b, Buffer.alloc(0), 'open')), 'damaged'],
      [without(element(0x1654ae6b, Buffer.alloc(0), WEBM_TRACKS_MAX_BYTES + 1)), 'damaged'],
      [without(element(0x1c53bb6b, Buffer.alloc(0), 'open')), 'damaged'],
      [without(element(0x1c53bb6b, Buffer.alloc(0), WEBM_SKIPPED_MAX_BYTES + 1)), 'damaged'],
      [without(element(0x1c53bb6b, Buffer.alloc(0), 2 ** 55)), 'damaged'],
      [liveWebm([element(SIMPLE_BLOCK, webmBlock(Buffer.alloc(0)), WEBM_BLOCK_MAX_BYTES + 1)]), 'damaged'],
      [liveWebm([element(SIMPLE_BLOCK, Buffer.alloc(0))]), 'damaged'],
      [liveWebm([Buffer.of(0x01, 2, 3, 4, 5, 6)]), 'damaged'],
      [liveWebm([Buffer.of(0xec, 0)]), 'damaged'],
    ];
    for (const [bytes, reason] of cases) assert.equal(demux(bytes).at(-1), `refused ${reason}`);
    assert.deepEqual(demux(withTrack({ head: 'none' })), ['head 0', ...HEXES.slice(0, 5)]);
  });

  it('[CON9] elements within elements, as deep as they like, are read in one pass', () => {
    let nested: Uint8Array = simple(PACKETS[0] ?? Buffer.alloc(0));
    for (let depth = 0; depth < 3_000; depth++) nested = element(depth % 2 === 0 ? 0xa0 : 0x1f43b675, nested);
    assert.deepEqual(demux(liveWebm([nested])), ['head 0', HEXES[0]]);
  });
});
