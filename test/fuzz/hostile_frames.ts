/** WebSocket frames that no client may send, and random ones: RFC 6455 sections 5.1 to 5.6 and 7.4. */

interface FrameParts {
  readonly opcode: number;
  readonly payload?: Uint8Array;
  readonly isFinal?: boolean;
  /** The three reserved bits, 0–7. */
  readonly reserved?: number;
  readonly isMasked?: boolean;
  /** What the head says, if that is not the truth. */
  readonly announcedBytes?: number;
}

const MASK = Uint8Array.of(0x12, 0x34, 0x56, 0x78);

/** A frame with exactly these parts, legal or not. */
export function frameOf(parts: FrameParts): Buffer {
  const { opcode, payload = new Uint8Array(0), isFinal = true, reserved = 0, isMasked = true } = parts;
  const bytes = parts.announcedBytes ?? payload.length;
  const first = (isFinal ? 0x80 : 0) | (reserved << 4) | opcode;
  const head = [first, (isMasked ? 0x80 : 0) | (bytes < 126 ? bytes : bytes < 65_536 ? 126 : 127)];
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(bytes));
  if (bytes >= 126) head.push(...length.subarray(bytes < 65_536 ? 6 : 0));
  if (!isMasked) return Buffer.concat([Uint8Array.from(head), payload]);
  const masked = payload.map((byte, i) => byte ^ (MASK[i % 4] ?? 0));
  return Buffer.concat([Uint8Array.from(head), MASK, masked]);
}

export interface HostileFrames {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** One of each kind of violation; every one must cost its sender the connection. */
export const HOSTILE_FRAMES: readonly HostileFrames[] = [
  {
    name: 'unmasked',
    bytes: frameOf({ opcode: TEXT, payload: text('{"type":"keepAlive"}'), isMasked: false }),
  },
  ...[1, 2, 4, 7].map((reserved) => ({
    name: `reserved bits ${reserved}`,
    bytes: frameOf({ opcode: TEXT, payload: text('{}'), reserved }),
  })),
  ...[3, 7, 11, 15].map((opcode) => ({ name: `opcode ${opcode}`, bytes: frameOf({ opcode }) })),
  { name: 'bad UTF-8', bytes: frameOf({ opcode: TEXT, payload: Uint8Array.of(0xc3, 0x28) }) },
  { name: 'UTF-8 surrogate', bytes: frameOf({ opcode: TEXT, payload: Uint8Array.of(0xed, 0xa0, 0x80) }) },
  { name: 'cut UTF-8', bytes: frameOf({ opcode: TEXT, payload: Uint8Array.of(0xe2, 0x82) }) },
  { name: 'ping of 126 bytes', bytes: frameOf({ opcode: PING, payload: new Uint8Array(126) }) },
  { name: 'pong of 60,000 bytes', bytes: frameOf({ opcode: PONG, payload: new Uint8Array(60_000) }) },
  { name: 'close of 200 bytes', bytes: frameOf({ opcode: CLOSE, payload: new Uint8Array(200) }) },
  { name: 'ping in two frames', bytes: frameOf({ opcode: PING, isFinal: false }) },
  { name: 'close of one byte', bytes: frameOf({ opcode: CLOSE, payload: Uint8Array.of(3) }) },
  { name: 'close code 1005', bytes: frameOf({ opcode: CLOSE, payload: Uint8Array.of(3, 0xed) }) },
  { name: 'continuation of nothing', bytes: frameOf({ opcode: 0, payload: text('x') }) },
  {
    name: 'message in a message',
    bytes: Buffer.concat([
      frameOf({ opcode: TEXT, payload: text('{'), isFinal: false }),
      frameOf({ opcode: BINARY, payload: text('}') }),
    ]),
  },
  { name: '16 MB announced', bytes: frameOf({ opcode: BINARY, announcedBytes: 16 * 1_024 * 1_024 }) },
  { name: '2^53 bytes announced', bytes: frameOf({ opcode: BINARY, announcedBytes: 2 ** 53 }) },
];

/** Random bytes, half of the time behind a head that is legal, so that the parser gets further. */
export function randomFrames(random: () => number, maxBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < maxBytes) {
    const payload = Uint8Array.from({ length: Math.floor(random() * 120) }, () => Math.floor(random() * 256));
    const opcode = [0, TEXT, BINARY, CLOSE, PING, PONG][Math.floor(random() * 6)] ?? TEXT;
    const part = random() < 0.5 ? payload : frameOf({ opcode, payload, isFinal: random() < 0.7 });
    parts.push(part);
    bytes += part.length + 1;
  }
  return Buffer.concat(parts);
}
