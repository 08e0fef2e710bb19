/**
 * Throws damaged containers at the decoders: `node dist/test/fuzz/container_fuzz_main.js --streams 100000 --seed 1`.
 * Ends with status 1 if a decoder threw, gave more audio than its bytes can hold, kept more than a page or a block, took
 * more than 50 ms of processor time for a stream every time it was tried, gave other audio for another cut or after a
 * restore, or if live memory grew by more than 10 MB after the first tenth: decoders have no other, they are JavaScript
 * and WebAssembly. What is reported has the number of its stream: the same seed makes it again.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { AUDIO_ENCODINGS, isContainerEncoding, type AudioFormat } from '../../pipeline/audio.ts';
import type { AudioDecoder, AudioDecoderFactory } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { cutInto } from '../support/containers.ts';
import { ContainerMutator, type MutatedStream } from '../support/container_mutator.ts';
import { seededRandom } from '../support/random.ts';
import { liveBytes } from './process_memory.ts';

const DECODE_MAX_MS = 50;
const DECODE_TRIES = 5;
/** Slow streams that are kept to be tried again. */
const SLOW_KEPT_MAX_COUNT = 50;
const GROWTH_MAX_BYTES = 10e6;
/** 120 ms of Opus in two bytes, with one for its lacing; and what a decoder may owe from the end of a stream. */
const SAMPLES_PER_BYTE_MAX = 1_920;
/** The largest page or block twice, which is how buffers grow, and 18 KB of codec. */
const SNAPSHOT_MAX_BYTES = 160_000;
/** Streams between two that are decoded a second time, in other cuts and with restores between them. */
const REPEAT_STREAMS = 10;
const ENCODINGS = AUDIO_ENCODINGS.filter(isContainerEncoding);

interface Row {
  streams: number;
  whole: number;
  concealed: number;
  refused: number;
  maxMs: number;
}

interface Stream extends MutatedStream {
  readonly index: number;
  readonly format: AudioFormat;
}

interface SlowStream {
  readonly stream: Stream;
  readonly messages: readonly Uint8Array[];
}

interface Heard {
  readonly pcm: readonly Int16Array[];
  readonly hasConcealment: boolean;
  readonly reason: string | undefined;
}

class Fuzzer {
  readonly rows = new Map<string, Row>();
  readonly violations: string[] = [];
  #slow: SlowStream[] = [];
  readonly #factory: AudioDecoderFactory;
  readonly #mutator: ContainerMutator;

  constructor(factory: AudioDecoderFactory, mutator: ContainerMutator) {
    this.#factory = factory;
    this.#mutator = mutator;
  }

  run(from: number, to: number): void {
    for (let index = from; index < to; index++) {
      const mutated = this.#mutator.next();
      // What is named is mostly something else, and then refused at once.
      const encoding = this.#mutator.below(4) === 0 ? this.#mutator.pick(ENCODINGS) : 'auto';
      const stream = { ...mutated, index, format: { encoding, sampleRateHz: 16_000, channels: 1 } };
      try {
        this.#judge(stream, index % REPEAT_STREAMS === 0);
      } catch (error) {
        this.#report(String(error), stream);
      }
      if (this.#slow.length === SLOW_KEPT_MAX_COUNT) this.#judgeSlow();
    }
    this.#judgeSlow();
  }

  /**
   * Tries those again that took long, when others have been: collecting garbage, compiling, and what the machine does for
   * others cost the process time too; what is the stream's fault happens every time.
   */
  #judgeSlow(): void {
    for (const { stream, messages } of this.#slow) {
      const tries = Array.from(
        { length: DECODE_TRIES },
        () => this.#timed(() => this.#decode(messages, stream.format)).ms,
      );
      const leastMs = Math.min(...tries);
      if (leastMs > DECODE_MAX_MS) this.#report(`it took ${leastMs.toFixed(1)} ms`, stream);
    }
    this.#slow = [];
  }

