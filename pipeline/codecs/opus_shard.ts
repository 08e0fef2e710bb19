/**
 * Opus decoders that share one WebAssembly instance. The memory of an instance is the blast radius of a fault in
 * the codec: a trap ends the instance, and with it at most `DECODERS_PER_SHARD_COUNT` decoder states.
 */
import assert from 'node:assert/strict';
import { SAMPLE_RATE_HZ, msToSamples } from '../audio.ts';
import { LimitError } from '../errors.ts';
import { DECODERS_PER_SHARD_COUNT, OPUS_MESSAGE_MAX_BYTES, OPUS_PACKET_MAX_MS } from '../limits.ts';
import type { OpusExports, OpusModule } from './opus_module.ts';

const CHANNEL_COUNT = 1;
const PCM_MAX_SAMPLES = msToSamples(OPUS_PACKET_MAX_MS);
const BYTES_PER_SAMPLE = Int16Array.BYTES_PER_ELEMENT;
/** Shortest frame; concealment comes in whole multiples of it. */
const FRAME_MIN_SAMPLES = msToSamples(2.5);

/**
 * The first four words of a decoder's state (offsets of its two halves, channels, sample rate) never change.
 * A saved state in which they differ was made by another codec.
 */
const STATE_HEADER_BYTES = 16;

/** Three packets of a voiced sound, in SILK, CELT and hybrid mode, and the hash of what they decode to. */
const CANARY_PACKETS = [
  'SwGzv+dNVJA6f2zoIkjiEuZXKFONkhP0ASfHYbPg',
  '+O+J52T/S5SGihV6SrwGm72bNouTp67pTOuO43Vm12zpjYS00NRzJVycdT4xfpS8uyC8kutNpa4xO6yr',
  'eKh+LotkmYxAnENTkn9AXDY3SOe+bBKm0xcWOV7qdicEs9bncL3V4L18bI4K/7B6yItECg83SmQ9BvrjF7BOmVIPL/Rmz+P/U+UC5a9YoUY=',
] as const;
const CANARY_HASH = 0x13ed3f3e;

/** FNV-1a, 32 bits, over the bytes of the samples in memory order. */
function hashPcm(hash: number, pcm: Int16Array): number {
  for (const byte of new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash;
}

/** One WebAssembly instance with the two buffers through which packets go in and samples come out. */
class OpusInstance {
  readonly #exports: OpusExports;
  readonly #packetPointer: number;
  readonly #pcmPointer: number;
  readonly stateBytes: number;
  #view: Uint8Array;

  constructor(module: OpusModule) {
    this.#exports = module.instantiate();
    this.#view = new Uint8Array(this.#exports.memory.buffer);
    this.stateBytes = this.#exports.opus_decoder_get_size(CHANNEL_COUNT);
    this.#packetPointer = this.#allocate(OPUS_MESSAGE_MAX_BYTES);
    this.#pcmPointer = this.#allocate(PCM_MAX_SAMPLES * BYTES_PER_SAMPLE);
  }

  /** The instance's memory; growing it detaches the old view. */
  get #memory(): Uint8Array {
    if (this.#view.buffer !== this.#exports.memory.buffer) {
      this.#view = new Uint8Array(this.#exports.memory.buffer);
    }
    return this.#view;
  }

  #allocate(bytes: number): number {
    const pointer = this.#exports.malloc(bytes);
    // libopus would write to address 0 and damage every decoder of the instance for good.
    if (pointer === 0)
      throw new LimitError('overloaded', 'No memory for another Opus decoder; try again later.', {
        retryable: true,
      });
    return pointer;
  }

  createState(): number {
    const pointer = this.#allocate(this.stateBytes);
    this.initState(pointer);
    return pointer;
  }

  initState(pointer: number): void {
    const status = this.#exports.opus_decoder_init(pointer, SAMPLE_RATE_HZ, CHANNEL_COUNT);
    assert.equal(status, 0, 'libopus refused to initialise a 16 kHz mono decoder');
  }

  freeState(pointer: number): void {
    this.#exports.free(pointer);
  }

  copyState(pointer: number): Uint8Array {
    return this.#memory.slice(pointer, pointer + this.stateBytes);
  }

  writeState(pointer: number, state: Uint8Array): void {
    assert.equal(state.length, this.stateBytes, 'the saved Opus state has the wrong length');
    const header = this.#memory.subarray(pointer, pointer + STATE_HEADER_BYTES);
    assert.deepEqual(
      Buffer.from(state.subarray(0, STATE_HEADER_BYTES)),
      Buffer.from(header),
      'the saved Opus state was made by another codec',
    );
    this.#memory.set(state, pointer);
  }

  /** A copy of the decoded samples, or `undefined` if libopus refused. An empty packet conceals `maxSamples`. */
  decode(pointer: number, packet: Uint8Array, maxSamples: number): Int16Array | undefined {
    const packetPointer = packet.length === 0 ? 0 : this.#packetPointer;
    if (packet.length > 0) this.#memory.set(packet, packetPointer);
    const samples = this.#exports.opus_decode(
      pointer,
      packetPointer,
      packet.length,
      this.#pcmPointer,
      maxSamples,
      0,
    );
    if (samples <= 0) return undefined;
    assert(samples <= maxSamples, 'libopus wrote past the end of its output');
    return new Int16Array(this.#memory.buffer, this.#pcmPointer, samples).slice();
  }

  /** Decodes known packets and compares the result: is this instance the codec that was tested? */
  assertSane(): void {
    const pointer = this.createState();
    let hash = 0x811c9dc5;
    for (const packet of CANARY_PACKETS) {
      const pcm = this.decode(pointer, Buffer.from(packet, 'base64'), PCM_MAX_SAMPLES);
      assert(pcm !== undefined, 'the Opus codec refused a known packet');
      hash = hashPcm(hash, pcm);
    }
    this.freeState(pointer);
    assert.equal(hash, CANARY_HASH, 'the Opus codec decodes a known packet to the wrong samples');
  }
}

