/**
 * Throws damaged packets at the Opus decoders: `node dist/test/fuzz/opus_fuzz_main.js --packets 100000 --seed 1`.
 * Ends with status 1 if a decoder threw, gave an illegal length, took more than 50 ms of processor time for one packet,
 * went on differently after a restore, or if memory grew by more than 10 MB after the first tenth.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { AudioFormat } from '../../pipeline/audio.ts';
import type { AudioDecoder, AudioDecoderFactory } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { OPUS_EVIDENCE_COUNT } from '../../pipeline/limits.ts';
import { encodeStream, makeCorpus, PacketMutator } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import { residentBytes } from './process_memory.ts';

const OPUS: AudioFormat = { encoding: 'opus', sampleRateHz: 48_000, channels: 1 };
const DECODE_MAX_MS = 50;
const GROWTH_MAX_BYTES = 10e6;
const SESSION_COUNT = 8;
/** Packets of one session before it is closed and another opened. */
const SESSION_PACKETS = 1_000;
/** Packets between two comparisons of a session with its restored copy. */
const RESTORE_PACKETS = 100;
const CHURN_DEFAULT_COUNT = 100_000;

interface Row {
  packets: number;
  decoded: number;
  concealed: number;
  empty: number;
  maxMs: number;
}

class Fuzzer {
  readonly rows = new Map<string, Row>();
  readonly violations: string[] = [];
  readonly #factory: AudioDecoderFactory;
  readonly #mutator: PacketMutator;
  readonly #sessions: AudioDecoder[] = [];
  readonly #prelude = encodeStream({
    ...{ kind: 'voiced', frames: OPUS_EVIDENCE_COUNT, sampleRateHz: 16_000, application: 'voip' },
    ...{ bitrate: 24_000, frameMs: 20 },
  });

  constructor(factory: AudioDecoderFactory, mutator: PacketMutator) {
    this.#factory = factory;
    this.#mutator = mutator;
  }

  /** A session past the messages in which a stream of garbage would be refused, so that the codec sees all of it. */
  #open(): AudioDecoder {
    const decoder = this.#factory.create(OPUS);
    for (const packet of this.#prelude) decoder.decode(packet);
    return decoder;
  }

  run(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const { kind, packet } = this.#mutator.next();
      const index = i % SESSION_COUNT;
      if (Math.floor(i / SESSION_COUNT) % SESSION_PACKETS === 0) {
        this.#sessions[index]?.close();
        this.#sessions[index] = this.#open();
      }
      const session = this.#sessions[index];
      if (session === undefined) throw new Error('a session is missing');
      const copy = i % RESTORE_PACKETS === 0 ? this.#copyOf(session) : undefined;
      const pcm = this.#decode(session, kind, packet);
      if (copy === undefined) continue;
      const again = copy.decode(packet).pcm;
      if (Buffer.compare(Buffer.from(pcm.buffer), Buffer.from(again.buffer)) !== 0) {
        this.#report('a restored copy went on differently', packet);
      }
      copy.close();
    }
  }

  #copyOf(session: AudioDecoder): AudioDecoder {
    const copy = this.#factory.create(OPUS);
    copy.restore(session.snapshot());
    return copy;
  }

  #decode(session: AudioDecoder, kind: string, packet: Uint8Array): Int16Array {
    const row = this.rows.get(kind) ?? { packets: 0, decoded: 0, concealed: 0, empty: 0, maxMs: 0 };
    this.rows.set(kind, row);
    row.packets += 1;
    const startedAt = process.cpuUsage();
    try {
      const { pcm, fault } = session.decode(packet);
      const { user, system } = process.cpuUsage(startedAt);
      const tookMs = (user + system) / 1_000;
      row.maxMs = Math.max(row.maxMs, tookMs);
      row[packet.length === 0 ? 'empty' : fault === undefined ? 'decoded' : 'concealed'] += 1;
      if (tookMs > DECODE_MAX_MS) this.#judgeSlow(session, packet, tookMs);
      const isLegal = pcm.length > 0 && pcm.length <= 1_920 && pcm.length % 40 === 0;
      if (!isLegal && packet.length > 0) this.#report(`${pcm.length} samples`, packet);
      return pcm;
    } catch (error) {
      this.#report(String(error), packet);
      return new Int16Array(0);
    }
  }

  /** Collecting garbage and compiling cost the process time too; what is the packet's fault happens again. */
  #judgeSlow(session: AudioDecoder, packet: Uint8Array, tookMs: number): void {
    const copy = this.#copyOf(session);
    const startedAt = process.cpuUsage();
    copy.decode(packet);
    const { user, system } = process.cpuUsage(startedAt);
    copy.close();
    const againMs = (user + system) / 1_000;
    if (againMs <= DECODE_MAX_MS) return;
    this.#report(`one packet took ${tookMs.toFixed(1)} ms and again ${againMs.toFixed(1)} ms`, packet);
  }

  #report(what: string, packet: Uint8Array): void {
    this.violations.push(`${what}: ${Buffer.from(packet).toString('hex').slice(0, 400)}`);
  }

  /** Opens and closes many sessions; returns by how much memory grew after the first tenth, in bytes. */
  churn(count: number): number {
    let warmBytes = 0;
    for (let i = 0; i < count; i++) {
      if (i === Math.floor(count / 10)) warmBytes = residentBytes();
      const decoder = this.#factory.create(OPUS);
      decoder.decode(this.#prelude[i % this.#prelude.length] ?? new Uint8Array(0));
      decoder.close();
    }
    return residentBytes() - warmBytes;
  }

  checkGrowth(what: string, bytes: number): void {
    console.log(
      `${what}: resident memory ${bytes < 0 ? '' : '+'}${(bytes / 1e6).toFixed(1)} MB after the first tenth`,
    );
    if (bytes > GROWTH_MAX_BYTES) this.violations.push(`${what}: memory grew by ${bytes} bytes`);
  }
}

function readCount(value: string | undefined, fallback: number): number {
  const count = value === undefined ? fallback : Number(value);
  if (!Number.isInteger(count) || count < 0)
    throw new Error('--packets, --sessions and --seed take whole numbers');
  return count;
}

const { values } = parseArgs({
  options: { packets: { type: 'string' }, sessions: { type: 'string' }, seed: { type: 'string' } },
});
const packets = readCount(values.packets, 100_000);
const churnCount = readCount(values.sessions, CHURN_DEFAULT_COUNT);
const seed = readCount(values.seed, randomInt(2 ** 31));
console.log(`seed ${seed}, ${packets} packets`);
let rebuilds = 0;
const factory = await loadDecoderFactory({ onOpusRebuilt: () => (rebuilds += 1) });
const fuzzer = new Fuzzer(factory, new PacketMutator(makeCorpus(60).flat(), seededRandom(seed)));
const startedAtMs = performance.now();
const warmUp = Math.floor(packets / 10);
fuzzer.run(0, warmUp);
const warmBytes = residentBytes();
fuzzer.run(warmUp, packets);
fuzzer.checkGrowth('damaged packets', residentBytes() - warmBytes);
const packetsPerSecond = (1_000 * packets) / (performance.now() - startedAtMs);
fuzzer.checkGrowth(`${churnCount} sessions opened and closed`, fuzzer.churn(churnCount));
console.table(Object.fromEntries(fuzzer.rows));
console.log(`${packetsPerSecond.toFixed(0)} packets/s, ${rebuilds} shards rebuilt after a trap`);
for (const violation of fuzzer.violations.slice(0, 20)) console.error(violation);
console.log(`${fuzzer.violations.length} violations`);
if (fuzzer.violations.length > 0) process.exitCode = 1;
