/** One session's Opus: each message is one packet. Decides what to do when it is not. */
import assert from 'node:assert/strict';
import { msToSamples } from '../audio.ts';
import { findContainer } from './container_magic.ts';
import type { AudioDecoder, DecodedAudio } from '../contracts.ts';
import { OPUS_FAULT_RUN_MAX_COUNT } from '../limits.ts';
import { OpusEvidence } from './opus_evidence.ts';
import type { OpusBuild } from './opus_module.ts';
import { readOpusPacket } from './opus_packet.ts';
import type { ShardDecoder } from './opus_shard.ts';
import { refusalCode, refusalOf, refused, type Refusal } from '../refusal.ts';

/** Concealed for a packet that came before any good one. */
const FIRST_CONCEALMENT_SAMPLES = msToSamples(20);

const SNAPSHOT_VERSION = 1;
const SNAPSHOT_KIND = 'O'.charCodeAt(0);
const BUILDS: readonly OpusBuild[] = ['simd', 'plain'];
/** version, kind, build, flags, faults in a row, refusal, last good duration (u16 LE), evidence; then libopus's state. */
const HEADER_BYTES = 8 + OpusEvidence.SAVED_BYTES;
const FLAG_LOST = 1;
const FLAG_STARTED = 2;
const REFUSAL_AT = 5;

/** What an Opus decoder is made of; it owns `decoder` and closes it. */
export interface OpusDecoderParts {
  readonly decoder: ShardDecoder;
  readonly build: OpusBuild;
  /** Called once, when the decoder has been closed. */
  readonly onClosed: () => void;
}

/**
 * Decodes a session's Opus packets. A message that is no packet is concealed by as much audio as the last good
 * packet held. A stream that turns out not to be Opus, by its first bytes or by its first messages, is refused for good:
 * every message then gives `unsupported_audio` and no audio, because noise would be transcribed as words.
 * After a trap elsewhere in the shard the next message is decoded by a fresh decoder and marked `undecodable_packet`.
 */
export class OpusDecoder implements AudioDecoder {
  readonly #decoder: ShardDecoder;
  readonly #build: OpusBuild;
  readonly #onClosed: () => void;
  readonly #evidence = new OpusEvidence();
  #lastGoodSamples = FIRST_CONCEALMENT_SAMPLES;
  #faultRun = 0;
  #hasStarted = false;
  #refusal: Refusal | undefined;
  #isLost = false;
  #isClosed = false;

  constructor(parts: OpusDecoderParts) {
    this.#decoder = parts.decoder;
    this.#build = parts.build;
    this.#onClosed = parts.onClosed;
  }

  decode(message: Uint8Array): DecodedAudio {
    if (message.length === 0) return { pcm: new Int16Array(0) };
    const packet = readOpusPacket(message);
    const isFirst = !this.#hasStarted;
    this.#hasStarted = true;
    if (isFirst) this.#refusal = findContainer(message);
    if (this.#evidence.isOpen && this.#evidence.refutes(message, packet)) this.#refusal ??= 'mismatch';
    if (this.#refusal !== undefined) return refused(this.#refusal);
    this.#isLost = this.#decoder.takeLost() || this.#isLost;
    const pcm = packet === undefined ? undefined : this.#decoder.decode(message);
    return pcm === undefined ? this.#conceal() : this.#deliver(pcm);
  }

  #deliver(pcm: Int16Array): DecodedAudio {
    this.#lastGoodSamples = pcm.length;
    this.#faultRun = 0;
    if (!this.#isLost) return { pcm };
    this.#isLost = false;
    return { pcm, fault: 'undecodable_packet' };
  }

  #conceal(): DecodedAudio {
    this.#isLost = false;
    const pcm = this.#decoder.conceal(this.#lastGoodSamples) ?? new Int16Array(this.#lastGoodSamples);
    this.#faultRun += 1;
    if (this.#faultRun >= OPUS_FAULT_RUN_MAX_COUNT) {
      this.#decoder.reset();
      this.#faultRun = 0;
    }
    return { pcm, fault: 'undecodable_packet' };
  }

  snapshot(): Uint8Array {
    this.#isLost = this.#decoder.takeLost() || this.#isLost;
    const state = this.#decoder.copyState();
    const bytes = new Uint8Array(HEADER_BYTES + state.length);
    const flags = (this.#isLost ? FLAG_LOST : 0) | (this.#hasStarted ? FLAG_STARTED : 0);
    bytes.set([SNAPSHOT_VERSION, SNAPSHOT_KIND, BUILDS.indexOf(this.#build), flags, this.#faultRun]);
    bytes[REFUSAL_AT] = refusalCode(this.#refusal);
    new DataView(bytes.buffer).setUint16(6, this.#lastGoodSamples, true);
    bytes.set(this.#evidence.save(), 8);
    bytes.set(state, HEADER_BYTES);
    return bytes;
  }

  /** Throws `AssertionError` for anything but a snapshot made by the same version with the same build of the codec. */
  restore(snapshot: Uint8Array): void {
    assert(snapshot.length > HEADER_BYTES, 'an Opus snapshot is cut short');
    const [version, kind, build, flags = 0, faultRun = 0] = snapshot;
    assert(version === SNAPSHOT_VERSION && kind === SNAPSHOT_KIND, 'not an Opus snapshot of this version');
    assert.equal(BUILDS[build ?? -1], this.#build, 'an Opus snapshot was made by another build of the codec');
    this.#decoder.writeState(snapshot.subarray(HEADER_BYTES));
    this.#decoder.takeLost();
    this.#evidence.restore(snapshot.subarray(8, HEADER_BYTES));
    this.#lastGoodSamples = new DataView(snapshot.buffer, snapshot.byteOffset).getUint16(6, true);
    this.#faultRun = faultRun;
    this.#refusal = refusalOf(snapshot[REFUSAL_AT]);
    this.#isLost = (flags & FLAG_LOST) !== 0;
    this.#hasStarted = (flags & FLAG_STARTED) !== 0;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#decoder.close();
    this.#onClosed();
  }
}