interface Place {
  pointer: number;
  /** The state was lost to another decoder's trap and its owner does not know yet. */
  lost: boolean;
}

/** One Opus stream's decoder inside a shard. Its methods must not be called after `close`. */
export interface ShardDecoder {
  /**
   * Decodes one packet that `readOpusPacket` accepted to 16 kHz mono PCM, owned by the caller. `undefined` if libopus
   * refused it, or trapped; after a trap this decoder, like all others of its shard, is as new.
   */
  decode(packet: Uint8Array): Int16Array | undefined;
  /** Invents audio that goes on from what was decoded last; `samples` is a multiple of 40, at most 1,920. */
  conceal(samples: number): Int16Array | undefined;
  /** Makes the decoder as new. */
  reset(): void;
  /** True once after the state was lost to a trap in another decoder of the shard. */
  takeLost(): boolean;
  /** The decoder's memory: it holds no address but those of the module's constants, so any instance can go on with it. */
  copyState(): Uint8Array;
  /** Takes over a copied state. Throws `AssertionError` if the same build of the codec cannot have made it. */
  writeState(state: Uint8Array): void;
  /** Frees the decoder; idempotent. */
  close(): void;
}

/** What a shard is made of. */
export interface OpusShardParts {
  readonly module: OpusModule;
  /** Called after a trap, when the shard has been rebuilt, with what was thrown. */
  readonly onRebuilt?: (cause: unknown) => void;
}

/** Up to `DECODERS_PER_SHARD_COUNT` decoders in one WebAssembly instance, which is replaced when it traps. */
export class OpusShard {
  readonly #parts: OpusShardParts;
  readonly #places = new Set<Place>();
  #instance: OpusInstance;

  /** Throws if the codec does not decode known packets as it should. */
  constructor(parts: OpusShardParts) {
    this.#parts = parts;
    this.#instance = new OpusInstance(parts.module);
    this.#instance.assertSane();
  }

  get isFull(): boolean {
    return this.#places.size >= DECODERS_PER_SHARD_COUNT;
  }

  get decoderCount(): number {
    return this.#places.size;
  }

  /** Throws `LimitError` (`overloaded`) when the shard is full or out of memory. */
  create(): ShardDecoder {
    if (this.isFull) {
      throw new LimitError(
        'overloaded',
        `An Opus shard holds at most ${DECODERS_PER_SHARD_COUNT} decoders; try again later.`,
        { retryable: true },
      );
    }
    const place: Place = { pointer: this.#instance.createState(), lost: false };
    this.#places.add(place);
    return this.#decoderAt(place);
  }

  #decoderAt(place: Place): ShardDecoder {
    const assertOpen = (): void => {
      assert(this.#places.has(place), 'an Opus decoder was used after it was closed');
    };
    return {
      decode: (packet) => {
        assertOpen();
        // An empty packet would be taken for a request to invent as much audio as the buffer holds.
        assert(packet.length > 0 && packet.length <= OPUS_MESSAGE_MAX_BYTES, 'not an Opus packet');
        return this.#run(place, packet, PCM_MAX_SAMPLES);
      },
      conceal: (samples) => {
        assertOpen();
        assert(samples > 0 && samples <= PCM_MAX_SAMPLES && samples % FRAME_MIN_SAMPLES === 0);
        return this.#run(place, new Uint8Array(0), samples);
      },
      reset: () => {
        assertOpen();
        this.#instance.initState(place.pointer);
      },
      takeLost: () => {
        const { lost } = place;
        place.lost = false;
        return lost;
      },
      copyState: () => {
        assertOpen();
        return this.#instance.copyState(place.pointer);
      },
      writeState: (state) => {
        assertOpen();
        this.#instance.writeState(place.pointer, state);
      },
      close: () => {
        if (this.#places.delete(place)) this.#instance.freeState(place.pointer);
      },
    };
  }

  #run(place: Place, packet: Uint8Array, maxSamples: number): Int16Array | undefined {
    try {
      return this.#instance.decode(place.pointer, packet, maxSamples);
    } catch (cause) {
      // A trap leaves the instance's stack and heap in an unknown state: nothing of it may be used again, not
      // even the other decoders' states, because the fault may have written into them.
      this.#rebuild(place, cause);
      return undefined;
    }
  }

  #rebuild(trapped: Place, cause: unknown): void {
    this.#instance = new OpusInstance(this.#parts.module);
    this.#instance.assertSane();
    for (const place of this.#places) {
      place.pointer = this.#instance.createState();
      // The owner of the packet that trapped is told by the packet's own fault.
      place.lost = place !== trapped;
    }
    this.#parts.onRebuilt?.(cause);
  }
}
