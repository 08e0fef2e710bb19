/** Ogg and WebM for tests: written by an independent library, or by hand where they are to be unusual. */
import assert from 'node:assert/strict';
import {
  BufferSource,
  BufferTarget,
  EncodedAudioPacketSource,
  EncodedPacket,
  EncodedPacketSink,
  Input,
  OGG,
  OggOutputFormat,
  Output,
  WEBM,
  WebMOutputFormat,
} from 'mediabunny';

/** Duration of the packets that are put into containers here. */
const PACKET_SECONDS = 0.02;

/** An identification header of RFC 7845 section 5.1: 16 kHz by origin, no gain. */
export function opusHead({ channels = 1, preSkip = 0, family = 0, version = 1 } = {}): Buffer {
  const head = Buffer.from([
    ...Buffer.from('OpusHead'),
    version,
    channels,
    0,
    0,
    0x80,
    0x3e,
    0,
    0,
    0,
    0,
    family,
  ]);
  head.writeUInt16LE(preSkip, 10);
  return head;
}

/** Has the library put Opus packets of 20 ms into a container. */
export async function muxed(
  packets: readonly Uint8Array[],
  format: OggOutputFormat | WebMOutputFormat,
  head: Uint8Array = opusHead(),
): Promise<Uint8Array> {
  const target = new BufferTarget();
  const output = new Output({ format, target });
  const source = new EncodedAudioPacketSource('opus');
  output.addAudioTrack(source);
  await output.start();
  const decoderConfig = { codec: 'opus', sampleRate: 48_000, numberOfChannels: 1, description: head };
  for (const [i, packet] of packets.entries()) {
    const encoded = new EncodedPacket(packet, 'key', i * PACKET_SECONDS, PACKET_SECONDS);
    await source.add(encoded, { decoderConfig });
  }
  await output.finalize();
  assert(target.buffer !== null);
  return new Uint8Array(target.buffer);
}

/** The packets that the library finds. */
export async function packetsByLibrary(container: Uint8Array): Promise<Uint8Array[]> {
  const input = new Input({ source: new BufferSource(container.slice()), formats: [OGG, WEBM] });
  try {
    const track = await input.getPrimaryAudioTrack();
    assert(track !== null);
    const packets: Uint8Array[] = [];
    for await (const packet of new EncodedPacketSink(track).packets()) packets.push(packet.data);
    return packets;
  } finally {
    input.dispose();
  }
}

export interface OggPage {
  readonly flags?: number;
  readonly serial?: number;
  readonly sequence: number;
  /** Whole packets; `rest` is the beginning of one that goes on on the next page, a multiple of 255 bytes. */
  readonly packets: readonly Uint8Array[];
  readonly rest?: Uint8Array;
}

/** A page with its right checksum. */
export function oggPage({
  flags = 0,
  serial = 7,
  sequence,
  packets,
  rest = Buffer.alloc(0),
}: OggPage): Buffer {
  assert.equal(rest.length % 255, 0);
  const segments = packets.flatMap(({ length }) => [
    ...new Array<number>(Math.floor(length / 255)).fill(255),
    length % 255,
  ]);
  segments.push(...new Array<number>(rest.length / 255).fill(255));
  assert(segments.length <= 255);
  const page = Buffer.concat([Buffer.alloc(27), Buffer.from(segments), ...packets, rest]);
  page.write('OggS', 'latin1');
  page[5] = flags;
  page.writeUInt32LE(serial, 14);
  page.writeUInt32LE(sequence, 18);
  page[26] = segments.length;
  page.writeUInt32LE(oggChecksum(page), 22);
  return page;
}

/** CRC-32 bit by bit, as RFC 3533 describes it. */
function oggChecksum(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  }
  return crc >>> 0;
}

/** The pages of one stream: header, tags, then so many packets on each. */
export function oggPages(
  packets: readonly Uint8Array[],
  { perPage = 10, serial = 7, head = opusHead(), tags = Buffer.from('OpusTags\0\0\0\0\0\0\0\0') } = {},
): Buffer[] {
  const pages = [
    oggPage({ flags: 2, serial, sequence: 0, packets: [head] }),
    oggPage({ serial, sequence: 1, packets: [tags] }),
  ];
  for (let start = 0; start < packets.length; start += perPage) {
    pages.push(oggPage({ serial, sequence: pages.length, packets: packets.slice(start, start + perPage) }));
  }
  return pages;
}

/** An element; `size` is what its head claims, `open` that it claims nothing. */
export function element(id: number, content: Uint8Array, size: number | 'open' = content.length): Buffer {
  const idBytes = Buffer.from(id.toString(16).padStart(2, '0'), 'hex');
  const head = Buffer.alloc(8);
  if (size === 'open') head.fill(0xff).writeUInt8(0x01, 0);
  else head.writeBigUInt64BE(BigInt(size) | (1n << 56n));
  return Buffer.concat([idBytes, head, content]);
}

export const WEBM_HEAD = element(0x1a45dfa3, element(0x4282, Buffer.from('webm')));

export interface WebmTrack {
  readonly number?: number;
  /** 1 video, 2 audio (default). */
  readonly type?: number;
  readonly codec?: string;
  /** Default a plain one; `none` leaves it out. */
  readonly head?: Uint8Array | 'none';
  readonly extra?: Uint8Array;
}

/** An entry of the list of tracks; by default Opus. */
export function webmTrack(track: WebmTrack = {}): Buffer {
  const { number = 1, type = 2, codec = 'A_OPUS', head = opusHead(), extra = Buffer.alloc(0) } = track;
  return element(
    0xae,
    Buffer.concat([
      element(0xd7, Buffer.of(number)),
      element(0x83, Buffer.of(type)),
      element(0x86, Buffer.from(codec)),
      ...(head === 'none' ? [] : [element(0x63a2, head)]),
      extra,
    ]),
  );
}

/** The list of tracks. */
export function webmTracks(...entries: readonly Uint8Array[]): Buffer {
  return element(0x1654ae6b, Buffer.concat(entries));
}

/** The content of a block of a track below 127; `lacing` as its flags say it, with `packets` already laced. */
export function webmBlock(content: Uint8Array, { track = 1, lacing = 0 } = {}): Buffer {
  return Buffer.concat([Buffer.of(0x80 | track, 0, 0, lacing << 1), content]);
}

/** A live stream: everything that holds packets has its length left open. */
export function liveWebm(
  blocks: readonly Uint8Array[],
  tracks: Uint8Array = webmTracks(webmTrack()),
): Buffer {
  return Buffer.concat([
    WEBM_HEAD,
    element(0x18538067, element(0x1549a966, element(0x2ad7b1, Buffer.of(1))), 'open'),
    tracks,
    ...blocks.flatMap((block, i) =>
      i % 25 === 0 ? [element(0x1f43b675, element(0xe7, Buffer.of(0)), 'open'), block] : [block],
    ),
  ]);
}

/** Cuts bytes into messages of these sizes, in turns. */
export function cutInto(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let start = 0, i = 0; start < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    messages.push(bytes.slice(start, start + size));
    start += size;
  }
  return messages;
}
