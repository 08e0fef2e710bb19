/** damaged Opus and damaged containers, a damaged stream among good ones, silence beside speech, a codec that traps. */
import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AudioDecoder } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';
import { DECODERS_PER_SHARD_COUNT } from '../../pipeline/limits.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { breakOpusSnapshot, encodeStream, PacketMutator } from '../support/opus_material.ts';
import { seededRandom } from '../support/random.ts';
import { RawClient } from '../support/raw_client.ts';
import { fetchWorkers, type RealServer } from '../support/real_server.ts';
import { silence } from '../support/sound.ts';
import { speak } from './crowd.ts';
import { digestSpeech, startDigestServer } from './digest_crowd.ts';
import type { Outcome, Scenario, Tier } from './scenario.ts';
import { compare } from './undisturbed.ts';
import { Verdict } from './verdict.ts';
import { sendSignal } from './worker_deaths.ts';

const FUZZ_FOLDER = new URL('../fuzz/', import.meta.url);
const OPUS = { encoding: 'opus', sampleRateHz: 48_000, channels: 1 } as const;
const REBUILD_MAX_MS = 20;
/** Share of damaged packets, and packets after the last of them in which a decoder is itself again. */
const DAMAGED_SHARE = 0.1;
const RECOVERY_MAX_PACKETS = 50;
const RECOVERED_SNR_DB = 30;
/** What an encoder makes of digital silence decodes to nothing, or a step or two of dither. */
const SILENT_MAX_AMPLITUDE = 4;

export const CODEC_FAULTS: readonly Scenario[] = [
  { id: 'R-15', title: 'damaged Opus, decoder fuzz', run: fuzzPackets },
  { id: 'R-15c', title: 'damaged Ogg, WebM and WAV, decoder fuzz', run: fuzzContainers },
  { id: 'R-16', title: '10 % bad packets in one session', run: damageOne },
  { id: 'R-17', title: 'silent sessions beside speech', run: listenForLeaks },
  { id: 'R-18', title: 'the codec traps', run: trapCodec },
];

function fuzzPackets(tier: Tier, seed: number): Promise<Outcome> {
  const [packets, sessions] = tier === 'p' ? [100_000, 20_000] : [10_000_000, 100_000];
  const counts = ['--packets', String(packets), '--sessions', String(sessions)];
  return fuzz('opus_fuzz_main.js', [...counts, '--seed', String(seed)], packets);
}

function fuzzContainers(tier: Tier, seed: number): Promise<Outcome> {
  const streams = tier === 'p' ? 100_000 : 5_000_000;
  const args = ['--streams', String(streams), '--seed', String(seed)];
  return fuzz('container_fuzz_main.js', args, streams);
}

/** Runs a fuzz program in a process of its own; it says itself what was wrong. */
async function fuzz(program: string, args: readonly string[], injected: number): Promise<Outcome> {
  const verdict = new Verdict();
  const path = fileURLToPath(new URL(program, FUZZ_FOLDER));
  const { isWell, text } = await new Promise<{ readonly isWell: boolean; readonly text: string }>(
    (resolve) => {
      execFile(process.execPath, [path, ...args], (error, stdout, stderr) => {
        resolve({ isWell: error === null, text: `${stdout}${stderr}` });
      });
    },
  );
  verdict.expect(isWell && text.includes('\n0 violations'), text.slice(-400));
  verdict.figure(/[\d.]+ \w+\/s/.exec(text)?.[0] ?? 'no rate');
  for (const [line] of text.matchAll(/\w+ memory [+-][\d.]+ MB/g)) verdict.figure(line);
  return verdict.outcome(injected);
}

/** Everybody speaks at once; the first one's packets are damaged until three fifths of what is said. */
async function damageOne(tier: Tier, seed: number): Promise<Outcome> {
  const [people, durationMs] = tier === 'p' ? [10, 8_000] : [50, 60_000];
  const { scripts, expected } = await digestSpeech(people, durationMs);
  const verdict = new Verdict();
  const good = scripts[0]?.packets ?? [];
  const { packets, damagedCount, lastIndex } = damaged(good, seededRandom(seed));
  const recovery = await recoveryPackets(good, packets, lastIndex);
  verdict.expect(recovery <= RECOVERY_MAX_PACKETS, `recovered only ${recovery} packets after the last bad`);
  verdict.figure(`recovered after ${recovery} packets`);
  const server = await startDigestServer();
  try {
    const hearings = await speak(
      server.url,
      scripts.map((script, person) => (person === 0 ? { ...script, packets } : script)),
    );
    verdict.expect(
      hearings.every(({ endedWell }) => endedWell),
      'a session did not end with `done`',
    );
    const ends = (hearings[0]?.finals ?? []).map(({ endAudioMs }) => endAudioMs);
    const last = expected[0]?.at(-1)?.endAudioMs ?? 0;
    verdict.expect(
      ends.some((endMs) => Math.abs(endMs - last) < 300),
      `the damaged session missed its last utterance, at ${last} ms`,
    );
    return verdict.outcome(damagedCount, compare(hearings.slice(1), expected.slice(1)));
  } finally {
    await server.close();
  }
}

