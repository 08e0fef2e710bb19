import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { OggOutputFormat } from 'mediabunny';
import { OGG_LOST_MAX_BYTES } from '../../pipeline/limits.ts';
import { OggDemuxer } from '../../pipeline/codecs/ogg_demuxer.ts';
import { UNDECODABLE_PACKET } from '../../pipeline/codecs/opus_packet.ts';
import { cutInto, muxed, oggPage, oggPages, opusHead, packetsByLibrary } from '../support/containers.ts';
import { PacketMutator } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import { describeDemuxed, hexOf } from '../support/demuxing.ts';

const mutator = new PacketMutator([], seededRandom(1));
/** Sizes around those at which segments end. */
const PACKETS = [60, 1, 254, 255, 256, 509, 510, 511, 1_275, ...new Array<number>(40).fill(80)].map((size) =>
  mutator.randomBytes(size),
);
const LOST = hexOf(UNDECODABLE_PACKET);

function demux(bytes: Uint8Array, sizes: readonly number[] = [bytes.length]): string[] {
  return describeDemuxed(new OggDemuxer(), cutInto(bytes, sizes));
}

describe('Ogg', () => {
  let file: Uint8Array = new Uint8Array(0);
  before(async () => {
    file = await muxed(
      PACKETS,
      new OggOutputFormat({ maximumPageDuration: 0.2 }),
      opusHead({ preSkip: 312 }),
    );
  });

  it('[CON1] the packets of Ogg are those that an independent demuxer finds', async () => {
    const found = await packetsByLibrary(file);
    assert.deepEqual(found.map(hexOf), PACKETS.map(hexOf));
    for (const sizes of [[file.length], [1], [7, 300]]) {
      assert.deepEqual(demux(file, sizes), ['head 312', ...PACKETS.map(hexOf)]);
    }
    const own = Buffer.concat(oggPages(PACKETS, { perPage: 3 }));
    assert.deepEqual((await packetsByLibrary(own)).map(hexOf), PACKETS.map(hexOf));
    assert.deepEqual(demux(own), ['head 0', ...PACKETS.map(hexOf)]);
  });

  it('[CON6] packets go on over pages, tags are as long as they like, streams beside are passed over', () => {
    const long = mutator.randomBytes(1_275);
    const short = mutator.randomBytes(9);
    const tags = Buffer.concat([Buffer.from('OpusTags'), Buffer.alloc(255 * 700)]);
    const pages = [
      oggPage({ flags: 2, serial: 1, sequence: 0, packets: [Buffer.from('\x80theora')] }),
      oggPage({ flags: 2, sequence: 0, packets: [opusHead()] }),
      oggPage({ sequence: 1, packets: [], rest: tags.subarray(0, 255 * 255) }),
      oggPage({ flags: 1, sequence: 2, packets: [], rest: tags.subarray(255 * 255, 255 * 510) }),
      oggPage({ serial: 1, sequence: 1, packets: [mutator.randomBytes(3_000)] }),
      oggPage({ flags: 1, sequence: 3, packets: [tags.subarray(255 * 510)] }),
      oggPage({ sequence: 4, packets: [short], rest: long.subarray(0, 510) }),
      oggPage({ serial: 1, sequence: 2, packets: [mutator.randomBytes(3_000)] }),
      oggPage({ flags: 1, sequence: 5, packets: [long.subarray(510), Buffer.alloc(0), short] }),
    ];
    assert.deepEqual(demux(Buffer.concat(pages)), ['head 0', ...[short, long, short].map(hexOf)]);
  });

  it('[CON6] a stream that follows goes on, another codec that follows is refused', () => {
    const first = oggPages(PACKETS.slice(0, 12), { serial: 1, head: opusHead({ preSkip: 100 }) });
    const second = oggPages(PACKETS.slice(12, 15), { serial: 2, head: opusHead({ preSkip: 200 }) });
    const chain = Buffer.concat([...first, ...second]);
    const heard = [...PACKETS.slice(0, 12), ...PACKETS.slice(12, 15)].map(hexOf);
    assert.deepEqual(demux(chain), ['head 100', ...heard.slice(0, 12), 'head 200', ...heard.slice(12)]);
    const other = [
      oggPage({ flags: 2, serial: 3, sequence: 0, packets: [Buffer.from('\x01vorbis')] }),
      oggPage({ serial: 3, sequence: 1, packets: [Buffer.from('\x03vorbis')] }),
    ];
    assert.deepEqual(demux(Buffer.concat([...first, ...other])).at(-1), 'refused codec');
  });

  it('[CON5] a damaged or lost page costs one concealed packet, whatever is lost of it', () => {
    const pages = oggPages(PACKETS.slice(0, 30), { perPage: 10 });
    const [head, tags, one, two, three] = pages;
    assert(
      head !== undefined &&
        tags !== undefined &&
        one !== undefined &&
        two !== undefined &&
        three !== undefined,
    );
    const [a, , c] = [0, 10, 20].map((start) => PACKETS.slice(start, start + 10).map(hexOf));
    const expected = ['head 0', ...(a ?? []), LOST, ...(c ?? [])];
    const flipped = Buffer.from(two);
    flipped.writeUInt8(flipped.readUInt8(200) ^ 1, 200);
    // A page that claims to be longer than it is: those behind it are found nevertheless.
    const longer = Buffer.from(two);
    longer.fill(255, 27, 37);
    const trailing = Buffer.alloc(3_000);
    for (const [name, damaged] of Object.entries({
      gone: Buffer.alloc(0),
      flipped,
      longer,
      zeros: Buffer.alloc(two.length),
    })) {
      for (const size of [1, 10_000]) {
        const bytes = Buffer.concat([head, tags, one, damaged, three, trailing]);
        assert.deepEqual(demux(bytes, [size]), expected, name);
      }
    }
    // What lies between pages is no loss.
    const junk = Buffer.concat([head, tags, Buffer.from('Ogg OggOgg'), one, Buffer.from('O'), two]);
    assert.deepEqual(demux(junk), ['head 0', ...PACKETS.slice(0, 20).map(hexOf)]);
  });

  it('[CON5] a packet of which a page is lost is one concealed packet', () => {
    const long = mutator.randomBytes(1_100);
    const [short = Buffer.alloc(0)] = PACKETS;
    const pages = oggPages([]);
    const parts = [
      oggPage({ sequence: 2, packets: [short], rest: long.subarray(0, 510) }),
      oggPage({ flags: 1, sequence: 3, packets: [], rest: long.subarray(510, 765) }),
      oggPage({ flags: 1, sequence: 4, packets: [long.subarray(765), short] }),
    ];
    for (const lost of [1, 2]) {
      const kept = parts.filter((_, i) => i !== lost);
      const after = oggPage({ sequence: 5, packets: [short] });
      const heard = demux(Buffer.concat([...pages, ...kept, after]));
      const end = lost === 1 ? [LOST, hexOf(short), hexOf(short)] : [LOST, hexOf(short)];
      assert.deepEqual(heard, ['head 0', hexOf(short), ...end]);
    }
  });

  it('[CON5] more damage than good pages make up for is refused; so is a header that is damaged', () => {
    const pages = Buffer.concat(oggPages(PACKETS));
    const junk = Buffer.alloc(OGG_LOST_MAX_BYTES + 1);
    assert.equal(demux(Buffer.concat([pages, junk, Buffer.alloc(27)])).at(-1), 'refused damaged');
    const flipped = Buffer.from(pages);
    flipped.writeUInt8(2, 40);
    assert.deepEqual(demux(flipped), ['refused headerless']);
  });

  it('[CON5] pages within pages cost work in proportion to what is good', () => {
    // Every 27 bytes a header that claims 65 KB, none of which is one.
    const header = Buffer.alloc(27);
    header.write('OggS', 'latin1');
    header[26] = 255;
    const nested = Buffer.concat(Array.from({ length: 20_000 }, () => header));
    const startedAt = process.cpuUsage();
    const heard = demux(Buffer.concat([...oggPages(PACKETS), nested, Buffer.alloc(65_536, 255)]));
    const { user } = process.cpuUsage(startedAt);
    assert.equal(heard.at(-1), 'refused damaged');
    assert(user < 200_000, `${user} µs`);
  });

  it('[CON8] no header, another codec, more channels and another mapping are refused with the reason', () => {
    const [, tags, audio] = oggPages(PACKETS);
    assert(tags !== undefined && audio !== undefined);
    const withHead = (packet: Uint8Array): Buffer =>
      Buffer.concat([oggPage({ flags: 2, sequence: 0, packets: [packet] }), tags, audio]);
    const vorbis = Buffer.concat([Buffer.from('\x01vorbis'), Buffer.alloc(23)]);
    const cases: readonly (readonly [bytes: Uint8Array, reason: string])[] = [
      [audio, 'headerless'],
      [withHead(vorbis), 'codec'],
      [withHead(Buffer.from('Speex   ')), 'codec'],
      [withHead(Buffer.from('\x7fFLAC')), 'codec'],
      [withHead(opusHead({ channels: 0 })), 'channels'],
      [withHead(opusHead({ channels: 3 })), 'channels'],
      [withHead(opusHead({ channels: 6, family: 1 })), 'channels'],
      [withHead(opusHead({ channels: 2, family: 1 })), 'channels'],
      [withHead(opusHead({ version: 16 })), 'damaged'],
      [withHead(opusHead().subarray(0, 18)), 'damaged'],
      [Buffer.concat([oggPage({ flags: 2, sequence: 0, packets: [opusHead()] }), audio]), 'damaged'],
    ];
    for (const [bytes, reason] of cases) assert.equal(demux(bytes).at(-1), `refused ${reason}`);
    assert.deepEqual(demux(withHead(opusHead({ channels: 2, version: 2 })))[0], 'head 0');
  });
});
