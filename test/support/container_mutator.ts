/** Damages Ogg, WebM and WAV streams the ways a network, a bug or an attacker does. */
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { element, liveWebm, oggPages, opusHead, webmBlock } from './containers.ts';
import { makeSignal } from './opus_material.ts';
import { wavOf } from './wav.ts';

/** Elements that are made to claim what they do not hold: masters, tracks, blocks, and some that are skipped. */
const ELEMENT_IDS = [
  0x18538067, 0x1f43b675, 0x1654ae6b, 0xa0, 0xa1, 0xa3, 0xae, 0xec, 0x1c53bb6b, 0x1a45dfa3,
];
/** Sizes at which something is thought to happen. */
const SIZES = [0, 1, 127, 65_535, 65_536, 65_537, 16_777_216, 16_777_217, 2 ** 31, 2 ** 32, 2 ** 53 - 1];
const DEPTH_MAX = 300;

export interface MutatedStream {
  readonly kind: string;
  readonly bytes: Uint8Array;
}

/** Whole streams, short so that there can be many, each written in another way. */
function makeCorpus(): readonly Uint8Array[] {
  const pcm = makeSignal({ kind: 'voiced', samples: 200, sampleRateHz: 16_000 });
  const packets = encodeOpus(makeSignal({ kind: 'voiced', samples: 1_600, sampleRateHz: 16_000 }));
  const blocks = packets.map((packet) => element(0xa3, webmBlock(packet)));
  const head = opusHead({ preSkip: 312 });
  const [first = Buffer.alloc(0), ...rest] = packets;
  return [
    Buffer.concat(oggPages(packets, { head, perPage: 3 })),
    Buffer.concat([...oggPages([first], { serial: 1 }), ...oggPages(rest, { serial: 2, perPage: 20 })]),
    liveWebm(blocks),
    liveWebm(packets.map((packet) => element(0xa0, element(0xa1, webmBlock(packet))))),
    liveWebm(
      [1, 2, 3].map((lacing) =>
        element(0xa3, webmBlock(Buffer.concat([Buffer.of(3, 5, 5, 5), ...rest]), { lacing })),
      ),
    ),
    wavOf(pcm, { before: [['LIST', 31]], dataBytes: 0 }),
    wavOf(pcm, { tag: 3, bitsPerSample: 32, channels: 2, sampleRateHz: 44_100, isExtensible: true }),
    wavOf(new Uint8Array(pcm.buffer), { tag: 7, bitsPerSample: 8, sampleRateHz: 8_000 }),
  ];
}

export class ContainerMutator {
  readonly #random: () => number;
  readonly #corpus = makeCorpus();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** An integer in [0, end). */
  below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new Error('nothing to choose from');
    return choice;
  }

  next(): MutatedStream {
    const draw = this.#random();
    if (draw < 0.05) return { kind: 'whole', bytes: this.#whole() };
    if (draw < 0.35) return { kind: 'bits flipped', bytes: this.#flipped(this.#whole()) };
    if (draw < 0.45) return { kind: 'cut', bytes: this.#part(this.#whole()) };
    if (draw < 0.6)
      return {
        kind: 'spliced',
        bytes: Buffer.concat([this.#part(this.#whole()), this.#part(this.#whole())]),
      };
    if (draw < 0.75) return { kind: 'sizes', bytes: this.#resized(this.#whole()) };
    if (draw < 0.85) return { kind: 'nested', bytes: this.#nested() };
    if (draw < 0.95) return { kind: 'random behind a good head', bytes: this.#filled(this.#whole()) };
    return { kind: 'random', bytes: this.#noise(this.below(2_000)) };
  }

  #whole(): Uint8Array {
    return this.pick(this.#corpus);
  }

  #noise(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  #flipped(bytes: Uint8Array): Uint8Array {
    const flipped = Uint8Array.from(bytes);
    // Half of the time in the headers, where it matters most.
    const end = this.#random() < 0.5 ? flipped.length : Math.min(200, flipped.length);
    for (let flips = 1 + this.below(8); flips > 0; flips--) {
      const index = this.below(end);
      flipped[index] = (flipped[index] ?? 0) ^ (1 << this.below(8));
    }
    return flipped;
  }

  #part(bytes: Uint8Array): Uint8Array {
    const start = this.#random() < 0.5 ? 0 : this.below(bytes.length);
    return bytes.subarray(start, start + this.below(bytes.length - start + 1));
  }

  /** Somewhere in it four bytes become a number that may be a size, or an element claims one. */
  #resized(bytes: Uint8Array): Uint8Array {
    const size = this.pick(SIZES);
    const at = this.below(bytes.length);
    if (this.#random() < 0.5) {
      const resized = Buffer.from(bytes);
      if (at + 4 <= resized.length) resized.writeUInt32LE(size % 2 ** 32, at);
      return resized;
    }
    const claim = element(this.pick(ELEMENT_IDS), Buffer.alloc(0), this.#random() < 0.2 ? 'open' : size);
    return Buffer.concat([bytes.subarray(0, at), claim, bytes.subarray(at)]);
  }

  /** Elements within elements, or pages within a page, behind a good beginning. */
  #nested(): Uint8Array {
    const whole = this.#whole();
    const head = whole.subarray(0, this.below(whole.length));
    const depth = this.below(DEPTH_MAX);
    const page = Buffer.alloc(27, this.below(256));
    page.write('OggS\0', 'latin1');
    const layers = Array.from({ length: depth }, () => {
      return this.#random() < 0.3 ? page : element(this.pick(ELEMENT_IDS), Buffer.alloc(0), this.pick(SIZES));
    });
    return Buffer.concat([head, ...layers, whole]);
  }

  #filled(bytes: Uint8Array): Uint8Array {
    return Buffer.concat([bytes.subarray(0, this.below(bytes.length)), this.#noise(this.below(2_000))]);
  }
}