  #judge(stream: Stream, isRepeated: boolean): void {
    const { format } = stream;
    const messages = this.#cut(stream.bytes);
    const { result: heard, ms } = this.#timed(() => this.#decode(messages, format));
    if (ms > DECODE_MAX_MS) this.#slow.push({ stream, messages });
    this.#note(stream.kind, heard, ms);
    const samples = heard.pcm.reduce((sum, { length }) => sum + length, 0);
    if (samples > SAMPLES_PER_BYTE_MAX * stream.bytes.length) this.#report(`${samples} samples`, stream);
    if (!isRepeated) return;
    const again = this.#decode(this.#cut(stream.bytes), format, true);
    const isSame = heard.reason === again.reason && bytesOf(heard).equals(bytesOf(again));
    if (!isSame) this.#report('other cuts gave other audio', stream);
  }

  /** Messages of one size or of several; byte by byte now and then. */
  #cut(bytes: Uint8Array): Uint8Array[] {
    const sizes = Array.from({ length: 1 + this.#mutator.below(4) }, () => 1 + this.#mutator.below(1_500));
    return cutInto(bytes, this.#mutator.below(20) === 0 ? [1] : sizes);
  }

  #timed<T>(act: () => T): { readonly result: T; readonly ms: number } {
    const startedAt = process.cpuUsage();
    const result = act();
    const { user, system } = process.cpuUsage(startedAt);
    return { result, ms: (user + system) / 1_000 };
  }

  #decode(messages: readonly Uint8Array[], format: AudioFormat, hasRestores = false): Heard {
    let decoder = this.#factory.create(format);
    const pcm: Int16Array[] = [];
    let hasConcealment = false;
    let reason: string | undefined;
    for (const message of messages) {
      const decoded = decoder.decode(message);
      pcm.push(decoded.pcm);
      hasConcealment ||= decoded.fault === 'undecodable_packet';
      reason ??= decoded.reason;
      if (hasRestores) decoder = this.#restored(decoder, format);
    }
    decoder.close();
    return { pcm, hasConcealment, reason };
  }

  #restored(decoder: AudioDecoder, format: AudioFormat): AudioDecoder {
    const snapshot = decoder.snapshot();
    if (snapshot.length > SNAPSHOT_MAX_BYTES) throw new Error(`a snapshot of ${snapshot.length} bytes`);
    decoder.close();
    const restored = this.#factory.create(format);
    restored.restore(snapshot);
    return restored;
  }

  #note(kind: string, { hasConcealment, reason }: Heard, tookMs: number): void {
    const row = this.rows.get(kind) ?? { streams: 0, whole: 0, concealed: 0, refused: 0, maxMs: 0 };
    this.rows.set(kind, row);
    row.streams++;
    row[reason !== undefined ? 'refused' : hasConcealment ? 'concealed' : 'whole']++;
    row.maxMs = Math.max(row.maxMs, tookMs);
  }

  #report(what: string, { index, kind, bytes, format }: Stream): void {
    const start = Buffer.from(bytes).toString('base64').slice(0, 200);
    this.violations.push(`${what}: stream ${index}, ${kind} as ${format.encoding}: ${start}`);
  }
}

function bytesOf({ pcm }: Heard): Buffer {
  return Buffer.concat(pcm.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)));
}

function readCount(value: string | undefined, fallback: number): number {
  const count = value === undefined ? fallback : Number(value);
  if (!Number.isInteger(count) || count < 0) throw new Error('--streams and --seed take whole numbers');
  return count;
}

const { values } = parseArgs({ options: { streams: { type: 'string' }, seed: { type: 'string' } } });
const streams = readCount(values.streams, 100_000);
const seed = readCount(values.seed, randomInt(2 ** 31));
console.log(`seed ${seed}, ${streams} streams`);
const fuzzer = new Fuzzer(await loadDecoderFactory(), new ContainerMutator(seededRandom(seed)));
const startedAtMs = performance.now();
const warmCount = Math.floor(streams / 10);
fuzzer.run(0, warmCount);
const warmBytes = liveBytes();
fuzzer.run(warmCount, streams);
const grownBytes = liveBytes() - warmBytes;
if (grownBytes > GROWTH_MAX_BYTES) fuzzer.violations.push(`live memory grew by ${grownBytes} bytes`);
console.table(Object.fromEntries(fuzzer.rows));
const sign = grownBytes < 0 ? '' : '+';
console.log(`live memory ${sign}${(grownBytes / 1e6).toFixed(1)} MB after the first tenth`);
console.log(`${((1_000 * streams) / (performance.now() - startedAtMs)).toFixed(0)} streams/s`);
for (const violation of fuzzer.violations.slice(0, 20)) console.error(violation);
console.log(`${fuzzer.violations.length} violations`);
if (fuzzer.violations.length > 0) process.exitCode = 1;