function damaged(
  packets: readonly Uint8Array[],
  random: () => number,
): { readonly packets: readonly Uint8Array[]; readonly damagedCount: number; readonly lastIndex: number } {
  const mutator = new PacketMutator(packets, random);
  let [damagedCount, lastIndex] = [0, 0];
  const result = packets.map((packet, index) => {
    if (index < 20 || index > packets.length * 0.6 || random() >= DAMAGED_SHARE) return packet;
    damagedCount++;
    lastIndex = index;
    // A packet of its own length, 20 ms by its first byte, so that the audio stays aligned for the comparison.
    const body = mutator.randomBytes(Math.max(2, packet.length));
    body[0] = packet[0] ?? 0;
    return random() < 0.5 ? body : Uint8Array.of(3, 0, 0);
  });
  return { packets: result, damagedCount, lastIndex };
}

/** Packets after `lastIndex` until the damaged stream sounds like the good one for good. */
async function recoveryPackets(
  good: readonly Uint8Array[],
  bad: readonly Uint8Array[],
  lastIndex: number,
): Promise<number> {
  const factory = await loadDecoderFactory();
  const [one, other] = [factory.create(OPUS), factory.create(OPUS)];
  let recovery = 0;
  for (const [index, packet] of good.entries()) {
    const wanted = one.decode(packet).pcm;
    const heard = other.decode(bad[index] ?? packet).pcm;
    if (index > lastIndex && signalToNoiseDb(wanted, heard) < RECOVERED_SNR_DB) recovery = index - lastIndex;
  }
  return recovery;
}

function signalToNoiseDb(wanted: Int16Array, heard: Int16Array): number {
  let [signal, noise] = [1, 0];
  for (const [i, sample] of wanted.entries()) {
    signal += sample * sample;
    noise += (sample - (heard[i] ?? 0)) ** 2;
  }
  // Differences of a step in near silence are not heard.
  return noise <= wanted.length * 4 ? Infinity : 10 * Math.log10(signal / noise);
}

async function listenForLeaks(tier: Tier): Promise<Outcome> {
  const verdict = new Verdict();
  const frames = tier === 'p' ? 100_000 : 1_000_000;
  const heard = await loudSilentFrames(frames);
  verdict.expect(heard === 0, `${heard} of ${frames} frames of silent sessions were not silent`);
  const layouts = [
    { audioWorkers: 1, audioSpares: 0, isKilled: false },
    ...(tier === 'p' ? [] : [{ audioWorkers: 2, audioSpares: 0, isKilled: false }]),
    { audioWorkers: 2, audioSpares: 1, isKilled: true },
  ];
  const totals = { utterances: 0, lost: 0, repeated: 0, wrong: 0 };
  for (const { isKilled, ...layout } of layouts) {
    const server = await startDigestServer(layout);
    try {
      const counts = await speakBesideSilence(server, { isKilled, verdict });
      for (const key of ['utterances', 'lost', 'repeated', 'wrong'] as const) totals[key] += counts[key];
    } finally {
      await server.close();
    }
  }
  return verdict.outcome(frames, totals);
}

/** Two full shards, every other session silent; all packets are shuffled between them. */
async function loudSilentFrames(frames: number): Promise<number> {
  const factory = await loadDecoderFactory();
  const quiet = encodeOpus(silence(2_000));
  const [speech] = (await digestSpeech(10, 8_000)).scripts;
  const decoders = Array.from({ length: 2 * DECODERS_PER_SHARD_COUNT }, () => factory.create(OPUS));
  let loud = 0;
  for (let frame = 0; frame < frames; frame++) {
    const index = frame % decoders.length;
    const packets = index % 2 === 0 ? quiet : (speech?.packets ?? []);
    const round = Math.floor(frame / decoders.length);
    const decoded = decoders[index]?.decode(packets[(round + index) % packets.length] ?? new Uint8Array(0));
    if (index % 2 === 0 && decoded?.pcm.some((sample) => Math.abs(sample) > SILENT_MAX_AMPLITUDE) === true) {
      loud++;
    }
  }
  for (const decoder of decoders) decoder.close();
  return loud;
}

async function speakBesideSilence(
  server: RealServer,
  { isKilled, verdict }: { readonly isKilled: boolean; readonly verdict: Verdict },
): Promise<ReturnType<typeof compare>> {
  const { scripts, expected } = await digestSpeech(10, 8_000);
  const quiet = encodeOpus(silence(8_000));
  const open = (): Promise<RawClient> => RawClient.enter(server.url, 'encoding=opus');
  const silent = await Promise.all(scripts.map(open));
  const speaking = await Promise.all(scripts.map(open));
  // Round by round, so that every batch of the workers holds both.
  for (let round = 0; round < quiet.length; round++) {
    for (const [i, { packets }] of scripts.entries()) {
      silent[i]?.sendBytes(quiet[round] ?? new Uint8Array(0));
      const packet = packets[round];
      if (packet !== undefined) speaking[i]?.sendBytes(packet);
    }
    if (round % 10 === 0) await pause(4);
    if (isKilled && round === Math.floor(quiet.length / 2)) await killAudioWorker(server);
  }
  const finals = await Promise.all(speaking.map((client) => client.finish()));
  await Promise.all(silent.map((client) => client.finish()));
  const heardTypes = silent.flatMap((client) => client.messages.map(({ type }) => type));
  verdict.expect(
    // A notice tells everybody of the load: this audio comes faster than it would.
    heardTypes.every((type) => ['ready', 'notice', 'done'].includes(type)),
    `a silent session was told ${[...new Set(heardTypes)].join(', ')}`,
  );
  return compare(
    finals.map((own) => ({ finals: own, latenciesMs: [], endedWell: true })),
    expected,
  );
}

async function killAudioWorker(server: RealServer): Promise<void> {
  const victim = (await fetchWorkers(server)).find(
    ({ role, state }) => role === 'audio' && state === 'ready',
  );
  if (victim !== undefined) sendSignal(victim.pid, 'SIGKILL');
}

/** A full shard beside another; in one session of it the codec traps, again and again. */
async function trapCodec(tier: Tier): Promise<Outcome> {
  const times = tier === 'p' ? 20 : 1_000;
  const verdict = new Verdict();
  let rebuiltCount = 0;
  const factory = await loadDecoderFactory({ onOpusRebuilt: () => (rebuiltCount += 1) });
  const packets = encodeStream({
    ...{ kind: 'tone', frames: 40, sampleRateHz: 48_000, application: 'restricted_lowdelay' },
    ...{ bitrate: 48_000, frameMs: 20 },
  });
  const decoders = Array.from({ length: 2 * DECODERS_PER_SHARD_COUNT }, () => factory.create(OPUS));
  const [inside, outside] = [0, DECODERS_PER_SHARD_COUNT];
  const control = factory.create(OPUS);
  let slowestMs = 0;
  for (let i = 0; i < times; i++) {
    const packet = packets[i % packets.length] ?? new Uint8Array(0);
    const victim = decoders[inside];
    if (victim === undefined) throw new Error('no decoder');
    victim.restore(breakOpusSnapshot(victim.snapshot()));
    // Processor time: others may have the core meanwhile.
    const before = process.cpuUsage();
    const { fault } = victim.decode(packet);
    const { user, system } = process.cpuUsage(before);
    slowestMs = Math.max(slowestMs, (user + system) / 1_000);
    verdict.expect(fault === 'undecodable_packet', `the session at fault was told ${fault ?? 'nothing'}`);
    const wanted = control.decode(packet);
    const heard = decoders.slice(1).map((decoder) => decoder.decode(packet));
    const told = heard.slice(0, outside - 1).filter((decoded) => decoded.fault !== undefined).length;
    verdict.expect(told === DECODERS_PER_SHARD_COUNT - 1, `${told} sessions of its shard were told`);
    const untouched = heard.slice(outside - 1).every(({ pcm, fault: other }) => {
      return other === undefined && Buffer.from(pcm.buffer).equals(Buffer.from(wanted.pcm.buffer));
    });
    verdict.expect(untouched, 'a session of another shard was changed');
    // Told once: the next packet is decoded by all as if nothing had been.
    expectWhole(decoders, packet, verdict);
    control.decode(packet);
  }
  verdict.expect(rebuiltCount === times, `${rebuiltCount} of ${times} traps told`);
  verdict.measure('rebuilt within', slowestMs, { max: REBUILD_MAX_MS, unit: 'ms' });
  for (const decoder of decoders) decoder.close();
  return verdict.outcome(times);
}

function expectWhole(decoders: readonly AudioDecoder[], packet: Uint8Array, verdict: Verdict): void {
  const faults = decoders.filter((decoder) => decoder.decode(packet).fault !== undefined).length;
  verdict.expect(faults === 0, `${faults} sessions were told twice`);
}
